"""Where an assignment runs: calls functions on Dask workers, one at a time each, and notices loss.

Choices about Dask, each on purpose: a call is restricted to the one worker that is free for it, so nothing
is stolen and a lost worker takes down no call but its own; keys are unique, so equal calls are two calls; a
function goes by its import path and arguments are small records, so no weights cross the wire. Dask's own
retries are not used: whether to try again is the controller's decision, after it is in the journal.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from evodevo.errors import UsageError
from evodevo.run.places import Places
from evodevo.versions import differences, own_versions

if TYPE_CHECKING:
    from distributed import Client, Future, Scheduler

logger = logging.getLogger("evodevo.dispatch")

KILL_AFTER_S = 10.0
"""A worker that overran its time by so much does not heed it and is restarted."""
ROOM = 1.25
"""A call begins on a worker whose end is known only if this many times its expected seconds are left."""


class AttemptLost(Exception):
    """A call came to no result (lost worker, failing disk, time limit); it may do better next time."""


class Preempted(AttemptLost):
    """The worker had said that it must go: a preempted job, or its time was over. Nobody is to blame."""


@dataclass(frozen=True)
class Needs:
    """What a worker must have to be given a call: a GPU, and time for `seconds` (None: not known yet)."""

    gpu: bool = False
    seconds: float | None = None


ANYTHING = Needs()


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
        needs: Needs = ANYTHING,
    ) -> Answer:
        """Call `module:function` on the next free worker that has what it needs, `prefer` if that is one.

        Raises `AttemptLost`, or the `UsageError` that the function raised.
        """
        ...

    async def call_when_free(
        self,
        run: str,
        function: str,
        prepare: Callable[[], Awaitable[Sequence[Any]]],
        *,
        prefer: str | None = None,
        timeout_s: float | None = None,
        needs: Needs = ANYTHING,
    ) -> Answer:
        """`call`, with arguments that `prepare` gives as soon as there is a worker and not before.

        What it raises is raised, and nothing is called.
        """
        ...


@dataclass(eq=False)
class _Presence:
    """One worker, as long as it is connected. Another one may come with its address."""

    device: str
    ends_at: float | None
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    leaving: str | None = None


class Dispatcher:
    """Calls on the workers of one scheduler, for all its runs. Lives in the scheduler's event loop."""

    def __init__(self, scheduler: Scheduler, client: Client, clock: Callable[[], float] = time.time) -> None:
        self._scheduler = scheduler
        self._client = client
        self._clock = clock
        self._places = Places()
        self._present: dict[str, _Presence] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._unusable: dict[str, str] = {}
        for worker in scheduler.workers:
            self.worker_joined(worker)

    def workers(self, needs: Needs = ANYTHING) -> list[str]:
        """The workers that can be given such calls, now or when they are free."""
        return [worker for worker in sorted(self._places.workers) if not self._why_unfit(worker, needs)]

    def problems(self, needs: Needs = ANYTHING) -> list[str]:
        """Why each of the workers that are here to stay but are not given such calls is not."""
        unfit = {worker: self._why_unfit(worker, needs) for worker in sorted(self._places.workers)}
        found = {**self._unusable, **unfit}
        return [f"worker {worker}: {why}" for worker, why in found.items() if why]

    def idle(self) -> set[str]:
        """The workers that do nothing now."""
        return set(self._places.free)

    def worker_joined(self, worker: str) -> None:
        about = self._scheduler.workers[worker].extra.get("evodevo")
        problem = _why_unusable(about)
        if about is None or problem:
            self._unusable[worker] = str(problem)
            logger.warning("worker %s gets no work: %s", worker, problem)
            return
        self._present[worker] = _Presence(about["device"], about["ends_at"])
        self._places.join(worker)

    def worker_leaves(self, worker: str, why: str) -> None:
        """A worker says that it must go: it may finish its call, gets no other, and is closed."""
        present = self._present.get(worker)
        if present is None or present.leaving:
            return
        logger.warning("worker %s leaves: %s", worker, why)
        present.leaving = why
        if worker in self._places.free:
            self._scheduler.close_worker(worker)
        self._places.leave(worker)

    def worker_left(self, worker: str) -> None:
        self._unusable.pop(worker, None)
        self._places.leave(worker)
        if present := self._present.pop(worker, None):
            present.lost.set()

    async def call(
        self,
        run: str,
        function: str,
        *arguments: Any,
        prefer: str | None = None,
        timeout_s: float | None = None,
        needs: Needs = ANYTHING,
    ) -> Answer:
        async def given() -> Sequence[Any]:
            return arguments

        return await self.call_when_free(
            run, function, given, prefer=prefer, timeout_s=timeout_s, needs=needs
        )

    async def call_when_free(
        self,
        run: str,
        function: str,
        prepare: Callable[[], Awaitable[Sequence[Any]]],
        *,
        prefer: str | None = None,
        timeout_s: float | None = None,
        needs: Needs = ANYTHING,
    ) -> Answer:
        worker = await self._places.take(run, prefer, lambda worker: not self._why_unfit(worker, needs))
        present = self._present.get(worker)
        if present is None:
            raise AttemptLost(f"worker {worker} was lost before it was given the call")
        try:
            arguments = tuple(await prepare())
        except BaseException:
            self._give_back(worker, present)
            raise
        if present.lost.is_set():
            raise _loss(worker, present)
        started_at = round(self._clock(), 3)
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
            await _first(result, present.lost, timeout_s and timeout_s + KILL_AFTER_S)
        except asyncio.CancelledError:
            result.cancel()
            self._abandon(worker, present, future)
            raise
        if not result.done():
            result.cancel()
            if present.lost.is_set():
                future.release()
                raise _loss(worker, present)
            self._abandon(worker, present, future)
            raise AttemptLost(
                f"worker {worker} overran limits.epoch_timeout_s = {timeout_s:g} and was restarted"
            )
        future.release()
        self._give_back(worker, present)
        if result.cancelled():
            raise _loss(worker, present, f"the call on {worker} was cancelled in the scheduler")
        try:
            return Answer(result.result(), worker, started_at)
        except UsageError:
            raise
        except Exception as why:
            raise _loss(worker, present, f"{type(why).__name__} on {worker}: {why}") from why

    async def close(self) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    def _why_unfit(self, worker: str, needs: Needs) -> str | None:
        present = self._present[worker]
        if needs.gpu and present.device == "cpu":
            return "it sees no GPU, and the config demands one (cluster.device: gpu)"
        if present.ends_at is not None and needs.seconds is not None:
            left = present.ends_at - self._clock()
            if left < ROOM * needs.seconds:
                return f"it ends in {left:.0f} s, too soon for another epoch ({needs.seconds:.0f} s)"
        return None

    def _give_back(self, worker: str, present: _Presence) -> None:
        """Free the worker, unless it is gone and another one came with its address."""
        if self._present.get(worker) is not present:
            return
        if present.leaving:
            self._scheduler.close_worker(worker)
        else:
            self._places.give_back(worker)

    def _abandon(self, worker: str, present: _Presence, future: Future) -> None:
        """Nobody waits for this call any more, but its thread cannot be stopped: restart the process.

        Its place stays taken until then. A worker without a nanny has to finish the call first.
        """
        task = asyncio.create_task(self._free_by_force(worker, present, future))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _free_by_force(self, worker: str, present: _Presence, future: Future) -> None:
        state = self._scheduler.workers.get(worker)
        if state is not None and state.nanny:
            await self._scheduler.restart_workers(
                [worker], wait_for_workers=False, on_error="return", stimulus_id=f"evodevo-{uuid.uuid4().hex}"
            )
            future.release()
            return
        await future.exception()
        future.release()
        self._give_back(worker, present)


def call_by_path(path: str, arguments: tuple[Any, ...]) -> Any:
    """On the worker: import `module:function` and call it."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)(*arguments)


def _loss(worker: str, present: _Presence, why: str | None = None) -> AttemptLost:
    """What came of an attempt whose worker was lost, or failed it on its way out."""
    why = why or f"worker {worker} was lost"
    return Preempted(f"{why} ({present.leaving})") if present.leaving else AttemptLost(why)


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
