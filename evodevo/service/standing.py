"""How things stand around a run that a service carries out, or could."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evodevo.run.journal import holder_of
from evodevo.run.setup import JOURNAL
from evodevo.run.tracking import problems_in


@dataclass(frozen=True)
class Standing:
    """How things stand around a run; except for its records, what `view.Reading` holds."""

    live: bool
    workers: int | None
    problems: Sequence[str]
    unused_workers: int | None = None
    unused_why: Sequence[str] = ()
    waits: str = ""
    by_heartbeat: str = ""


def seen_in(directory: Path, standing: Standing) -> Standing:
    """The same with what the run's directory says of its trackers, and of another scheduler at work on it."""
    standing = replace(standing, problems=[*standing.problems, *problems_in(directory)])
    if standing.live or (holder := holder_of(directory / JOURNAL)) is None:
        return standing
    return Standing(True, None, problems_in(directory), by_heartbeat=f"carried out by {holder}")
