"""`evodevo verify RUN --repair`: remake the damaged checkpoints of a run that no controller carries out."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evodevo.run.checkpoints import CheckpointError, CheckpointStore
from evodevo.run.controller import Controller, close
from evodevo.run.crew import Caller
from evodevo.run.journal import Journal
from evodevo.run.mending import Mending
from evodevo.run.recipes import CannotRemakeError
from evodevo.run.records import CheckpointRef
from evodevo.run.remaking import mend, remake_soup
from evodevo.run.setup import JOURNAL
from evodevo.run.verify import Findings, check_checkpoints


class Repair(Controller):
    """A controller that repairs a run without continuing it. With `accepts`, other bytes are accepted."""

    def __init__(self, directory: Path, caller: Caller, about: Mapping[str, Any], accepts: bool) -> None:
        super().__init__(directory, caller, about)
        self.accepts = accepts
        self.problems: list[str] = []
        """A line for each checkpoint that is still damaged."""
        self.account = ""
        self.seconds = 0.0
        self.ended = False

    async def carry_out(self) -> None:
        """Remake what is damaged. Raises what `Controller.carry_out` does."""
        opening = self._disk.submit(Journal, self.directory / JOURNAL, beats=True)
        try:
            await asyncio.shield(asyncio.wrap_future(opening))
            await self._continue_from(opening.result())
            await self._repair()
        finally:
            await self._on_disk(close, opening)
            self._disk.shutdown(wait=False)

    async def _repair(self) -> None:
        began, history = time.monotonic(), self.history
        found = Findings(history=history)
        await asyncio.to_thread(check_checkpoints, self.directory, found)
        store = await self._on_disk(CheckpointStore, self._job.checkpoints_url)
        accepts = self.accepts or history.config.checkpoints.on_mismatch == "accept"
        mending = Mending(history, self.directory, store, accepts, lambda: found.kept)
        soup = history.soup.checkpoint if history.soup else None
        await self._need(mending, [ref for ref in found.damaged if ref != soup])
        await self.write(*await mend(mending, self._caller, self._job, self.needs))
        if soup in found.damaged:
            await remake_soup(mending, self._caller, self._job, self.needs)
        self.problems, self.account = mending.problems(), mending.account
        self.seconds = time.monotonic() - began
        self.ended = True

    async def _need(self, mending: Mending, refs: Sequence[CheckpointRef]) -> None:
        """Plan to remake all of `refs` or, if one cannot be remade, all others."""
        try:
            await mending.need(refs)
        except (CannotRemakeError, CheckpointError) as why:
            if len(refs) > 1:
                for ref in refs:
                    await self._need(mending, [ref])
            else:
                mending.failed[refs[0].name] = str(why)
