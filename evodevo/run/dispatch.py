"""Where an assignment runs: calls functions on Dask workers, one at a time each, and notices loss.

Choices about Dask, each on purpose: a call is restricted to the one worker that is free for it, so nothing
is stolen and a lost worker takes down no call but its own; keys are unique, so equal calls are two calls; a
function goes by its import path and arguments are small records, so no weights cross the wire. Dask's own
retries are not used: whether to try again is the controller's decision, after it is in the journal.
"""

import asyncio
import importlib
import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from distributed import Client, Future, Scheduler

from evodevo.errors import UsageError
from evodevo.run.places import Places
from evodevo.versions import differences, own_versions

logger = logging.getLogger("evodevo.dispatch")

KILL_AFTER_S = 10.0
"""A worker that overran its time by so much does not heed it and is restarted."""


class AttemptLost(Exception):
    """A call came to no result (lost worker, failing disk, time limit); it may do better next time."""


@dataclass(frozen=True)
class Answer:
    """What a call returned, on which worker, and when it was placed there (seconds since the epoch)."""

    result: Any
    worker: str
    started_at: float


class Caller(Protocol):
    """What a controller needs of a dispatcher."""

    async def call(
        self,
        run: str,
        function: str,
        *arguments: Any,
        prefer: str | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """Call `module:function` on the next free worker, `prefer` if that is one.

        Raises `AttemptLost`, or the `UsageError` that the function raised.
        """
        ...


class Dispatcher:
    """Calls on the workers of one scheduler, for all its runs. Lives in the scheduler's event loop."""

    def __init__(self, scheduler: Scheduler, client: Client) -> None:
        self._scheduler = scheduler
        self._client = client
        self._places = Places()
        self._lost: dict[str, asyncio.Event] = {}
        self._background: set[asyncio.Task[None]] = set()
        self.problems: dict[str, str] = {}
        """Why each of the workers that are connected but get no work does not."""
        for worker in scheduler.workers:
            self.worker_joined(worker)

    @property
    def workers(self) -> int:
        """How many workers can be given work."""
        return len(self._places.workers)

    def worker_joined(self, worker: str) -> None:
        problem = _why_unusable(self._scheduler.workers[worker].extra.get("evodevo"))
        if problem:
            self.problems[worker] = problem
            logger.warning("worker %s gets no work: %s", worker, problem)
            return
        self._lost[worker] = asyncio.Event()
        self._places.join(worker)

    def worker_left(self, worker: str) -> None:
        self.problems.pop(worker, None)
        self._places.leave(worker)
        if lost := self._lost.pop(worker, None):
            lost.set()

    async def call(
        self,
        run: str,
        function: str,
        *arguments: Any,
        prefer: str | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        worker = await self._places.take(run, prefer)
        started_at = round(time.time(), 3)
        lost = self._lost.get(worker)
        if lost is None:
            raise AttemptLost(f"worker {worker} was lost before it was given the call")
        future = self._client.submit(
            call_by_path,
            function,
            arguments,
            key=f"{run}-{uuid.uuid4().hex}",
            workers=[worker],
            allow_other_workers=False,
            pure=False,
        )
        result = asyncio.create_task(_result_of(future))
        try:
            await _first(result, lost, timeout_s and timeout_s + KILL_AFTER_S)
        except asyncio.CancelledError:
            result.cancel()
            self._abandon(worker, lost, future)
            raise
        if not result.done():
            result.cancel()
            if lost.is_set():
                future.release()
                raise AttemptLost(f"worker {worker} was lost")
            self._abandon(worker, lost, future)
            raise AttemptLost(
                f"worker {worker} overran limits.epoch_timeout_s = {timeout_s:g} and was restarted"
            )
        future.release()
        self._give_back(worker, lost)
        if result.cancelled():
            raise AttemptLost(f"the call on {worker} was cancelled in the scheduler")
        try:
            return Answer(result.result(), worker, started_at)
        except UsageError:
            raise
        except Exception as why:
            raise AttemptLost(f"{type(why).__name__} on {worker}: {why}") from why

    async def close(self) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    def _give_back(self, worker: str, lost: asyncio.Event) -> None:
        """Free the worker, unless it is gone and another one came with its address."""
        if self._lost.get(worker) is lost:
            self._places.give_back(worker)

    def _abandon(self, worker: str, lost: asyncio.Event, future: Future) -> None:
        """Nobody waits for this call any more, but its thread cannot be stopped: restart the process.

        Its place stays taken until then. A worker without a nanny has to finish the call first.
        """
        task = asyncio.create_task(self._free_by_force(worker, lost, future))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _free_by_force(self, worker: str, lost: asyncio.Event, future: Future) -> None:
        state = self._scheduler.workers.get(worker)
        if state is not None and state.nanny:
            await self._scheduler.restart_workers(
                [worker], wait_for_workers=False, on_error="return", stimulus_id=f"evodevo-{uuid.uuid4().hex}"
            )
            future.release()
            return
        await future.exception()
        future.release()
        self._give_back(worker, lost)


def call_by_path(path: str, arguments: tuple[Any, ...]) -> Any:
    """On the worker: import `module:function` and call it."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)(*arguments)


async def _result_of(future: Future) -> Any:
    return await future


async def _first(result: asyncio.Task[Any], lost: asyncio.Event, timeout_s: float | None) -> None:
    """Wait until the call has ended, its worker is lost, or `timeout_s` is over."""
    loss = asyncio.create_task(lost.wait())
    try:
        await asyncio.wait([result, loss], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loss.cancel()


def _why_unusable(about: Mapping[str, Any] | None) -> str | None:
    if about is None:
        return "it was started without --preload workers.preload"
    if about["problem"]:
        return str(about["problem"])
    differing = differences(own_versions(), about["versions"])
    return f"its versions differ from the scheduler's: {', '.join(differing)}" if differing else None
