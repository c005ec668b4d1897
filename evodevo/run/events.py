"""The events that a journal holds, typed; `codec` writes each as a record and reads it back.

Begun      what the run is: its whole config, and what its strategy is like
TakenOver  a controller takes over: host, pid, scheduler address, versions; members that are tried again
Extended   from here on the run has another number of generations; follows a `TakenOver`
Births     members that are born together
Averaging  the parameters of a generation are to be averaged; a `Result` of that mean follows
Lost       an attempt that was given up, why, and whose fault that was; see `Blame`
Result     what came of a leg; from here on it is true. `goes_on`: the life has another leg
Replaced   a checkpoint was damaged, and made again with other bytes, which children begin from
Ended      done, failed or cancelled, and why; `TakenOver` may follow it
Known      outcomes of another run, which the members of this one with the same genome take
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from evodevo.evolution.population import Birth
from evodevo.evolution.strategies.base import Pace
from evodevo.run.records import CheckpointRef, Outcome

End = Literal["done", "failed", "cancelled"]


@dataclass(frozen=True)
class Origin:
    """The member of another run that the founders of this one start from.

    `checkpoint` is a copy in the run's own store, or None if only the genome was taken. `epochs` is how many
    its parameters had been trained, all runs together; this run counts its epochs from 0.
    """

    run: str
    run_id: str
    member: str
    metric: str
    fom: float | None
    epochs: int
    genome: Mapping[str, Any]
    checkpoint: CheckpointRef | None

    def text(self) -> str:
        """The member in words."""
        fom = "" if self.fom is None else f"{self.metric} {self.fom:.6g}, "
        taken = f"{self.epochs} epochs" if self.checkpoint else "its genome only"
        return f"{self.member} of {self.run} ({fom}{taken})"


@dataclass(frozen=True)
class Begun:
    """`pace` and `inherits` are the strategy's; they are here so that a reader needs no strategy.

    `data` has the digest of each split, by its name; it is empty for runs of versions that knew none.
    """

    id: str
    config: Mapping[str, Any]
    pace: Pace
    inherits: bool
    data: Mapping[str, str] = field(default_factory=dict)
    origin: Origin | None = None


@dataclass(frozen=True)
class TakenOver:
    """`retry`: the failed members that are tried again; in format 1 True stands for the last generation's."""

    about: Mapping[str, Any]
    retry: Sequence[str] | bool = ()


@dataclass(frozen=True)
class Extended:
    """`generations` is the whole number, those that there are already included."""

    generations: int


@dataclass(frozen=True)
class Born:
    """`training_seed` is the one that counts, whether the strategy or the run's seed gave it."""

    member: str
    generation: int
    slot: int
    birth: Birth
    training_seed: int


@dataclass(frozen=True)
class Births:
    births: Sequence[Born]


@dataclass(frozen=True)
class Averaging:
    """The parameters of members of a generation are to be averaged, for the children of the next one.

    The mean has an id and a result as a member has, and is none: nothing is trained. `of` are the members,
    best first.
    """

    member: str
    generation: int
    of: Sequence[str]


Blame = Literal["own", "worker", "disk", "unconfirmed"]
"""own: the member's, and counts against `limits.max_attempts`. worker: its process was lost. disk: a disk, a
store or the network failed. unconfirmed: the workload raised, and may not do so on another worker."""


@dataclass(frozen=True)
class Lost:
    """`seconds`: how long `worker` had been at it. `shared`: lost together with others, nobody knows why.

    `preempted`: its worker had said that it must go. Neither counts against the member, whoever is to blame.
    """

    member: str
    why: str
    preempted: bool = False
    shared: bool = False
    worker: str | None = None
    seconds: float = 0.0
    blame: Blame = "own"


@dataclass(frozen=True)
class Result:
    """`started_at` (seconds since the epoch) is when the attempt began on its worker.

    `again`: the life has another leg, and that one begins from scratch: another repeat. `stopped`: the rule
    (of `search.stop_early`, or patience) by which the life, or this repeat, is over before its last leg.
    `same_as`: the member whose outcome it is, as both have the same hyperparameters; nothing was trained.
    """

    member: str
    outcome: Outcome
    worker: str | None = None
    started_at: float | None = None
    goes_on: bool = False
    again: bool = False
    stopped: str | None = None
    same_as: str | None = None


@dataclass(frozen=True)
class Known:
    """What members of another run came to, by their genome as `evodevo.run.twins.key_of` writes it.

    An outcome has no checkpoint, unless it is the best one, whose checkpoint was copied. `members` are their
    ids there.
    """

    run: str
    run_id: str
    outcomes: Mapping[str, Outcome]
    members: Mapping[str, str]


@dataclass(frozen=True)
class Replaced:
    """What a leg of a member left has another checkpoint from here on; `checkpoints.on_mismatch` allows it.

    A checkpoint that was made again with the same bytes is no event: what the journal says is still true.
    """

    member: str
    leg: int
    checkpoint: CheckpointRef


@dataclass(frozen=True)
class Soup:
    """The mean of those networks of the last generation that make it better; `of` are members, best first."""

    of: Sequence[str]
    fom: float
    metrics: Mapping[str, float]
    test: Mapping[str, float]
    checkpoint: CheckpointRef


@dataclass(frozen=True)
class Ended:
    """`test`: metrics of the best member on the test split. `soup`: what was made of the last generation."""

    status: End
    reason: str | None = None
    test: Mapping[str, float] = field(default_factory=dict)
    soup: Soup | None = None


Event = Averaging | Begun | TakenOver | Extended | Births | Lost | Result | Replaced | Ended | Known


def member_id(generation: int, slot: int) -> str:
    """The id of the member that is born at that place; opaque to everybody but whoever makes births."""
    return f"g{generation:03d}s{slot:03d}"


def mean_id(generation: int) -> str:
    """The id of the mean of all members of a generation."""
    return f"g{generation:03d}mean"
