"""Conversion of events to journal records and back.

Records of format 1 (before lives had legs) are read as today's events, so runs of older versions can be read,
reported and resumed; each record shows its format by its shape. A version that does not know a kind of event
refuses the run.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from evodevo.evolution.population import Birth, Network
from evodevo.run.compact import compact
from evodevo.run.events import (
    Averaging,
    Begun,
    Births,
    Born,
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
    member_id,
)
from evodevo.run.journal import JournalError, Record
from evodevo.run.records import CheckpointRef, Outcome, from_json, in_json

FORMAT = 2


def encode(event: Event) -> dict[str, Any]:
    """Return the record of an event: plain data for `Journal.append`."""
    record: dict[str, Any]
    match event:
        case Result():
            record = {"kind": "outcome", "member": event.member, "outcome": event.outcome.to_json()}
            if event.goes_on:
                record["goes_on"] = True
            if event.again:
                record["again"] = True
            if event.stopped is not None:
                record["stopped"] = event.stopped
            if event.same_as is not None:
                record["same_as"] = event.same_as
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
        case Known():
            outcomes = {key: outcome.to_json() for key, outcome in event.outcomes.items()}
            about = {"run": event.run, "run_id": event.run_id, "members": dict(event.members)}
            return {"kind": "known", **about, "outcomes": outcomes}
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
        **({"networks": [_encode_network(one) for one in birth.networks]} if birth.networks else {}),
        "training_seed": born.training_seed,
    }


def _encode_network(network: Network) -> dict[str, Any]:
    genome = network.genome and dict(network.genome)
    found = {"parent": network.parent, "genome": genome, "training_seed": network.training_seed}
    return {key: value for key, value in found.items() if value is not None}


def _network(network: Mapping[str, Any]) -> Network:
    parent = network.get("parent")
    return Network(parent and sys.intern(parent), network.get("genome"), network.get("training_seed"))


def _encode_origin(origin: Origin) -> dict[str, Any]:
    ref = origin.checkpoint
    return {
        **vars(origin),
        "genome": dict(origin.genome),
        "checkpoint": ref and {"name": ref.name, "size_bytes": ref.size_bytes, "sha256": ref.sha256},
    }


def _origin(data: Mapping[str, Any]) -> Origin:
    ref = data["checkpoint"]
    return Origin(**{**data, "checkpoint": ref and CheckpointRef(**ref)})


def _run(record: Record) -> Begun:
    config = record["config"]
    steady = config["search"]["strategy"] == "mutate_best"  # the only steady strategy of format 1
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
    networks = tuple(map(_network, born["networks"])) if "networks" in born else ()
    genome = compact(born["genome"])
    birth = Birth(genome, parents.get("a"), parents.get("b"), parents.get("params"), seed, networks)
    return Born(sys.intern(born["member"]), born["generation"], born["slot"], birth, seed)


def _born_1(generation: int, slot: int, born: Mapping[str, Any]) -> Born:
    """Return a birth of format 1, whose slot is its position in the record."""
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
        record.get("again", False),
        record.get("stopped"),
        record.get("same_as"),
    )


def _known(record: Record) -> Known:
    outcomes = {key: Outcome.from_json(outcome) for key, outcome in record["outcomes"].items()}
    return Known(record["run"], record["run_id"], outcomes, record["members"])


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
    "known": _known,
    "lost": _lost,
    "outcome": _outcome,
    "replaced": lambda record: Replaced(
        record["member"], record["leg"], CheckpointRef(**record["checkpoint"])
    ),
    "end": _end,
}
