"""Start members whose worker is far slower than others a second time, on an idle worker. Pure.

Both attempts start with the same bytes and the same seeds, so history does not depend on which result arrives
first; that one counts, and the other is dropped. The slow worker finishes its leg, unless the run ends before
that: then it is restarted.
"""

import statistics
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from evodevo.run.crew import AttemptsLost, Message, NotBegun, Reported
from evodevo.run.records import Assignment

LOOK_EVERY_S = 2.0
"""How often to check for overdue members."""
RECENT = 64
"""The typical duration of an epoch is the median over this many legs."""
FEWEST = 3
"""Until this many legs are done, none counts as slow."""
SHORTEST_S = 5.0
"""A worker that reported within this time is not slow."""


@dataclass
class _AtWork:
    """What a worker was given and has not reported."""

    since: float
    """When it was given work, or last reported."""
    epochs: dict[str, int] = field(default_factory=dict)
    """Epochs of the current leg, by member."""
    void: set[str] = field(default_factory=set)
    """Members that another worker finished first."""


class Stragglers:
    """Tracks which worker trains which members, and which take `factor` times the typical duration or more.

    If `factor` is None, none counts as slow. `together`: how many members a worker trains at once. All times
    are of one clock, in seconds.
    """

    def __init__(self, factor: float | None, together: int = 1) -> None:
        self._factor = factor
        self._together = together
        self._workers: dict[str, _AtWork] = {}
        self._epochs_s: deque[float] = deque(maxlen=RECENT)
        self._count: Counter[str] = Counter()
        """How many workers train each member."""

    def sent(self, worker: str, assignments: Iterable[Assignment], now: float) -> None:
        """Record that a worker was given assignments."""
        at = self._workers[worker] = _AtWork(now, {one.member: one.epochs for one in assignments})
        self._count.update(at.epochs.keys())

    def filter(self, message: Message, now: float) -> Message | None:
        """Return what counts of a message, without members that another worker finished first.

        Returns None if nothing counts.
        """
        match message:
            case Reported(assignment=one, worker=worker):
                if not self._ended(worker, [one], now):
                    return None
                self._epochs_s.append(message.outcome.there_s / one.epochs)
                self._void_elsewhere(one.member)
            case AttemptsLost(assignments=all_of_it, worker=worker):
                kept = self._ended(worker, all_of_it, now)
                for one in kept:
                    self._void_elsewhere(one.member)
                return replace(message, assignments=kept) if kept else None
            case NotBegun(assignments=all_of_it, worker=worker) if worker is not None:
                kept = [one for one in self._ended(worker, all_of_it, now) if not self._count[one.member]]
                return replace(message, assignments=kept) if kept else None
        return message

    def overdue(self, now: float) -> list[tuple[str, str]]:
        """Return the members that only one worker trains, for too long, each with that worker."""
        if self._factor is None or len(self._epochs_s) < FEWEST:
            return []
        typical_s = statistics.median(self._epochs_s)
        found = []
        for worker, at in self._workers.items():
            epochs = sum(list(at.epochs.values())[: self._together])
            if now - at.since >= max(SHORTEST_S, self._factor * typical_s * epochs):
                found += [(member, worker) for member in at.epochs if self._count[member] == 1]
        return found

    def is_alone_at(self, member: str, worker: str) -> bool:
        """Return whether that worker, and no other, trains a member."""
        at = self._workers.get(worker)
        return at is not None and member in at.epochs and self._count[member] == 1

    def _void_elsewhere(self, member: str) -> None:
        if not self._count[member]:
            del self._count[member]
            return
        for at in self._workers.values():
            if self._forget(at, member):
                at.void.add(member)

    def _forget(self, at: _AtWork, member: str) -> bool:
        """Stop tracking a member on a worker; return whether it was tracked."""
        if at.epochs.pop(member, None) is None:
            return False
        self._count[member] -= 1
        return True

    def _ended(self, worker: str, assignments: Sequence[Assignment], now: float) -> list[Assignment]:
        """Record that assignments of a worker have ended; return those that count."""
        at = self._workers.get(worker)
        if at is None:
            return list(assignments)
        at.since = now
        kept = [one for one in assignments if one.member not in at.void]
        for one in assignments:
            self._forget(at, one.member)
            at.void.discard(one.member)
        if not at.epochs and not at.void:
            del self._workers[worker]
        return kept
