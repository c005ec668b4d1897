"""What a journal says: the records, folded one by one into the state of the run.

The controller, the status, the tables and the plots all read a run through this fold and nothing else,
so a resumed run and a finished one are understood in the same way. The kinds of records:

  run         what the run is: its whole config
  controller  a controller takes over: host, pid, scheduler address, versions; `retry`: failed members again
  births      the members of one generation
  lost        an attempt that was given up, and why; `preempted`: its worker had said that it must go
  outcome     what came of a member; from here on it is true
  end         done, failed or cancelled, and why; a `controller` record may follow it
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self

from evodevo.config import RunConfig, parse
from evodevo.evolution.fitness import best_first
from evodevo.evolution.strategies import find
from evodevo.evolution.strategies.base import Birth, Member
from evodevo.run.journal import JournalError, Record, Tail
from evodevo.run.records import CheckpointRef, Outcome

End = Literal["done", "failed", "cancelled"]


def load_history(journal: Path) -> "History":
    """The history in a journal's file. Raises `JournalError` where it is damaged or empty."""
    records = Tail(journal).read()
    if not records:
        raise JournalError(f"{journal} is empty: the run was never begun")
    return History.of(records)


def member_id(generation: int, slot: int) -> str:
    return f"g{generation:03d}s{slot:03d}"


@dataclass(eq=False)
class Life:
    """All that the journal holds of one member."""

    id: str
    generation: int
    slot: int
    birth: Birth
    training_seed: int
    epoch: int
    """Epochs that the inherited parameters had been trained at birth."""
    born_at: float
    lost: list[str] = field(default_factory=list)
    """Why each attempt that was given up was."""
    preempted: int = 0
    """How many of those were nobody's fault: their workers had to go."""
    outcome: Outcome | None = None
    worker: str | None = None
    started_at: float | None = None
    """When the attempt that counts was placed on its worker (seconds since the epoch)."""

    @property
    def fom(self) -> float | None:
        return self.outcome.fom if self.outcome else None

    @property
    def attempts(self) -> int:
        """Attempts begun: those given up, and the one that counts."""
        return len(self.lost) + (self.started_at is not None)

    @property
    def status(self) -> str:
        """done, diverged, failed, or pending."""
        return self.outcome.status if self.outcome else "pending"

    def as_member(self) -> Member:
        return Member(self.id, self.generation, self.slot, self.birth, self.fom)


class History:
    """The state of a run, after all records so far; nothing is known before the first one."""

    config: RunConfig
    steady: bool
    """Whether generations, of one member each, do not wait for each other."""

    def __init__(self) -> None:
        self.run_id = ""
        self.controller: Mapping[str, Any] = {}
        self.generations: list[list[Life]] = []
        self.end: End | None = None
        self.reason: str | None = None
        self.test: Mapping[str, float] = {}
        """Metrics of the best member on the test split; there when the run is done."""
        self.elapsed_s = 0.0
        """Seconds during which a controller was at work; the time between two controllers does not count."""
        self.last_at = 0.0
        self.by_id: dict[str, Life] = {}
        self._best: Life | None = None

    @classmethod
    def of(cls, records: Iterable[Record]) -> Self:
        history = cls()
        for record in records:
            history.apply(record)
        return history

    def apply(self, record: Record) -> None:
        if record["kind"] != "controller":
            self.elapsed_s += max(0.0, record["time"] - self.last_at) if self.last_at else 0.0
        self.last_at = record["time"]
        getattr(self, f"_apply_{record['kind']}")(record)

    @property
    def best(self) -> Life | None:
        """The member with the best fom of the whole run; of equals, the first born."""
        return self._best

    def complete(self, generation: int) -> bool:
        return generation < len(self.generations) and all(
            life.outcome for life in self.generations[generation]
        )

    def completed(self) -> int:
        """How many generations are complete; only the last can be incomplete, but in a steady run any."""
        count = len(self.generations)
        if count and self.steady:
            return sum(map(self.complete, range(count)))
        return count if count == 0 or self.complete(count - 1) else count - 1

    def lives(self) -> Iterator[Life]:
        for generation in self.generations:
            yield from generation

    def epoch_s(self) -> float | None:
        """Seconds of the longest epoch in the last two generations that had one; None before that."""
        begun = (lives for lives in reversed(self.generations) if any(life.outcome for life in lives))
        recent = (life for lives in islice(begun, 2) for life in lives)
        return max((sum(life.outcome.seconds.values()) for life in recent if life.outcome), default=None)

    def line(self, life: Life) -> list[Life]:
        """The α-line of a member, founder first: how its parameters were really trained."""
        line = [life]
        while (parent := line[-1].birth.parent_params) is not None:
            line.append(self.by_id[parent])
        return line[::-1]

    def parent_checkpoint(self, life: Life) -> CheckpointRef | None:
        """The parameters that a member starts from; None where it starts afresh."""
        parent = self.by_id.get(life.birth.parent_params or "")
        return parent.outcome.checkpoint if parent and parent.outcome else None

    def needed_checkpoints(self) -> set[str]:
        """Names of the checkpoints that a living member, the best, or an unfinished member needs.

        Living are the members of the last complete generation while the next is not born, and those
        of the generation at work.
        """
        needed = {self._best} if self._best else set()
        living: Sequence[Life] = self.generations[-1] if self.generations else ()
        needed.update(life for life in living if life.outcome)
        for life in living:
            if life.outcome is None and life.birth.parent_params is not None:
                needed.add(self.by_id[life.birth.parent_params])
        return {life.outcome.checkpoint.name for life in needed if life.outcome and life.outcome.checkpoint}

    def _apply_run(self, record: Record) -> None:
        self.config = parse(record["config"], "journal")
        self.steady = find(self.config.search.strategy).steady
        self.run_id = record.get("id", "")

    def _apply_controller(self, record: Record) -> None:
        self.controller = record
        self.end = self.reason = None
        if record["retry"] and self.generations:
            for life in self.lives() if self.steady else self.generations[-1]:
                if life.status == "failed":
                    life.outcome = life.started_at = life.worker = None
                    life.lost, life.preempted = [], 0

    def _apply_births(self, record: Record) -> None:
        lives = []
        for slot, born in enumerate(record["births"]):
            birth = Birth(
                born["genome"],
                born["parent_a"],
                born["parent_b"],
                born["parent_params"],
                born["training_seed"],
            )
            parent = self.by_id.get(birth.parent_params) if birth.parent_params else None
            life = Life(
                id=member_id(record["generation"], slot),
                generation=record["generation"],
                slot=slot,
                birth=birth,
                training_seed=born["training_seed"],
                epoch=parent.epoch + 1 if parent else 0,
                born_at=record["time"],
            )
            self.by_id[life.id] = life
            lives.append(life)
        self.generations.append(lives)

    def _apply_lost(self, record: Record) -> None:
        life = self.by_id[record["member"]]
        life.lost.append(record["why"])
        life.preempted += record.get("preempted", False)

    def _apply_outcome(self, record: Record) -> None:
        life = self.by_id[record["member"]]
        life.outcome = Outcome.from_json(record["outcome"])
        life.worker = record["worker"]
        life.started_at = record["started_at"]
        if life.outcome.status == "done":
            candidates = sorted(filter(None, (self._best, life)), key=lambda one: (one.generation, one.slot))
            self._best = candidates[
                best_first([one.fom for one in candidates], self.config.objective.mode)[0]
            ]

    def _apply_end(self, record: Record) -> None:
        self.end = record["status"]
        self.reason = record["reason"]
        self.test = record["test"]
