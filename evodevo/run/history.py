"""The state of a run, as a fold over the events in its journal.

The controller, the status, the tables and the plots all read a run through this fold alone, so a resumed run
and a finished one are understood in the same way. No user code is imported: any journal can be read anywhere.
"""

import bisect
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from evodevo.config import RunConfig, read_config
from evodevo.evolution.fitness import is_better, is_usable
from evodevo.evolution.population import Birth
from evodevo.run import networks, structure
from evodevo.run.codec import decode
from evodevo.run.collector import without_gc
from evodevo.run.events import (
    Averaging,
    Begun,
    Births,
    Born,
    End,
    Ended,
    Event,
    Extended,
    Known,
    Lost,
    Origin,
    Replaced,
    Result,
    Soup,
    TakenOver,
)
from evodevo.run.journal import JournalError, Record, Tail
from evodevo.run.lengths import Lengths
from evodevo.run.life import Life, Mean, compacted
from evodevo.run.losses import Loss
from evodevo.run.records import CheckpointRef, Outcome

MANY = 10_000
"""Number of records held in memory at a time."""
STALLED = 3
"""Consecutive attempts lost to workers and disks after which a member's run is reported as waiting."""
RECENT = 256
"""Number of recent legs from which the duration of the next one is estimated."""


def load_history(journal: Path) -> "History":
    """Return the history in a journal file. Raises `JournalError` if it is damaged or empty."""
    history, tail = History(), Tail(journal)
    with without_gc():
        while records := tail.read(MANY):
            for record in records:
                history.apply(record)
    if not history.last_at:
        raise JournalError(f"{journal} is empty: the run was never begun")
    return history


