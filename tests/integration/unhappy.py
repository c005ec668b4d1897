"""Trackers for tests of whole runs: one that always fails, and one that ends its own process."""

import os
import signal
from pathlib import Path
from typing import Any

from evodevo.run.history import History
from evodevo.trackers.base import Tracker


class Broken(Tracker):
    def update(self, history: History) -> None:
        raise ConnectionError("nobody answers")


class Mortal(Tracker):
    """Its process is killed when it is told anything, the first time; writes down whose lives are over."""

    class Options(Tracker.Options):
        out: str

    def __init__(self, directory: Path, options: Any) -> None:
        super().__init__(directory, options)
        self._out = Path(options.out)

    def update(self, history: History) -> None:
        if not self._out.exists():
            self._out.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        self._out.write_text("\n".join(life.id for life in history.over))
