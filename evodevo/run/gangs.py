"""The workers of a gang beside its first, which is at work on the unit: how they are told, watched and freed.

One attempt has several workers. The first reports, and its task is the attempt's; the others are given theirs
when the first has said where it listens. A worker is free again when its own task has ended, which for the
others is before the first has evaluated the member. If one is lost or fails, the attempt is lost: the others
notice by themselves as a rule, and what has not ended `GRACE_S` later is restarted.
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
        self.why: Undone | None = None
        self.unfit = False
        """One of them must take no part in the run, and nothing was lost."""
        self._hands = hands
        self._workers = workers
        self._waiting = dict(workers)
        """Those that were not given their task yet."""
        self._at_work: dict[str, tuple[Presence, Future]] = {}
        self._watches: list[asyncio.Task[None]] = []

    @property
    def leaving(self) -> str | None:
        """Why one of them leaves, if one does."""
        return next((present.leaving for _, present in self._workers if present.leaving), None)

    def begin(self, host: str, port: int) -> None:
        """The first worker listens at that address; give the others their tasks."""
        for rank, (worker, present) in enumerate(self._workers, start=1):
            if self._waiting.pop(worker, None):
                self._at_work[worker] = present, self._hands.submit(worker, rank, host, port)
                self._watches.append(asyncio.create_task(self._watch(worker, *self._at_work[worker])))

    async def settle(self) -> None:
        """Wait until all have ended, but not for long; then end them."""
        self._free_waiting()
        if self._watches:
            await asyncio.wait(self._watches, timeout=GRACE_S)
        self.end()

    def end(self) -> None:
        """Restart the workers that are still at work; the others are free."""
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
        """Follow a worker's task to its end, whatever that is."""
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
