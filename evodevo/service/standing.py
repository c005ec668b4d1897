"""How things stand around a run that a service carries out, or could."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evodevo.run.journal import holder_of
from evodevo.run.setup import JOURNAL


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


def elsewhere(directory: Path, standing: Standing) -> Standing:
    """The same with another scheduler that is at work on the run, if there is one."""
    if standing.live or (holder := holder_of(directory / JOURNAL)) is None:
        return standing
    return Standing(True, None, [], by_heartbeat=f"carried out by {holder}")
