"""The typed events of a journal; `codec` converts them to records and back.

Begun      the whole config of the run, and what a reader must know of its strategy
TakenOver  a controller takes over: host, pid, scheduler address, versions; members that are tried again
Extended   the run has another number of generations from here on; follows a `TakenOver`
Births     members that are born together
Averaging  the parameters of a generation are to be averaged; a `Result` of that mean follows
Lost       an attempt was lost, why, and what was at fault; see `Blame`
Result     the outcome of a leg, which is true from here on. `goes_on`: the life has another leg
Replaced   a damaged checkpoint was remade with other bytes, which children start from
Ended      done, failed or cancelled, and why; `TakenOver` may follow it
Known      outcomes of another run, which members of this one with the same genome take
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

    `checkpoint` is a copy in the run's own store, or None if only the genome was taken. `epochs` is how long
    its parameters had been trained, over all runs; this run counts its epochs from 0.
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
        """Return a description of the member."""
        fom = "" if self.fom is None else f"{self.metric} {self.fom:.6g}, "
        taken = f"{self.epochs} epochs" if self.checkpoint else "its genome only"
        return f"{self.member} of {self.run} ({fom}{taken})"


@dataclass(frozen=True)
class Begun:
    """The start of a run. `pace` and `inherits` are the strategy's, so that a reader needs no strategy.

    `data` has the digest of each split by name; it is empty for runs of versions that had no digests.
    """

    id: str
    config: Mapping[str, Any]
    pace: Pace
    inherits: bool
    data: Mapping[str, str] = field(default_factory=dict)
    origin: Origin | None = None


@dataclass(frozen=True)
class TakenOver:
    """A controller takes over the run.

    `retry`: the failed members that are tried again; in format 1, True stands for those of the last
    generation.
    """

    about: Mapping[str, Any]
    retry: Sequence[str] | bool = ()


@dataclass(frozen=True)
class Extended:
    """The run has another number of generations; `generations` is the new total."""

    generations: int


@dataclass(frozen=True)
class Born:
    """A birth with its place, and the training seed in force, from the strategy or from the run's seed."""

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

    The mean has an id and a result like a member but is not one: nothing is trained. `of` lists the members,
    best first.
    """

    member: str
    generation: int
    of: Sequence[str]


Blame = Literal["own", "worker", "disk", "unconfirmed"]
"""own: the member's, and counts against `limits.max_attempts`. worker: its process was lost. disk: a disk, a
store or the network failed. unconfirmed: the workload raised, but may not do so on another worker."""


@dataclass(frozen=True)
class Lost:
    """An attempt was lost after `seconds` on `worker`.

    `shared`: it was lost together with others, so it is not known which was at fault. `preempted`: its worker
    had announced that it must leave. Neither counts against the member, whatever `blame` is.
    """

    member: str
    why: str
    preempted: bool = False
    shared: bool = False
    worker: str | None = None
    seconds: float = 0.0
    blame: Blame = "own"


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a leg, whose attempt began on its worker at `started_at` (seconds since the epoch).

    `again`: the life's next leg starts from scratch, as another repeat. `stopped`: the rule (of
    `search.stop_early`, or patience) that ended the life, or this repeat, before its last leg. `same_as`: the
    member whose outcome was taken because both have the same hyperparameters; nothing was trained.
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
    """Outcomes of members of another run, by their genomes as `evodevo.run.twins.key_of` writes them.

    At most the best outcome has a checkpoint, which was copied. `members` holds the ids in that run.
    """

    run: str
    run_id: str
    outcomes: Mapping[str, Outcome]
    members: Mapping[str, str]


@dataclass(frozen=True)
class Replaced:
    """A leg of a member has another checkpoint from here on, which `checkpoints.on_mismatch` allows.

    Remaking a checkpoint with the same bytes is not an event: what the journal says is still true.
    """

    member: str
    leg: int
    checkpoint: CheckpointRef


@dataclass(frozen=True)
class Soup:
    """The mean of the networks of the last generation that improve it; `of` lists the members, best first."""

    of: Sequence[str]
    fom: float
    metrics: Mapping[str, float]
    test: Mapping[str, float]
    checkpoint: CheckpointRef


@dataclass(frozen=True)
class Ended:
    """The run has ended; `test` has the best member's metrics on the test split.

    `soup` is the soup of the last generation, if one was made.
    """

    status: End
    reason: str | None = None
    test: Mapping[str, float] = field(default_factory=dict)
    soup: Soup | None = None


Event = Averaging | Begun | TakenOver | Extended | Births | Lost | Result | Replaced | Ended | Known


def member_id(generation: int, slot: int) -> str:
    """Return the id of the member born at a place; only code that creates births may rely on its form."""
    return f"g{generation:03d}s{slot:03d}"


def mean_id(generation: int) -> str:
    """Return the id of the mean of a generation."""
    return f"g{generation:03d}mean"
