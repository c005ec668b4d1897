"""What a journal holds of one member, or of a mean of members."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from evodevo.evolution.population import Birth, Member
from evodevo.run.events import Lost, Result
from evodevo.run.records import CheckpointRef, Outcome


@dataclass(eq=False, slots=True)
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
    """Reasons for the attempts that were lost, oldest first."""
    preempted: int = 0
    """How many of those were nobody's fault: their workers had to go."""
    charged: int = 0
    """Attempts at the leg at hand that were lost and count against `limits.max_attempts`."""
    unlucky: int = 0
    """Attempts at the leg at hand that were lost in a row for a lost worker, a disk or a store."""
    lost_workers: int = 0
    """Workers that were lost in a row while they were at the leg at hand and nothing else."""
    raised_on: str | None = None
    """The worker on which the workload raised in the leg at hand, which was not believed yet."""
    suspect: bool = False
    """An attempt at the leg at hand was lost, not for a preemption: it may be what ended its worker."""
    legs: list[Result] = field(default_factory=list)
    """The legs that the life went on from."""
    outcome: Outcome | None = None
    """What came of the last leg: the life is over."""
    worker: str | None = None
    """Where the last leg that has a result was trained."""
    started_at: float | None = None
    """When that attempt began on its worker (seconds since the epoch)."""
    stopped: str | None = None
    """The rule by which the life was over before its last leg."""
    same_as: str | None = None
    """The member whose outcome it has, as both have the same hyperparameters; nothing was trained."""
    network_epochs: tuple[int, ...] = ()
    """`epoch` of each of several networks; empty for a founder, and where a member has one network."""

    @property
    def fom(self) -> float | None:
        return self.outcome.fom if self.outcome else None

    @property
    def attempts(self) -> int:
        """Attempts begun: those lost, and one for each leg that has a result."""
        return len(self.lost) + len(self.legs) + (self.outcome is not None and self.started_at is not None)

    @property
    def status(self) -> str:
        """done, diverged, failed, or pending."""
        return self.outcome.status if self.outcome else "pending"

    def begins(self, leg: int) -> int:
        """Return the first leg of the repeat that a leg belongs to."""
        return max((at + 1 for at in range(leg) if self.legs[at].again), default=0)

    def outcomes(self) -> Iterator[Outcome]:
        """What came of each leg, first to last."""
        yield from (leg.outcome for leg in self.legs)
        if self.outcome:
            yield self.outcome

    def replace_checkpoint(self, leg: int, checkpoint: CheckpointRef) -> None:
        """Have another checkpoint in the place of the one that a leg left. Raises `LookupError`."""
        if leg < len(self.legs):
            before = self.legs[leg]
            self.legs[leg] = replace(before, outcome=replace(before.outcome, checkpoint=checkpoint))
        elif self.outcome and self.outcome.checkpoint and leg == len(self.legs):
            self.outcome = replace(self.outcome, checkpoint=checkpoint)
        else:
            raise LookupError(f"{self.id} has no checkpoint of leg {leg}")

    def seconds_of(self, part: str) -> float:
        """Worker seconds of one part of the account (`train`, ...), over all legs."""
        return sum(outcome.seconds.get(part, 0.0) for outcome in self.outcomes())

    def lose(self, event: Lost) -> None:
        """An attempt at the leg at hand was lost."""
        self.lost.append(event.why)
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
        """Nothing is known of the leg at hand."""
        self.charged = self.unlucky = self.lost_workers = 0
        self.suspect, self.raised_on = False, None

    def as_member(self) -> Member:
        return Member(self.id, self.generation, self.slot, self.birth, self.fom)


@dataclass(eq=False, slots=True)
class Mean(Life):
    """The mean of the parameters of `of`, best first; its birth continues the line of the best."""

    of: list[Life] = field(default_factory=list)

    @property
    def checkpoints(self) -> list[CheckpointRef]:
        """Those that are averaged."""
        found = (life.outcome.checkpoint for life in self.of if life.outcome)
        return [ref for ref in found if ref]
