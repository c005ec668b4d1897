"""Manage the workers of a gang other than its first: give them their tasks, watch them, release them.

One attempt has several workers. The first one reports, and its task stands for the attempt; the others get
their tasks once the first has said at which address it listens. A worker is free again when its own task has
ended, which for the others is before the first has evaluated the member. If one is lost or fails, the attempt
is lost: the others usually notice by themselves, and any that has not ended `GRACE_S` later is restarted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from evodevo.errors import Unfit
from evodevo.run.roster import Presence
from evodevo.run.waiting import Undone, end_of, first_of

if TYPE_CHECKING:
    from distributed import Future

GRACE_S = 5.0
"""Grace period for the other workers of a broken or finished gang to end by themselves."""


class Hands(Protocol):
    """The operations of a dispatcher that a gang needs."""

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
        """Set when one of them was lost or has failed."""
        self.why: Undone | None = None
        self.unfit = False
        """Whether one of them must take no part in the run, in which case nothing was lost."""
        self._hands = hands
        self._workers = workers
        self._waiting = dict(workers)
        """Workers that have not been given their tasks."""
        self._at_work: dict[str, tuple[Presence, Future]] = {}
        self._watches: list[asyncio.Task[None]] = []

    @property
    def leaving(self) -> str | None:
        """Why one of them is leaving; None if none is."""
        return next((present.leaving for _, present in self._workers if present.leaving), None)

    def begin(self, host: str, port: int) -> None:
        """Give the workers their tasks, with the address at which the first one listens."""
        for rank, (worker, present) in enumerate(self._workers, start=1):
            if self._waiting.pop(worker, None):
                self._at_work[worker] = present, self._hands.submit(worker, rank, host, port)
                self._watches.append(asyncio.create_task(self._watch(worker, *self._at_work[worker])))

    async def settle(self) -> None:
        """Wait up to `GRACE_S` for all of them to end, then end the rest."""
        self._free_waiting()
        if self._watches:
            await asyncio.wait(self._watches, timeout=GRACE_S)
        self.end()

    def end(self) -> None:
        """Restart the workers that are still busy, and release the others."""
        self._free_waiting()
        for watch in self._watches:
            watch.cancel()
        while self._at_work:
            worker, (present, future) = self._at_work.popitem()
            self._hands.abandon(worker, present, future)

    def _free_waiting(self) -> None:
        while self._waiting:
            self._hands.free(*self._waiting.popitem())

    async def _watch(self, worker: str, present: Presence, future: Future) -> None:
        """Follow a worker's task until it ends, in whatever way."""
        result = asyncio.create_task(end_of(future, worker))
        try:
            await first_of(result, None, present.lost)
        finally:
            result.cancel()
        del self._at_work[worker]
        future.release()
        why = result.result() if result.done() else Undone(f"worker {worker} was lost", "worker")
        if isinstance(why, Unfit):
            self.unfit = True
            self._hands.refuse(worker, present, why)
        self._hands.free(worker, present)
        if why is not None:
            self.why = self.why or (Undone(str(why), "worker") if isinstance(why, Unfit) else why)
            self.broken.set()
