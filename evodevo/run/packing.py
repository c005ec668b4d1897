"""Group members that are ready to train into units for workers. Pure."""

import math
from collections.abc import Collection

from evodevo.run.life import Life

WORTH_A_TASK_S = 0.1
"""Shorter legs are grouped, because a Dask task costs some milliseconds."""


def unit_size(
    fixed: int | None, ready: int, idle_workers: int, leg_s: float | None, together: int = 1
) -> int:
    """Return how many members a worker gets at once.

    `fixed` is the config's number. None sizes units by the seconds of recent legs (None: not known yet), so
    that a task lasts about `WORTH_A_TASK_S`, has as many members as a worker trains `together`, and leaves
    work for the other idle workers.
    """
    if fixed is not None:
        return max(fixed, together)
    by_time = 1 if leg_s is None else math.ceil(WORTH_A_TASK_S / max(leg_s, 1e-6))
    return max(1, min(max(by_time, together), math.ceil(ready / max(1, idle_workers))))


class Backlog:
    """Members that wait for a worker, in order of arrival.

    A worker is first given those that prefer it, because it has their α's parameters in memory. A member that
    has lost an attempt travels alone, so that whatever ended its worker does not take others with it; it may
    also avoid the worker on which it had trouble.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[Life, str | None]] = {}
        self._by_worker: dict[str, dict[str, Life]] = {}
        self._alone: dict[str, tuple[Life, str | None]] = {}
        """Members that travel alone, each with the worker that it avoids."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._alone)

    @property
    def preferred(self) -> Collection[str]:
        """The workers that members here prefer."""
        return self._by_worker.keys()

    @property
    def avoided(self) -> str | None:
        """The worker that all members here avoid, if there is one."""
        workers = set() if self._waiting else {avoid for _, avoid in self._alone.values()}
        return next(iter(workers)) if len(workers) == 1 else None

    def is_avoided(self, worker: str) -> bool:
        """Return whether any member here avoids a worker."""
        return any(avoid == worker for _, avoid in self._alone.values())

    def add(self, life: Life, prefer: str | None, avoid: str | None = None) -> None:
        if life.suspect:
            self._alone[life.id] = life, avoid
            return
        self._waiting[life.id] = (life, prefer)
        if prefer is not None:
            self._by_worker.setdefault(prefer, {})[life.id] = life

    def take(self, worker: str, most: int, any_worker: bool = True) -> list[Life]:
        """Remove and return up to `most` members; unless `any_worker`, skip those that avoid the worker."""
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
