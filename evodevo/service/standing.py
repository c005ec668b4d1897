"""The situation of a run in a service: who carries it out, its workers and problems."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evodevo.run.journal import holder_of
from evodevo.run.setup import JOURNAL
from evodevo.run.tracking import problems_in
from evodevo.versions import own_versions


@dataclass(frozen=True)
class Standing:
    """The situation of a run: the fields of `view.Reading` other than its records."""

    live: bool
    workers: int | None
    problems: Sequence[str]
    unused_workers: int | None = None
    unused_why: Sequence[str] = ()
    waits: str = ""
    by_heartbeat: str = ""


def about_controller(scheduler: str) -> dict[str, Any]:
    """Return the facts that identify a controller of this process in journals."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "scheduler": scheduler,
        "versions": own_versions(),
    }


def seen_in(directory: Path, standing: Standing) -> Standing:
    """Add what the run's directory says about its trackers and about another scheduler at work on it."""
    standing = replace(standing, problems=[*standing.problems, *problems_in(directory)])
    if standing.live or (holder := holder_of(directory / JOURNAL)) is None:
        return standing
    return Standing(True, None, problems_in(directory), by_heartbeat=f"carried out by {holder}")
