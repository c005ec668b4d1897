"""The files of trackers in a run's directory; `evodevo.trackers` handles everything else about them."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evodevo.run.journal import JOURNAL, Tail

FOLDER = "trackers"
"""Directory, in the run's, for each tracker's lock, its output and its problem."""


def configured(directory: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the options of each tracker in a run's config, without reading its whole journal."""
    first = Tail(directory / JOURNAL).read(1)
    found: Mapping[str, Mapping[str, Any]] = first[0]["config"]["run"].get("trackers", {}) if first else {}
    return found


def problems_in(directory: Path) -> list[str]:
    """Return a line for each problem with the trackers of a run."""
    found = []
    for path in sorted((directory / FOLDER).glob("*.problem")):
        with contextlib.suppress(OSError):
            found.append(f"tracker {path.stem}: {path.read_text(errors='replace').strip()}")
    return found


def file_of(directory: Path, name: str, suffix: str) -> Path:
    """Return the path of a tracker's file, and create its directory."""
    (directory / FOLDER).mkdir(exist_ok=True)
    return directory / FOLDER / f"{name.replace('/', '_')}.{suffix}"
