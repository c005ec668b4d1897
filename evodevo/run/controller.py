"""Carry out one run: open its journal, run its loop and write its end.

Everything the controller knows is in its `History`, and the history changes only by records that are already
on disk. A controller that is killed at any point is therefore replaced by a new one that reads the journal.
"""

import asyncio
import contextlib
import logging
import traceback
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from evodevo.config_phases import next_of
from evodevo.errors import RunFailed, UsageError
from evodevo.evolution.fitness import best_first
from evodevo.run.checkpoints import CheckpointError, CheckpointStore
from evodevo.run.codec import encode
from evodevo.run.crew import ANYTHING, AttemptLost, Caller, Needs
from evodevo.run.events import End, Ended, Event, Extended, Result, Soup, TakenOver
from evodevo.run.follower import Follower, Write
from evodevo.run.history import History, load_history
from evodevo.run.journal import Journal, JournalError, JournalInUse, Removed, Superseded
from evodevo.run.keeper import Keeper
from evodevo.run.life import Life
from evodevo.run.loop import Loop
from evodevo.run.mending import SIGN, Mending
from evodevo.run.pacing import Pacing, pacing_of
from evodevo.run.pauses import pause_s
from evodevo.run.recipes import CannotRemakeError
from evodevo.run.records import CheckpointRef, Job
from evodevo.run.remaking import mend, remake_soup
from evodevo.run.setup import EXAMINE, EXHIBITS, JOURNAL, RENDER, SOUP, job_of, write_config

logger = logging.getLogger("evodevo.controller")

PRODUCTS_S = 60.0
"""Maximum wait for the products of a run that was cancelled or ended by a fault; a caller waits for them."""
TRACE_CHARACTERS = 4000
"""Length of the traceback that is journaled if evodevo itself fails."""