class History:
    """The state of a run after the records so far; empty before the first one."""

    begun: Begun

    def __init__(self) -> None:
        self.run_id = ""
        self.controller: Mapping[str, Any] = {}
        self.generations: list[list[Life]] = []
        """The members of each generation that are born, ordered by slot."""
        self.births: list[Life] = []
        """All members, in order of birth."""
        self.over: list[Life] = []
        """The finished members, in journal order."""
        self.pending: dict[str, Life] = {}
        """Unfinished members and means by id, in the order in which they were journaled."""
        self.by_id: dict[str, Life] = {}
        """Members and means, by id."""
        self.means: dict[str, Mean] = {}
        """The means of generations, by id. They are not members: nothing is trained."""
        self.known: dict[str, tuple[str, Outcome]] = {}
        """Outcomes of another run, each with its member's name, by `evodevo.run.twins.key_of`."""
        self.extended_to: int | None = None
        """The number of generations after the last extension; None if the run was never extended."""
        self.end: End | None = None
        self.reason: str | None = None
        self.test: Mapping[str, float] = {}
        """Metrics of the best member on the test split; set when the run is done."""
        self.soup: Soup | None = None
        """The soup of the last generation, if one was asked for; set when the run is done."""
        self.elapsed_s = 0.0
        """Seconds during which a controller was at work, without the time between two controllers."""
        self.spans: list[list[float]] = []
        """For each controller, when its members began to train and when its last result arrived."""
        self.last_at = 0.0
        self.lost_attempts = 0
        self.unsuccessful = 0
        """Number of members that diverged or failed."""
        self.failed = 0
        self.trouble: str | None = None
        """Why a member keeps losing attempts, until a result arrives."""
        self.losses: dict[tuple[int, str], Loss] = {}
        """What was lost on each worker, by the index of the controller's span and the worker."""
        self._recent_s: deque[float] = deque(maxlen=RECENT)
        self._recent_there_s: deque[float] = deque(maxlen=RECENT)
        self._pending_in: list[int] = []
        self._complete = 0
        self._best: Life | None = None
        self._lengths = Lengths()
        self._taken_over_at: float | None = 0.0

    @classmethod
    def of(cls, records: Iterable[Record]) -> Self:
        history = cls()
        with without_gc():
            for record in records:
                history.apply(record)
        return history

    def apply(self, record: Record) -> None:
        """Apply the next record.

        Raises `JournalError` if this version does not know its kind, or if evodevo does not write such
        content.
        """
        try:
            self.take(decode(record), record["time"])
        except structure.MALFORMED as why:
            raise JournalError(
                f"record {record['n']} (kind {record.get('kind')!r}) is not valid: "
                f"{type(why).__name__}: {' '.join(str(why).split())[:200]}"
            ) from why

    def take(self, event: Event, at: float) -> None:
        """Apply the next event, journaled at the time `at` (seconds since the epoch)."""
        if not isinstance(event, TakenOver | Replaced):
            self.elapsed_s += max(0.0, at - self.last_at) if self.last_at else 0.0
        if not isinstance(event, Replaced):  # may come long after the run has ended
            self.last_at = at
        match event:
            case Result():
                self._train_until(at)
                self._take_result(event)
            case Births():
                if self._taken_over_at is not None:
                    self.spans.append([at, at])
                    self._taken_over_at = None
                for born in event.births:
                    self._take_birth(born, at)
            case Averaging():
                self._take_averaging(event, at)
            case Lost():
                structure.check_lost(event)
                self._train_until(at)
                self._take_loss(event, at)
            case Known():
                structure.check_known(event)
                for key, outcome in event.outcomes.items():
                    self.known[key] = (f"{event.run}/{event.members[key]}", outcome)
            case TakenOver():
                self._take_controller(event)
                self._taken_over_at = at
            case Extended():
                structure.check_extended(event, len(self.generations))
                self._lengths.extended(self.config.search.generations, self.births)
                self.extended_to = event.generations
                self.__dict__.pop("config", None)  # computed again, with the new number
            case Begun():
                if "begun" in vars(self):
                    raise ValueError("the run begins twice")
                structure.check_begun(event)
                self.begun, self.run_id = event, event.id
            case Replaced():
                structure.check_checkpoint(event.checkpoint)
                before = self.by_id[event.member].checkpoint_of(event.leg)
                for life in (*self.births, *self.means.values()):  # twins have it as well
                    life.replace_checkpoint(before, event.checkpoint)
            case Ended():
                structure.check_ended(event, self.by_id.keys())
                self.end, self.reason, self.test = event.status, event.reason, event.test
                self.soup = event.soup

    @cached_property
    def config(self) -> RunConfig:
        """The config that is in force now."""
        config = read_config(self.begun.config)
        return config if self.extended_to is None else config.with_generations(self.extended_to)

    def generations_at(self, life: Life, leg: int) -> int:
        """Return how many generations were planned when a leg was trained, which workers are told."""
        return self._lengths.at(life, leg) or self.config.search.generations

    @property
    def origin(self) -> Origin | None:
        """The member of another run that the founders start from, if any."""
        return self.begun.origin

    @property
    def start(self) -> CheckpointRef | None:
        """The checkpoint of another run that the founders start from, if any."""
        return self.origin.checkpoint if self.origin else None

    @property
    def inherits(self) -> bool:
        """Whether children start from parameters of their parents."""
        return self.begun.inherits

    @property
    def in_generations(self) -> bool:
        """Whether members are compared within generations instead of with all earlier ones."""
        return self.inherits or self.config.search.population > 1

    @property
    def best(self) -> Life | None:
        """The member with the best fom of the whole run; among equals, the one with the earliest place."""
        return self._best

    @property
    def better_soup(self) -> Soup | None:
        """The soup, if it combines several members and beats the best one on validation data."""
        soup, best = self.soup, self._best
        if soup is None or len(soup.of) < 2 or not is_usable(soup.fom):
            return None
        mode = self.config.objective.mode
        return soup if best is None or best.fom is None or is_better(soup.fom, best.fom, mode) else None

    def complete(self, generation: int) -> bool:
        """Return whether all members of a generation are born and finished."""
        return (
            generation < len(self.generations)
            and not self._pending_in[generation]
            and len(self.generations[generation]) == self.config.search.population
        )

    def completed(self) -> int:
        """Return how many generations are complete."""
        return self._complete

    def lives(self) -> Iterator[Life]:
        """Yield all members by generation and slot."""
        for generation in self.generations:
            yield from generation

    def leg_s(self) -> float | None:
        """Return the mean seconds that recent legs kept a worker busy; None before the first."""
        return sum(self._recent_s) / len(self._recent_s) if self._recent_s else None

    def longest_leg_s(self) -> float | None:
        """Return the seconds from start to end of the longest recent leg; None before the first."""
        return max(self._recent_there_s, default=None)

    def alpha(self, life: Life) -> Life | None:
        """Return the member from which another one has its parameters; for a mean, its best member.

        For several networks, the first one counts; `evodevo.run.networks` has the lines of the others.
        """
        parent = self.by_id.get(life.birth.first_parent or "")
        return parent.of[0] if isinstance(parent, Mean) else parent

    def line(self, life: Life) -> list[Life]:
        """Return the α-line of a member, founder first: how its parameters were actually trained."""
        line = [life]
        while (parent := self.alpha(line[-1])) is not None:
            line.append(parent)
        return line[::-1]

    def parent_checkpoint(self, life: Life) -> CheckpointRef | None:
        """Return the checkpoint that a member starts from; None for a fresh start."""
        return networks.start_of(self, life, 0)

    @property
    def training_s(self) -> float:
        """Seconds in which members trained, under all controllers."""
        return sum(last - first for first, last in self.spans)

    def _train_until(self, at: float) -> None:
        """Extend the span of training; a controller that finds unfinished members trains them at once."""
        if self._taken_over_at is not None:
            self.spans.append([self._taken_over_at, at])
            self._taken_over_at = None
        elif self.spans:
            self.spans[-1][1] = max(self.spans[-1][1], at)

    def _take_controller(self, event: TakenOver) -> None:
        self.controller, self.trouble = event.about, None
        self.end, self.reason, self.test, self.soup = None, None, {}, None
        again: Iterable[str] = ()
        if event.retry is True and self.generations:
            last = self.generations[-1] if self.inherits else self.births
            again = [life.id for life in last if life.status == "failed"]
        elif not isinstance(event.retry, bool):
            again = event.retry
        for member in again:
            self._revive(self.by_id[member])

    def _revive(self, life: Life) -> None:
        """Reset a failed member, to be tried again from its first leg."""
        life.outcome = life.started_at = life.worker = None
        self._lengths.revived(life)
        life.losses, life.lost, life.preempted, life.legs = 0, (), 0, ()
        life.fresh_leg()
        self.over.remove(life)
        self.unsuccessful -= 1
        self.failed -= 1
        self.pending[life.id] = life
        if self.complete(life.generation):
            self._complete -= 1
        self._pending_in[life.generation] += 1

    def _take_birth(self, born: Born, at: float) -> None:
        structure.check_birth(born, self.config.search, self.by_id.keys(), len(self.generations))
        epochs = networks.epochs_before(self, born.birth)
        birth, several = compacted(born.birth), epochs if born.birth.networks else ()
        place = born.member, born.generation, born.slot
        life = Life(*place, birth, born.training_seed, epochs[0], at, network_epochs=several)
        while len(self.generations) <= born.generation:
            self.generations.append([])
            self._pending_in.append(0)
        generation = self.generations[born.generation]
        if generation and generation[-1].slot > life.slot:
            bisect.insort(generation, life, key=lambda one: one.slot)
        else:
            generation.append(life)
        self._pending_in[born.generation] += 1
        self.by_id[life.id] = self.pending[life.id] = life
        self.births.append(life)

    def _take_averaging(self, event: Averaging, at: float) -> None:
        structure.check_averaging(event, self.by_id.keys())
        of = [self.by_id[member] for member in event.of]
        best = of[0]
        birth = Birth(best.birth.genome, parent_params=best.id)
        epoch = max(self.epochs_trained(life) for life in of)
        mean = Mean(event.member, event.generation, len(of), birth, best.training_seed, epoch, at, of=of)
        self.means[mean.id] = self.by_id[mean.id] = self.pending[mean.id] = mean

    def epochs_trained(self, life: Life, network: int = 0) -> int:
        """Return how many epochs a member's parameters have been trained, after its legs so far."""
        if isinstance(life, Mean):
            return life.epoch
        if life.same_as in self.by_id:
            return self.epochs_trained(self.by_id[life.same_as])
        before = life.network_epochs[network] if life.network_epochs else life.epoch
        legs = len(life.legs) - life.begins(len(life.legs)) + (life.outcome is not None)
        legs = self.config.search.legs if life.same_as else legs  # another run's legs are not known
        return before + legs * self.config.search.leg_epochs(life.generation)

    def _take_loss(self, event: Lost, at: float) -> None:
        life = self.by_id[event.member]
        life.lose(event)
        self.lost_attempts += 1
        if life.unlucky >= STALLED:
            self.trouble = f"{event.why} ({life.id} has lost {life.unlucky} attempts in a row)"
        if event.worker is not None:
            span = max(0, bisect.bisect_right(self.spans, at, key=lambda span: span[0]) - 1)
            self.losses.setdefault((span, event.worker), Loss()).add(at, event.seconds)

    def _take_result(self, event: Result) -> None:
        structure.check_result(event)
        structure.check_twin(event, self.by_id.get(event.same_as or ""))
        life, outcome = self.by_id[event.member], event.outcome
        life.worker, life.started_at = event.worker, event.started_at
        life.stopped, life.same_as = None if event.goes_on else event.stopped, event.same_as
        life.fresh_leg()
        self.trouble = None
        if outcome.seconds and not isinstance(life, Mean):
            busy_s = outcome.busy_s - outcome.seconds.get("prepare", 0.0)
            self._recent_s.append(busy_s)
            self._recent_there_s.append(busy_s + outcome.aside_s)
        if event.goes_on:
            life.legs = (*life.legs, event)
            return
        life.outcome = outcome
        del self.pending[life.id]
        if isinstance(life, Mean):
            return
        self.over.append(life)
        self._pending_in[life.generation] -= 1
        self._complete += self.complete(life.generation)
        if outcome.fom is None:
            self.unsuccessful += 1
            self.failed += outcome.status == "failed"
        elif self._best is None or self._beats(life, self._best):
            self._best = life

    def _beats(self, life: Life, best: Life) -> bool:
        assert life.fom is not None
        assert best.fom is not None
        mode = self.config.objective.mode
        if is_better(life.fom, best.fom, mode):
            return True
        earlier = (life.generation, life.slot) < (best.generation, best.slot)
        return earlier and not is_better(best.fom, life.fom, mode)
