"""The events that a journal holds, typed, and how each is written as a record and read back.

  Begun      what the run is: its whole config, and what its strategy is like
  TakenOver  a controller takes over: host, pid, scheduler address, versions; members that are tried again
  Extended   from here on the run has another number of generations; follows a `TakenOver`
  Births     members that are born together
  Averaging  the parameters of a generation are to be averaged; a `Result` of that mean follows
  Lost       an attempt that was given up, why, and whose fault that was; see `Blame`
  Result     what came of a leg; from here on it is true. `goes_on`: the life has another leg
  Replaced   a checkpoint was damaged, and made again with other bytes, which children begin from
  Ended      done, failed or cancelled, and why; `TakenOver` may follow it

Records of format 1 (before lives had legs) are read as the events they are today, so a run that an older
version began is read, reported and resumed; each record says by its own shape which format it has. A version
that does not know a kind of event refuses the run.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from evodevo.evolution.population import Birth
from evodevo.evolution.strategies.base import Pace
from evodevo.run.journal import JournalError, Record
from evodevo.run.records import CheckpointRef, Outcome, from_json, in_json

FORMAT = 2

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
    """`started_at` (seconds since the epoch) is when the attempt began on its worker."""

    member: str
    outcome: Outcome
    worker: str | None = None
    started_at: float | None = None
    goes_on: bool = False


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


Event = Averaging | Begun | TakenOver | Extended | Births | Lost | Result | Replaced | Ended


def member_id(generation: int, slot: int) -> str:
    """The id of the member that is born at that place; opaque to everybody but whoever makes births."""
    return f"g{generation:03d}s{slot:03d}"


def mean_id(generation: int) -> str:
    """The id of the mean of all members of a generation."""
    return f"g{generation:03d}mean"


def encode(event: Event) -> dict[str, Any]:
    """Return the record of an event: plain data for `Journal.append`."""
    record: dict[str, Any]
    match event:
        case Result():
            record = {"kind": "outcome", "member": event.member, "outcome": event.outcome.to_json()}
            if event.goes_on:
                record["goes_on"] = True
            if event.worker is not None:
                record |= {"worker": event.worker, "started_at": event.started_at}
            return record
        case Averaging():
            return {
                "kind": "averaging",
                "member": event.member,
                "generation": event.generation,
                "of": list(event.of),
            }
        case Replaced():
            checkpoint = asdict(event.checkpoint)
            return {"kind": "replaced", "member": event.member, "leg": event.leg, "checkpoint": checkpoint}
        case Births():
            return {"kind": "births", "births": [_encode_born(born) for born in event.births]}
        case Lost():
            record = {"kind": "lost", "member": event.member, "why": event.why}
            if event.preempted:
                record["preempted"] = True
            if event.shared:
                record["shared"] = True
            if event.blame != "own":
                record["blame"] = event.blame
            if event.worker is not None:
                record |= {"worker": event.worker, "seconds": event.seconds}
            return record
        case TakenOver():
            retry = event.retry if isinstance(event.retry, bool) else list(event.retry)
            return {"kind": "controller", "format": FORMAT, "retry": retry, **event.about}
        case Extended():
            return {"kind": "extended", "generations": event.generations}
        case Begun():
            return {
                "kind": "run",
                "format": FORMAT,
                "id": event.id,
                "pace": event.pace,
                "inherits": event.inherits,
                "data": dict(event.data),
                "config": dict(event.config),
                **({"origin": _encode_origin(event.origin)} if event.origin else {}),
            }
        case Ended():
            return {
                "kind": "end",
                "status": event.status,
                "reason": event.reason,
                "test": in_json(event.test),
                **({"soup": _encode_soup(event.soup)} if event.soup else {}),
            }


def decode(record: Record) -> Event:
    """Return the event of a journal's record.

    Raises `JournalError` for a kind or a format that this version does not know.
    """
    reader = _READERS.get(record["kind"])
    if reader is None or record.get("format", 1) > FORMAT:
        raise JournalError(
            f"record {record['n']} (kind {record['kind']!r}, format {record.get('format', 1)}) was written "
            f"by a newer evodevo; this one reads up to format {FORMAT}: upgrade evodevo to read this run"
        )
    return reader(record)


def _encode_born(born: Born) -> dict[str, Any]:
    birth = born.birth
    roles = {"a": birth.parent_a, "b": birth.parent_b, "params": birth.parent_params}
    return {
        "member": born.member,
        "generation": born.generation,
        "slot": born.slot,
        "genome": dict(birth.genome),
        "parents": {role: parent for role, parent in roles.items() if parent is not None},
        "training_seed": born.training_seed,
    }


def _encode_origin(origin: Origin) -> dict[str, Any]:
    ref = origin.checkpoint
    return {
        **vars(origin),
        "genome": dict(origin.genome),
        "checkpoint": ref and {"name": ref.name, "size_bytes": ref.size_bytes, "sha256": ref.sha256},
    }


def _origin(data: Mapping[str, Any]) -> Origin:
    return Origin(**{**data, "checkpoint": data["checkpoint"] and CheckpointRef(**data["checkpoint"])})


def _run(record: Record) -> Begun:
    config = record["config"]
    steady = config["search"]["strategy"] == "mutate_best"  # in format 1 the only strategy that was
    return Begun(
        record.get("id", ""),
        config,
        record.get("pace", "steady" if steady else "generations"),
        record.get("inherits", not steady),
        record.get("data", {}),
        _origin(record["origin"]) if "origin" in record else None,
    )


def _controller(record: Record) -> TakenOver:
    about = {
        key: value for key, value in record.items() if key not in ("n", "time", "kind", "retry", "format")
    }
    return TakenOver(about, record["retry"])


def _extended(record: Record) -> Extended:
    return Extended(record["generations"])


def _births(record: Record) -> Births:
    if "generation" in record:
        return Births([_born_1(record["generation"], slot, at) for slot, at in enumerate(record["births"])])
    return Births([_born(born) for born in record["births"]])


def _born(born: Mapping[str, Any]) -> Born:
    seed = born["training_seed"]
    parents = {role: sys.intern(parent) for role, parent in born["parents"].items()}
    genome = {sys.intern(name): value for name, value in born["genome"].items()}
    birth = Birth(genome, parents.get("a"), parents.get("b"), parents.get("params"), seed)
    return Born(sys.intern(born["member"]), born["generation"], born["slot"], birth, seed)


def _born_1(generation: int, slot: int, born: Mapping[str, Any]) -> Born:
    """A birth of format 1, whose place is that of its record."""
    seed = born["training_seed"]
    birth = Birth(born["genome"], born["parent_a"], born["parent_b"], born["parent_params"], seed)
    return Born(member_id(generation, slot), generation, slot, birth, seed)


def _lost(record: Record) -> Lost:
    return Lost(
        record["member"],
        record["why"],
        record.get("preempted", False),
        record.get("shared", False),
        record.get("worker"),
        record.get("seconds", 0.0),
        record.get("blame", "own"),
    )


def _outcome(record: Record) -> Result:
    worker = record.get("worker")
    return Result(
        record["member"],
        Outcome.from_json(record["outcome"]),
        worker and sys.intern(worker),
        record.get("started_at"),
        record.get("goes_on", False),
    )


def _encode_soup(soup: Soup) -> dict[str, Any]:
    return {
        "of": list(soup.of),
        "fom": soup.fom,
        "metrics": in_json(soup.metrics),
        "test": in_json(soup.test),
        "checkpoint": asdict(soup.checkpoint),
    }


def _end(record: Record) -> Ended:
    soup = record.get("soup")
    return Ended(
        record["status"],
        record["reason"],
        from_json(record["test"]),
        soup
        and Soup(
            soup["of"],
            soup["fom"],
            from_json(soup["metrics"]),
            from_json(soup["test"]),
            CheckpointRef(**soup["checkpoint"]),
        ),
    )


_READERS: Mapping[str, Callable[[Record], Event]] = {
    "run": _run,
    "controller": _controller,
    "extended": _extended,
    "averaging": lambda record: Averaging(record["member"], record["generation"], record["of"]),
    "births": _births,
    "lost": _lost,
    "outcome": _outcome,
    "replaced": lambda record: Replaced(
        record["member"], record["leg"], CheckpointRef(**record["checkpoint"])
    ),
    "end": _end,
}
