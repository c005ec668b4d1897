"""Members that are ready to train: which of them go to a worker together. Pure."""

import math
from collections.abc import Collection

from evodevo.run.life import Life

WORTH_A_TASK_S = 0.1
"""A Dask task costs some milliseconds; with legs shorter than this it gets several."""


def unit_size(
    fixed: int | None, ready: int, idle_workers: int, leg_s: float | None, together: int = 1
) -> int:
    """Return how many members a worker gets at once.

    `fixed` is the config's number; None sizes units so that a task lasts about `WORTH_A_TASK_S`, by the
    seconds of the last legs (None: none is known yet), has as many as a worker trains `together`, and leaves
    no other idle worker without.
    """
    if fixed is not None:
        return max(fixed, together)
    by_time = 1 if leg_s is None else math.ceil(WORTH_A_TASK_S / max(leg_s, 1e-6))
    return max(1, min(max(by_time, together), math.ceil(ready / max(1, idle_workers))))


class Backlog:
    """Members that wait for a worker, first come, first served.

    A worker is first given those that prefer it, as it holds their α's parameters in memory. A member that
    has lost an attempt goes alone: whatever ended its worker shall not take others with it again. It may
    avoid the worker that it had trouble on.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[Life, str | None]] = {}
        self._by_worker: dict[str, dict[str, Life]] = {}
        self._alone: dict[str, tuple[Life, str | None]] = {}
        """Those that go alone, and the worker that each avoids."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._alone)

    @property
    def preferred(self) -> Collection[str]:
        """The workers that somebody here prefers."""
        return self._by_worker.keys()

    @property
    def avoided(self) -> str | None:
        """The worker that all here avoid, if there is one."""
        workers = set() if self._waiting else {avoid for _, avoid in self._alone.values()}
        return next(iter(workers)) if len(workers) == 1 else None

    def is_avoided(self, worker: str) -> bool:
        """Return whether anybody here avoids a worker."""
        return any(avoid == worker for _, avoid in self._alone.values())

    def add(self, life: Life, prefer: str | None, avoid: str | None = None) -> None:
        if life.suspect:
            self._alone[life.id] = life, avoid
            return
        self._waiting[life.id] = (life, prefer)
        if prefer is not None:
            self._by_worker.setdefault(prefer, {})[life.id] = life

    def take(self, worker: str, most: int, any_worker: bool = True) -> list[Life]:
        """Remove and return up to `most` members for a worker; unless `any_worker`, none that avoids it."""
        for member, (life, avoid) in self._alone.items():
            if any_worker or avoid != worker:
                del self._alone[member]
                return [life]
        return [self._pop(worker) for _ in range(min(most, len(self._waiting)))]

    def _pop(self, worker: str) -> Life:
        preferring = self._by_worker.get(worker)
        member = next(iter(preferring or self._waiting))
        life, prefer = self._waiting.pop(member)
        if prefer is not None:
            preferring = self._by_worker[prefer]
            del preferring[member]
            if not preferring:
                del self._by_worker[prefer]
        return life
