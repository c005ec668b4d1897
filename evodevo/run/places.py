"""Which free worker serves which waiting call. One call a worker; what waits, waits here.

Pure bookkeeping on an event loop: it knows nothing of Dask.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(eq=False)
class _Waiting:
    run: str
    prefer: str | None
    suits: Callable[[str], bool]
    worker: asyncio.Future[str]


class Places:
    """The workers of a cluster, shared fairly by runs.

    The next free worker goes to the run that has the fewest and has a call that it suits; of those calls, to
    the first whose preferred worker is free, or else to the first. What suits may cease to, never begin to.
    """

    def __init__(self) -> None:
        self.free: list[str] = []
        """The workers that nobody has, the one that was free first in front."""
        self._taken: dict[str, str] = {}
        self._waiting: list[_Waiting] = []

    @property
    def workers(self) -> set[str]:
        return {*self.free, *self._taken}

    def busy(self, run: str) -> int:
        """How many workers the run has now."""
        return sum(owner == run for owner in self._taken.values())

    def join(self, worker: str) -> None:
        if worker not in self.workers:
            self.free.append(worker)
            self._match()

    def leave(self, worker: str) -> None:
        """The worker is gone, whatever it was doing."""
        self._taken.pop(worker, None)
        if worker in self.free:
            self.free.remove(worker)

    async def take(
        self, run: str, prefer: str | None = None, suits: Callable[[str], bool] = lambda worker: True
    ) -> str:
        """Wait for a worker that suits; give it back when done with it."""
        call = _Waiting(run, prefer, suits, asyncio.get_running_loop().create_future())
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
            self.free.append(worker)
            self._match()

    def _match(self) -> None:
        while self.free and (found := self._next()) is not None:
            call, worker = found
            self._waiting.remove(call)
            self.free.remove(worker)
            self._taken[worker] = call.run
            call.worker.set_result(worker)

    def _next(self) -> tuple[_Waiting, str] | None:
        """The next call to be served, and by which free worker."""
        busy = Counter(self._taken.values())
        calls = [call for call in self._waiting if not call.worker.done()]
        for run in sorted({call.run: None for call in calls}, key=lambda run: busy[run]):
            pairs = [(call, self._best_for(call)) for call in calls if call.run == run]
            suited = [(call, worker) for call, worker in pairs if worker is not None]
            if suited:
                return next(((call, worker) for call, worker in suited if worker == call.prefer), suited[0])
        return None

    def _best_for(self, call: _Waiting) -> str | None:
        suiting = [worker for worker in self.free if call.suits(worker)]
        return call.prefer if call.prefer in suiting else next(iter(suiting), None)
