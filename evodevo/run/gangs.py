"""The workers of a gang beside its first, which is at work on the unit: how they are told, watched and freed.

One attempt has several workers. The first reports, and its task is the attempt's; the others are given theirs
when the first has said where it listens. A worker is free again when its own task has ended, which for the
others is before the first has evaluated the member. If one is lost or fails, the attempt is lost: the others
notice by themselves as a rule, and what has not ended `GRACE_S` later is restarted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from evodevo.errors import Unfit
from evodevo.run.roster import Presence
from evodevo.run.waiting import end_of, first_of

if TYPE_CHECKING:
    from distributed import Future

GRACE_S = 5.0
"""For the other workers of a gang that has broken or ended, to end by themselves."""


class Hands(Protocol):
    """What a gang needs of its dispatcher."""

    def submit(self, worker: str, rank: int, host: str, port: int) -> Future:
        """Give a worker its task."""
        ...

    def free(self, worker: str, present: Presence) -> None: ...

    def refuse(self, worker: str, present: Presence, why: Unfit) -> None: ...

    def abandon(self, worker: str, present: Presence, future: Future) -> None: ...


class Others:
    """The workers of ranks 1 and up of one attempt."""

    def __init__(self, workers: Sequence[tuple[str, Presence]], hands: Hands) -> None:
        self.broken = asyncio.Event()
        """One of them was lost, or failed."""
        self.why = ""
        self.unfit = False
        """One of them must take no part in the run, and nothing was lost."""
        self._workers = workers
        self._hands = hands
        self._waiting = dict(workers)
        """Those that were not given their task yet."""
        self._watches: list[asyncio.Task[None]] = []
        self._lost = [asyncio.create_task(self._watch_waiting(*one)) for one in workers]

    @property
    def leaving(self) -> str | None:
        """Why one of them leaves, if one does."""
        return next((present.leaving for _, present in self._workers if present.leaving), None)

    def begin(self, host: str, port: int) -> None:
        """The first worker listens at that address; give the others their tasks, unless that is over."""
        if self.broken.is_set():
            return
        for rank, (worker, present) in enumerate(self._workers, start=1):
            if self._waiting.pop(worker, None):
                future = self._hands.submit(worker, rank, host, port)
                self._watches.append(asyncio.create_task(self._watch(worker, present, future)))

    async def settle(self) -> None:
        """Wait until all have ended, but not for long; then end them."""
        for watch in self._lost:
            watch.cancel()
        for worker, present in self._waiting.items():
            self._hands.free(worker, present)
        self._waiting.clear()
        if self._watches:
            await asyncio.wait(self._watches, timeout=GRACE_S)
        self.end()

    def end(self) -> None:
        """End what is still at work; whoever has no task yet is free."""
        for watch in (*self._lost, *self._watches):
            watch.cancel()
        for worker, present in self._waiting.items():
            self._hands.free(worker, present)
        self._waiting.clear()

    async def _watch_waiting(self, worker: str, present: Presence) -> None:
        await present.lost.wait()
        if self._waiting.pop(worker, None):
            self._break(f"worker {worker} was lost")

    async def _watch(self, worker: str, present: Presence, future: Future) -> None:
        """Follow a worker's task to its end, whatever that is."""
        result = asyncio.create_task(end_of(future, worker))
        try:
            await first_of(result, None, present.lost)
        except asyncio.CancelledError:
            self._hands.abandon(worker, present, future)
            raise
        finally:
            if not result.done():
                result.cancel()
        if not result.done():
            future.release()
            self._break(f"worker {worker} was lost")
            return
        future.release()
        why = result.result()
        if isinstance(why, Unfit):
            self.unfit = True
            self._hands.refuse(worker, present, why)
        self._hands.free(worker, present)
        if why is not None:
            self._break(str(why))

    def _break(self, why: str) -> None:
        self.why = self.why or why
        self.broken.set()
