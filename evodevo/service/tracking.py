"""Start the processes of trackers beside the runs that a scheduler carries out.

The end of its standard input tells a process that its run is over, and comes too if the scheduler is killed.
So no process is left behind, and none has to be killed.
"""

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from evodevo import trackers
from evodevo.errors import RunFailed, UsageError
from evodevo.run.controller import Controller
from evodevo.run.journal import JOURNAL, JournalError, is_live
from evodevo.run.pauses import pause_s
from evodevo.run.repair import Repair
from evodevo.run.tracking import configured, file_of, problems_in
from evodevo.trackers.follow import CANNOT, Notes, alone, follow

logger = logging.getLogger("evodevo.service")

POLL_S = 0.5
LAST_WORDS_S = 5.0
"""Longest wait of a closing scheduler for its trackers; slower ones finish on their own."""


class Tracking:
    """The trackers of the runs in one directory."""

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def of(self, run: str, controller: Controller) -> AsyncIterator[None]:
        """Let the run's trackers follow it until the end of the block, without waiting for them.

        A repair is not tracked.
        """
        if isinstance(controller, Repair):
            yield
            return
        over = asyncio.Event()
        task = asyncio.create_task(self._follow_all(run, over))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            yield
        finally:
            over.set()

    async def close(self) -> None:
        """Wait for the trackers of runs that are over, at most `LAST_WORDS_S`."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_WORDS_S)
        for task in self._tasks:
            task.cancel()

    async def _follow_all(self, run: str, over: asyncio.Event) -> None:
        directory = self._runs_dir / run
        try:
            names = await asyncio.to_thread(configured, directory)
        except (JournalError, OSError):
            return  # the run cannot start either, and reports why
        following = (self._follow(directory, name, over) for name in names)
        for failure in await asyncio.gather(*following, return_exceptions=True):
            if isinstance(failure, Exception):
                logger.error("run %s: a tracker failed: %s: %s", run, type(failure).__name__, failure)

    async def _follow(self, directory: Path, name: str, over: asyncio.Event) -> None:
        """Keep a tracker's process running, and log each problem once."""
        failures, said = 0, ""
        while True:
            process = await asyncio.to_thread(start, directory, name)
            while (status := process.poll()) is None:
                if over.is_set() and process.stdin and not process.stdin.closed:
                    process.stdin.close()
                said = await self._say(directory, name, said)
                await asyncio.sleep(POLL_S)
            if process.stdin:
                process.stdin.close()
            said = await self._say(directory, name, said)
            if over.is_set() or status in (0, CANNOT):
                return
            failures += 1
            logger.warning("run %s: tracker %s ended with status %s", directory.name, name, status)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), pause_s(failures))

    async def _say(self, directory: Path, name: str, said: str) -> str:
        """Log a tracker's problem unless it was already logged (`said`); return it."""
        found = await asyncio.to_thread(problems_in, directory)
        wrong = next((line for line in found if line.startswith(f"tracker {name}:")), "")
        if wrong and wrong != said:
            logger.warning("run %s: %s", directory.name, wrong)
        return wrong or said


def start(directory: Path, name: str) -> "subprocess.Popen[bytes]":
    """Start a tracker's process in a new session: Ctrl-C must reach it only through the end of the run."""
    with open(file_of(directory, name, "log"), "wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "evodevo.trackers", str(directory), name],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )


def track(directory: Path, name: str, options: Mapping[str, Any]) -> str:
    """Feed a run to a tracker in this process until the run is over; return where to look at it.

    Raises `UsageError` for an unknown tracker or option, a missing library, and a tracker that another
    process feeds already; `RunFailed` if the tracker did not receive everything.
    """
    wrong = trackers.problems({name: options}) or trackers.missing({name: options})
    if wrong:
        raise UsageError("\n  ".join(text.removeprefix("run.trackers: ") for text in wrong))
    kind = trackers.find(name)
    checked = kind.Options.model_validate(options)

    def wait(seconds: float) -> bool:
        if not is_live(directory / JOURNAL):
            return True
        time.sleep(seconds)
        return False

    with alone(directory, name, lambda _: True) as is_alone:
        if not is_alone:
            raise UsageError(
                f"another process is feeding run {directory.name!r} to {name}; wait for it to end"
            )
        note = Notes(file_of(directory, name, "problem"))
        if not follow(directory, kind, checked, wait, note):
            raise RunFailed(f"{name} did not receive everything: {note.text}")
    return kind.where(directory, checked)
