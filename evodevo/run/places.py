"""Which free worker serves which waiting call. One call a worker; what waits, waits here.

Pure bookkeeping on an event loop: it knows nothing of Dask.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass


@dataclass(eq=False)
class _Waiting:
    run: str
    prefer: str | None
    worker: asyncio.Future[str]


class Places:
    """The workers of a cluster, shared fairly by runs.

    The next free worker goes to the run that has the fewest; of its waiting calls, to the first whose
    preferred worker is free, or else to the first.
    """

    def __init__(self) -> None:
        self._free: list[str] = []
        self._taken: dict[str, str] = {}
        self._waiting: list[_Waiting] = []

    @property
    def workers(self) -> set[str]:
        return {*self._free, *self._taken}

    def busy(self, run: str) -> int:
        """How many workers the run has now."""
        return sum(owner == run for owner in self._taken.values())

    def join(self, worker: str) -> None:
        if worker not in self.workers:
            self._free.append(worker)
            self._match()

    def leave(self, worker: str) -> None:
        """The worker is gone, whatever it was doing."""
        self._taken.pop(worker, None)
        if worker in self._free:
            self._free.remove(worker)

    async def take(self, run: str, prefer: str | None = None) -> str:
        """Wait for a worker; give it back when done with it."""
        call = _Waiting(run, prefer, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        self._match()
        try:
            return await call.worker
        except asyncio.CancelledError:
            if call in self._waiting:
                self._waiting.remove(call)
            elif not call.worker.cancelled():  # it was given a worker at the moment it was cancelled
                self.give_back(call.worker.result())
            raise

    def give_back(self, worker: str) -> None:
        if self._taken.pop(worker, None) is not None:
            self._free.append(worker)
            self._match()

    def _match(self) -> None:
        while self._free and (call := self._next()) is not None:
            worker = call.prefer if call.prefer in self._free else self._free[0]
            assert worker is not None
            self._waiting.remove(call)
            self._free.remove(worker)
            self._taken[worker] = call.run
            call.worker.set_result(worker)

    def _next(self) -> _Waiting | None:
        waiting = [call for call in self._waiting if not call.worker.done()]
        if not waiting:
            return None
        busy = Counter(self._taken.values())
        run = min(waiting, key=lambda call: busy[call.run]).run
        calls = [call for call in waiting if call.run == run]
        return next((call for call in calls if call.prefer in self._free), calls[0])
