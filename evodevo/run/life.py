"""What a journal holds about one member, or about a mean of members."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from evodevo.evolution.population import Birth, Member
from evodevo.run.compact import compact
from evodevo.run.events import Lost, Result
from evodevo.run.records import CheckpointRef, Outcome

MOST_REASONS = 200
"""Number of reasons for lost attempts of a member that are kept in memory, as many as the page shows."""


def compacted(birth: Birth) -> Birth:
    """Return an equal birth whose genomes take less memory."""
    if birth.networks:
        own = (replace(one, genome=one.genome and compact(one.genome)) for one in birth.networks)
        birth = replace(birth, networks=tuple(own))
    genome = compact(birth.genome)
    return birth if genome is birth.genome else replace(birth, genome=genome)


@dataclass(eq=False, slots=True)
class Life:
    """Everything that the journal holds about one member."""

    id: str
    generation: int
    slot: int
    birth: Birth
    training_seed: int
    epoch: int
    """Epochs that the inherited parameters had been trained at birth."""
    born_at: float
    losses: int = 0
    """Number of attempts that were lost."""
    lost: Sequence[str] = ()
    """Reasons for the last `MOST_REASONS` of them, oldest first."""
    preempted: int = 0
    """Number of lost attempts that nobody is to blame for: their workers had to leave."""
    charged: int = 0
    """Lost attempts at the current leg that count against `limits.max_attempts`."""
    unlucky: int = 0
    """Consecutive attempts at the current leg that were lost to a worker, a disk or a store."""
    lost_workers: int = 0
    """Consecutive workers that were lost while they worked on the current leg alone."""
    raised_on: str | None = None
    """The worker on which the workload raised in the current leg, if that is not confirmed yet."""
    suspect: bool = False
    """Whether an attempt at the current leg was lost, other than by preemption; it may have been at fault."""
    legs: Sequence[Result] = ()
    """The legs after which the life continued."""
    outcome: Outcome | None = None
    """The outcome of the last leg; None while the life is unfinished."""
    worker: str | None = None
    """The worker that trained the last leg with a result."""
    started_at: float | None = None
    """When that attempt began on its worker (seconds since the epoch)."""
    stopped: str | None = None
    """The rule that ended the life before its last leg."""
    same_as: str | None = None
    """The member whose outcome was taken because both have the same hyperparameters; nothing was trained."""
    network_epochs: tuple[int, ...] = ()
    """`epoch` of each of several networks; empty if the birth names no networks."""

    @property
    def fom(self) -> float | None:
        return self.outcome.fom if self.outcome else None

    @property
    def attempts(self) -> int:
        """Number of attempts begun: those lost, and one for each leg that has a result."""
        return self.losses + len(self.legs) + (self.outcome is not None and self.started_at is not None)

    @property
    def status(self) -> str:
        """One of done, diverged, failed and pending."""
        return self.outcome.status if self.outcome else "pending"

    def begins(self, leg: int) -> int:
        """Return the first leg of the repeat that a leg belongs to."""
        return max((at + 1 for at in range(leg) if self.legs[at].again), default=0)

    def outcomes(self) -> Iterator[Outcome]:
        """Yield the outcome of each leg, first to last."""
        yield from (leg.outcome for leg in self.legs)
        if self.outcome:
            yield self.outcome

    def checkpoint_of(self, leg: int) -> CheckpointRef:
        """Return the checkpoint that a leg left. Raises `LookupError`."""
        outcomes = list(self.outcomes())
        ref = outcomes[leg].checkpoint if 0 <= leg < len(outcomes) else None
        if ref is None:
            raise LookupError(f"{self.id} has no checkpoint of leg {leg}")
        return ref

    def replace_checkpoint(self, before: CheckpointRef, after: CheckpointRef) -> None:
        """Replace a checkpoint in each outcome that has it; later legs may have kept an earlier one's."""
        self.legs = tuple(
            replace(leg, outcome=replace(leg.outcome, checkpoint=after))
            if leg.outcome.checkpoint == before
            else leg
            for leg in self.legs
        )
        if self.outcome and self.outcome.checkpoint == before:
            self.outcome = replace(self.outcome, checkpoint=after)

    def seconds_of(self, stage: str) -> float:
        """Return the worker seconds of one stage (`train`, ...), summed over all legs."""
        return sum(outcome.seconds.get(stage, 0.0) for outcome in self.outcomes())

    def lose(self, event: Lost) -> None:
        """Record that an attempt at the current leg was lost."""
        self.losses += 1
        self.lost = (*self.lost, event.why)[-MOST_REASONS:]
        if event.preempted:
            self.preempted += 1
            return
        self.suspect = True
        self.charged += event.blame == "own" and not event.shared
        self.unlucky = self.unlucky + 1 if event.blame in ("worker", "disk") else 0
        self.lost_workers = self.lost_workers + (not event.shared) if event.blame == "worker" else 0
        if event.blame == "unconfirmed":
            self.raised_on = event.worker

    def fresh_leg(self) -> None:
        """Reset what is known about the current leg."""
        self.charged = self.unlucky = self.lost_workers = 0
        self.suspect, self.raised_on = False, None

    def as_member(self) -> Member:
        birth = replace(self.birth, genome=dict(self.birth.genome))  # strategies may rely on a dict
        return Member(self.id, self.generation, self.slot, birth, self.fom)


@dataclass(eq=False, slots=True)
class Mean(Life):
    """The mean of the parameters of `of`, best first; its birth continues the line of the best."""

    of: list[Life] = field(default_factory=list)

    @property
    def checkpoints(self) -> list[CheckpointRef]:
        """The checkpoints that are averaged."""
        found = (life.outcome.checkpoint for life in self.of if life.outcome)
        return [ref for ref in found if ref]
