"""What a run's directory holds about its trackers; see `evodevo.trackers`, which knows all else of them."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evodevo.run.journal import JOURNAL, Tail

FOLDER = "trackers"
"""Directory, in the run's, for each tracker's lock, its output and what is wrong with it."""


def configured(directory: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the options of each tracker that a run's config names, without reading all of its journal."""
    first = Tail(directory / JOURNAL).read(1)
    found: Mapping[str, Mapping[str, Any]] = first[0]["config"]["run"].get("trackers", {}) if first else {}
    return found


def problems_in(directory: Path) -> list[str]:
    """Return what is wrong with the trackers of a run, a line for each."""
    found = []
    for path in sorted((directory / FOLDER).glob("*.problem")):
        with contextlib.suppress(OSError):
            found.append(f"tracker {path.stem}: {path.read_text(errors='replace').strip()}")
    return found


def file_of(directory: Path, name: str, suffix: str) -> Path:
    """Return the path of a tracker's own file, and make its directory."""
    (directory / FOLDER).mkdir(exist_ok=True)
    return directory / FOLDER / f"{name.replace('/', '_')}.{suffix}"
