"""Check that events make sense in a history, whichever program wrote them.

A checksum shows that a record is as it was written, not that evodevo wrote it. Each check raises
`ValueError`, `TypeError` or `KeyError`; `History.apply` says for which record.
"""

import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, get_args

from evodevo.config_search import MOST_GENERATIONS, Search
from evodevo.evolution.strategies.base import Pace
from evodevo.run.compact import Compact
from evodevo.run.events import Averaging, Begun, Blame, Born, End, Ended, Extended, Known, Lost, Result
from evodevo.run.records import STATUSES, CheckpointRef

if TYPE_CHECKING:
    from evodevo.run.life import Life

MALFORMED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""Exceptions that a record with a valid checksum may raise if evodevo did not write it."""
_NAME = re.compile(r"[^/\\\0]+")
BLAMES = get_args(Blame)


def check_begun(event: Begun) -> None:
    """Check that a run begins with a known pace and a config with text keys."""
    if event.pace not in get_args(Pace) or not isinstance(event.inherits, bool):
        raise ValueError(f"the run has the pace {event.pace!r}")
    _texts([event.id, *event.data, *event.data.values(), *event.config])
    if event.origin is not None:
        if event.origin.checkpoint is not None:
            check_checkpoint(event.origin.checkpoint)
        _texts([event.origin.run, event.origin.member, event.origin.metric])


def check_extended(event: Extended, generations: int) -> None:
    """Check that a run gets no fewer generations than it has begun, and no more than a config can have."""
    if type(event.generations) is not int or not max(1, generations) <= event.generations <= MOST_GENERATIONS:
        raise ValueError(f"the run is extended to {event.generations!r} generations")


def check_ended(event: Ended, known: Collection[str]) -> None:
    """Check that a run ends in one of three ways, and that a soup is made of known members."""
    if event.status not in get_args(End):
        raise ValueError(f"the run ends {event.status!r}")
    _texts([*_given(event.reason), *event.test])
    _numbers(event.test.values())
    if (soup := event.soup) is not None:
        if not soup.of or not all(member in known for member in soup.of):
            raise ValueError(f"the soup is of {soup.of!r}")
        check_checkpoint(soup.checkpoint)
        _texts([*soup.metrics, *soup.test])
        _numbers([soup.fom, *soup.metrics.values(), *soup.test.values()])


def check_birth(born: Born, search: Search, known: Collection[str], generations: int) -> None:
    """Check that a member is born once, in a valid place, after its parents, with a value for each locus."""
    birth = born.birth
    if born.member in known:
        raise ValueError(f"{born.member} is born twice")
    if not 0 <= born.generation <= generations or born.slot < 0:
        raise ValueError(f"{born.member} has the place {born.generation}, {born.slot}")
    givers = [network.parent for network in birth.networks]
    for parent in (birth.parent_a, birth.parent_b, birth.parent_params, *givers):
        if parent is not None and parent not in known:
            raise ValueError(f"{born.member} descends from {parent}, which is not born")
    if birth.networks and len(birth.networks) != search.ploidy:
        raise ValueError(f"{born.member} has {len(birth.networks)} networks instead of {search.ploidy}")
    seeds = [network.training_seed for network in birth.networks]
    if not all(isinstance(seed, int | None) for seed in seeds):
        raise TypeError(f"{born.member} has networks with the seeds {seeds}")
    own = [network.genome for network in birth.networks if network.genome is not None]
    for genome in (birth.genome, *own):
        if isinstance(genome, Compact) and search.loci.keys() <= genome.keys():
            continue  # it holds numbers only
        for name, locus in search.loci.items():
            if not (locus.contains(genome[name]) or isinstance(genome[name], int | float)):
                raise ValueError(f"{born.member} has {name} = {genome[name]!r}")


def check_averaging(event: Averaging, known: Collection[str]) -> None:
    """Check that a mean is made once, and of something."""
    if event.member in known:
        raise ValueError(f"{event.member} is made twice")
    if not event.of:
        raise ValueError(f"{event.member} is a mean of nothing")


def check_lost(event: Lost) -> None:
    """Check that a loss has a reason, a duration and a known blame."""
    _numbers([event.seconds])
    _texts([event.why])
    if event.blame not in BLAMES:
        raise ValueError(f"an attempt of {event.member} was lost for {event.blame!r}")


def check_known(event: Known) -> None:
    """Check that the outcomes of another run are valid, and that their members have names."""
    _texts([event.run, event.run_id, *event.members.values()])
    for key, outcome in event.outcomes.items():
        check_result(Result(event.members[key], outcome))


def check_result(event: Result) -> None:
    """Check that an outcome has a fom if and only if it is done, and that its fields have the right types."""
    outcome = event.outcome
    if event.again and not event.goes_on:
        raise ValueError(f"{event.member} has another repeat but does not continue")
    _texts(_given(event.stopped, event.same_as))
    _numbers(() if isinstance(outcome.progress, Compact) else outcome.progress.values())
    if outcome.status not in STATUSES or (outcome.fom is not None) != (outcome.status == "done"):
        raise ValueError(f"{event.member} is {outcome.status!r} with the fom {outcome.fom!r}")
    _numbers([outcome.hidden_s, *_given(outcome.fom, event.started_at)])
    for values in (outcome.seconds, outcome.metrics, *outcome.epochs):
        if isinstance(values, Compact):
            continue  # it holds numbers only
        _numbers(values.values())
        _texts(values)
    for epoch in outcome.losses:
        _numbers(epoch.means)
        if type(epoch.steps) is not int or epoch.steps < len(epoch.means):
            raise ValueError(f"{event.member} has {len(epoch.means)} losses of {epoch.steps!r} steps")
    _texts(outcome.notes)
    _texts(_given(outcome.error, event.worker))
    if outcome.checkpoint is not None:
        check_checkpoint(outcome.checkpoint)


def check_twin(event: Result, other: "Life | None") -> None:
    """Check that an outcome is taken from a finished member that was trained itself."""
    if other is not None and (other.outcome is None or other.same_as is not None):
        raise ValueError(f"{event.member} has the outcome of {other.id}, which was not trained itself")


def check_checkpoint(ref: CheckpointRef) -> None:
    """Check that a checkpoint's name does not lead out of the run's store."""
    if not _NAME.fullmatch(ref.name) or ref.name in (".", ".."):
        raise ValueError(f"a checkpoint has the name {ref.name!r}")
    _numbers([ref.size_bytes])
    _texts([ref.sha256])


def _given(*values: Any) -> list[Any]:
    return [value for value in values if value is not None]


def _numbers(values: Iterable[Any]) -> None:
    for value in values:
        if not isinstance(value, int | float):
            raise TypeError(f"{value!r} should be a number")


def _texts(values: Iterable[Any]) -> None:
    for value in values:
        if not isinstance(value, str):
            raise TypeError(f"{value!r} should be text")
