"""Rewrite files after every member in the background, so that the run does not wait for them."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger("evodevo.follower")

Write = Callable[[Path], object]
"""Writes files of the run in a directory, from its journal; called on a separate thread."""
REST = 30.0
"""Pause after each write, as a multiple of its duration, so that a long journal costs 3 % of a core. Results
that arrive meanwhile are written together."""


class Follower:
    """Calls `write` with a run's directory after each `note`, one call at a time."""

    def __init__(self, directory: Path, write: Write) -> None:
        self._directory = directory
        self._write = write
        self._noted = asyncio.Event()
        self._closed = asyncio.Event()
        self._task = asyncio.create_task(self._follow())

    def note(self) -> None:
        """Say that there is something new in the journal."""
        self._noted.set()

    async def close(self) -> None:
        """Stop writing; return when a write in progress has ended."""
        self._closed.set()
        self._noted.set()
        await self._task

    async def _follow(self) -> None:
        while True:
            await self._noted.wait()
            if self._closed.is_set():
                return
            self._noted.clear()
            began = time.monotonic()
            try:
                await asyncio.to_thread(self._write, self._directory)
            except Exception as why:  # a full disk, say; retried after the next result
                logger.warning("run %s: %s", self._directory.name, why)
            took = time.monotonic() - began
            await self._rest(REST * took)

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), seconds)