class Controller:
    """Carries out the run in `directory`, from wherever its journal ends.

    `about` describes this controller in the journal's `controller` record. With `retry`, failed members
    without descendants are tried again. `generations` is a new number of generations, already checked by
    `evodevo.run.extension`. `follow` writes files that are updated after every member, for runs in which each
    member trains from scratch.
    """

    def __init__(
        self,
        directory: Path,
        caller: Caller,
        about: Mapping[str, Any],
        retry: bool = False,
        generations: int | None = None,
        follow: Write | None = None,
    ) -> None:
        self.directory = directory
        self.history = History()
        self.warnings: list[str] = []
        """Problems that did not stop the run."""
        self.trouble: str | None = None
        """Why the run waits for something other than workers; None if it does not."""
        self.cancelled = False
        """Whether a user has cancelled the run."""
        self._caller = caller
        self._about = about
        self._retry = retry
        self._generations = generations
        self._follow = follow
        self._edition = uuid.uuid4().hex
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="evodevo-disk")
        self._journal: Journal | None = None
        self._job: Job
        """What all assignments have in common; set when the journal has been read."""
        self._mending: Mending | None = None
        self._follower: Follower | None = None

    async def carry_out(self) -> None:
        """Run to the end; if cancelled because the scheduler closes, the run can be resumed.

        Raises `JournalInUse`, `JournalError`, `Superseded` or `Removed`. Any other exception is a fault of
        evodevo or of the machine and, if possible, is journaled as the run's end.
        """
        opening = self._disk.submit(Journal, self.directory / JOURNAL, beats=True)
        try:
            await asyncio.shield(asyncio.wrap_future(opening))
            await self._continue_from(opening.result())
            config = self.history.config
            if self.history.end == "done" and self._generations is None and next_of(config) is not None:
                return  # only the next phase is left to start
            store = await self._on_disk(CheckpointStore, self._job.checkpoints_url)
            try:
                status, reason = await self._evolve(store)
            except RunFailed as why:
                status, reason = "failed", str(why)
            test, soup = await self._test_best(status), await self._make_soup(status)
            await self.write(Ended(status, reason, test, soup))
            await self._render()
        except asyncio.CancelledError:
            if not self.cancelled:
                raise
            await self._end_cancelled(opening)
        except (JournalError, JournalInUse, Removed, Superseded):
            raise
        except BaseException as why:
            await self._end_failed(why)
            if isinstance(why, Exception):
                raise
            raise RuntimeError(f"{type(why).__name__}: {why}") from why  # `why` would end the scheduler
        finally:
            await self._on_disk(close, opening)
            self._disk.shutdown(wait=False)

    @property
    def needs(self) -> Needs:
        """Requirements on a worker that trains a member of this run, as far as they are known."""
        if not self.history.run_id:
            return ANYTHING
        gpu = self.history.config.cluster.device == "gpu"
        return Needs(gpu, self.history.longest_leg_s(), self.history.config.run.name)

    def wanted_workers(self) -> int:
        """Return how many workers the run could use; between two generations, as many as within one."""
        if not self.history.run_id:
            return 1
        search = self.history.config.search
        left = search.generations * search.population - len(self.history.over)
        at_once = min(left, search.population) if self.history.in_generations else left
        return max(1, -(-at_once // self.history.config.cluster.at_once)) * self.workers_per_member

    @property
    def workers_per_member(self) -> int:
        """Number of workers that train each member together; 1 until the journal has been read."""
        return self.history.config.cluster.workers_per_member if self.history.run_id else 1

    def mark_cancelled(self) -> bool:
        """Record that a user cancels the run; call this before cancelling its task.

        Return False if that was recorded before: cancelling a second time would interrupt the first.
        """
        first, self.cancelled = not self.cancelled, True
        return first

    async def write(self, *events: Event) -> None:
        """Write events to disk, then apply them to the history; wait while the disk fails."""
        assert self._journal is not None
        if events:
            records = await self._repeat_on_disk(self._journal.append, [encode(event) for event in events])
            self._apply(events, records)

    async def _continue_from(self, journal: Journal) -> None:
        """Restore the state at the end of a journal, on the disk thread, so that nothing else waits."""
        if not journal.records:
            raise JournalError(f"{journal.path} is empty: the run was never begun")
        self._journal = journal
        self.history = await self._on_disk(History.of, journal.records)
        journal.records.clear()
        self._job = self._current_job()

    def _current_job(self) -> Job:
        """Return what all assignments have in common under the current config."""
        history = self.history
        return job_of(history.config, self.directory, history.run_id, history.begun.data, self._edition)

    async def _evolve(self, store: CheckpointStore) -> tuple[End, str | None]:
        """Take over the run and continue it. Raises `RunFailed`."""
        taken_over = TakenOver(self._about, await self._members_to_retry() if self._retry else ())
        await self.write(taken_over, *([Extended(self._generations)] if self._generations else []))
        if self.history.extended_to is not None:
            self._job = self._current_job()  # workers are told how long the whole run is
            await self._repeat_on_disk(write_config, self.directory, self.history.config)
        pacing = await self._pacing()
        keeper = Keeper(store, self.history, pacing, self._on_disk)
        accepts = self.history.config.checkpoints.on_mismatch == "accept"
        mending = self._mending = Mending(self.history, self.directory, store, accepts, keeper.needed)
        keeper.held = mending.held
        loop = Loop(
            self.history, self._job, pacing, keeper, mending, self._caller, self.write, lambda: self.needs
        )
        if self._follow and not self.history.inherits:
            self._follower = Follower(self.directory, self._follow)
            self._follower.note()
        try:
            return await loop.run()
        finally:
            loop.dismiss()
            if self._follower:
                await self._follower.close()

    async def _pacing(self) -> Pacing:
        """Return the run's pacing. Raises `RunFailed` if the strategy cannot be created."""
        try:
            strategy = self.history.config.strategy()
        except Exception as why:
            raise RunFailed(f"search.strategy: {why}") from why
        pacing: Pacing = await self._on_disk(pacing_of, strategy, self.history)
        return pacing

    async def _members_to_retry(self) -> list[str]:
        """Return the failed members that can be tried again because no birth depends on them."""
        pacing = await self._pacing()
        return [life.id for life in self.history.over if life.status == "failed" and pacing.open(life)]

    async def _end_cancelled(self, opening: Future[Journal]) -> None:
        """End the run as cancelled after pending writes; a run that has already ended stays as it is."""
        journal = await self._on_disk(opening.result)
        if self._journal is None:
            await self._continue_from(journal)
        self.history = await self._on_disk(load_history, journal.path)
        if self.history.end is None:
            await self._write_once(Ended("cancelled", "cancelled by a user"))
            await self._render_soon()

    async def _end_failed(self, why: BaseException) -> None:
        """Journal that an unforeseen error has ended the run, if that can be written."""
        if self._journal is None or self.history.end is not None:
            return
        trace = "".join(traceback.format_exception(why))[-TRACE_CHARACTERS:]
        reason = (
            "evodevo or its machine failed, not the workload; "
            f"try again with `evodevo resume {self.directory.name}`\n{trace}"
        )
        with contextlib.suppress(Exception):  # the same fault may prevent the write
            await self._write_once(Ended("failed", reason))
            await self._render_soon()

    async def _test_best(self, status: End) -> dict[str, float]:
        """Return the best member's metrics on the test split, unused by selection, and write its exhibits."""
        best = self.history.best
        if status != "done" or best is None or best.outcome is None or best.outcome.checkpoint is None:
            return {}
        hyperparameters = self.history.config.space().express(best.birth.genome)
        shown = hyperparameters, str(self.directory / EXHIBITS)
        metrics: dict[str, float] = (
            await self._call_at_end(EXAMINE, lambda: (*_checkpoints([best]), *shown), [best]) or {}
        )
        return metrics

    async def _make_soup(self, status: End) -> Soup | None:
        """Return the soup of the last generation, with test metrics; None if the config asks for no soup."""
        config, generations = self.history.config, self.history.generations
        lives = [life for life in generations[-1] if life.fom is not None] if generations else []
        if status != "done" or not config.search.soup or not lives:
            return None
        lives = [lives[at] for at in best_first([life.fom for life in lives], config.objective.mode)]
        mode, hyperparameters = config.objective.mode, config.space().express(lives[0].birth.genome)
        made = await self._call_at_end(SOUP, lambda: (mode, _checkpoints(lives), hyperparameters), lives)
        if made is None or made["fom"] is None:
            return None
        checkpoint = CheckpointRef(**made["checkpoint"])
        test = await self._call_at_end(EXAMINE, lambda: (checkpoint, hyperparameters, ""))
        return Soup([lives[at].id for at in made["of"]], made["fom"], made["metrics"], test or {}, checkpoint)

    async def _call_at_end(
        self, function: str, arguments: Callable[[], Sequence[Any]], of: Sequence[Life] = ()
    ) -> Any:
        """Call a function on a worker after the last generation; return None if it keeps failing.

        As with members, lost workers and failing disks are not counted as failures. `of`: the members whose
        checkpoints the function reads; damaged ones are remade.
        """
        failures, losses, needs = 0, 0, self.needs
        try:
            while failures < self.history.config.limits.max_attempts:
                try:
                    return await self._caller.call(
                        self._job.run, function, self._job, *arguments(), needs=needs
                    )
                except (AttemptLost, UsageError) as why:
                    logger.warning("run %s: %s: %s", self._job.run, function, why)
                    if SIGN in str(why):
                        if await self._remake(_checkpoints(of)):
                            continue
                        if self._mending and self._mending.failed:
                            return None
                    if isinstance(why, AttemptLost):
                        needs = replace(needs, avoid=why.worker)
                    if isinstance(why, AttemptLost) and why.is_infrastructure:
                        losses += 1
                        await self._wait(str(why), losses)
                    else:
                        failures += 1
        finally:
            self.trouble = None
        return None

    async def _remake(self, refs: Sequence[CheckpointRef]) -> bool:
        """Remake the damaged ones among `refs`; return whether any checkpoint was restored."""
        mending = self._mending
        if mending is None:
            return False
        before = mending.account
        try:
            await mending.need(refs)
            await self.write(*await mend(mending, self._caller, self._job, self.needs))
        except (CheckpointError, CannotRemakeError) as why:
            logger.warning("run %s: %s", self._job.run, why)
        return mending.account != before

    async def _render(self) -> None:
        """Write tables, schedule, best checkpoint and plots; `evodevo report` can write them again."""
        problem: Exception | None = None
        needs = ANYTHING
        for _ in range(self.history.config.limits.max_attempts):
            try:
                paths = await self._caller.call(self._job.run, RENDER, str(self.directory), needs=needs)
                if await self._remake_products({Path(path).stem for path in paths}):
                    await self._caller.call(self._job.run, RENDER, str(self.directory), needs=needs)
                break
            except (AttemptLost, UsageError) as why:
                logger.warning("run %s: no report: %s", self._job.run, why)
                problem = why
                needs = replace(needs, avoid=getattr(why, "worker", None))
        else:
            self.warnings.append(f"no report was written; try `evodevo report {self._job.run}`: {problem}")
        if self._mending and (account := self._mending.account):
            self.warnings.append(f"checkpoints were damaged: {account}")
        self.warnings += self._mending.problems() if self._mending and self.history.end == "done" else []

    async def _render_soon(self) -> None:
        """Write the products of a run that was stopped, if a worker is free within `PRODUCTS_S`."""
        try:
            await asyncio.wait_for(self._render(), PRODUCTS_S)
        except TimeoutError:
            self.warnings.append(
                f"no report was written, as no worker was free; try `evodevo report {self._job.run}`"
            )

    async def _remake_products(self, written: Collection[str]) -> bool:
        """Remake the checkpoints of products that are missing; return whether any can be written now."""
        history, mended = self.history, False
        if history.best and "best" not in written:
            mended = await self._remake(_checkpoints([history.best]))
        if history.soup and "soup" not in written and self._mending:
            made = remake_soup(self._mending, self._caller, self._job, self.needs)
            mended = await made or mended
        return mended

    async def _write_once(self, event: Event) -> None:
        """Write an event to disk and apply it. Raises `OSError`."""
        assert self._journal is not None
        self._apply([event], await self._on_disk(self._journal.append, [encode(event)]))

    def _apply(self, events: Sequence[Event], records: Sequence[Mapping[str, Any]]) -> None:
        """Apply events to the history, once their records are on disk."""
        for event, record in zip(events, records, strict=True):
            self.history.take(event, record["time"])
        if self._follower and any(isinstance(event, Result) for event in events):
            self._follower.note()

    async def _repeat_on_disk(self, function: Any, *arguments: Any) -> Any:
        """Run a file operation with `_on_disk`, and repeat it, with pauses, until the disk does not fail."""
        failures = 0
        try:
            while True:
                try:
                    return await self._on_disk(function, *arguments)
                except OSError as why:
                    failures += 1
                    logger.warning("run %s waits: %s", self.directory.name, why)
                    await self._wait(f"{why.strerror or why}: {self.directory}", failures)
        finally:
            self.trouble = None

    async def _wait(self, why: str, failures: int) -> None:
        """Report why the run waits, and pause for a time that grows with the failures in a row."""
        self.trouble = why
        await asyncio.sleep(pause_s(failures))

    async def _on_disk(self, function: Any, *arguments: Any) -> Any:
        """Run a file operation on the disk thread, one at a time; once started, it is not interrupted."""
        return await asyncio.shield(
            asyncio.get_running_loop().run_in_executor(self._disk, function, *arguments)
        )


def close(opening: Future[Journal]) -> None:
    """Close the journal if it was opened; call it on the same thread, after the opening."""
    if opening.exception() is None:
        opening.result().close()


def _checkpoints(lives: Sequence[Life]) -> list[CheckpointRef]:
    """Return the checkpoints of the members that have one."""
    return [life.outcome.checkpoint for life in lives if life.outcome and life.outcome.checkpoint]
