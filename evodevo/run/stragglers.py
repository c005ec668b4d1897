"""Members whose worker is far slower than others are also started on an idle worker. Pure.

Both attempts begin with the same bytes and the same seeds, so it does not matter for the history which result
comes first; that one counts, and what comes of the other is dropped. The slow worker finishes what it is at,
unless the run ends before that: then it is restarted.
"""

import statistics
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from evodevo.run.crew import AttemptsLost, Message, NotBegun, Reported
from evodevo.run.records import Assignment

LOOK_EVERY_S = 2.0
"""How often somebody should ask who is overdue."""
RECENT = 64
"""The typical length of an epoch is the median over so many legs."""
FEWEST = 3
"""Until so many legs are done, nobody knows what is slow."""
SHORTEST_S = 5.0
"""A worker that was heard of within this time is not slow."""


@dataclass
class _AtWork:
    """What a worker was given and has not reported."""

    since: float
    """When it was given that, or last reported something."""
    epochs: dict[str, int] = field(default_factory=dict)
    """Epochs of the leg at hand, by member."""
    void: set[str] = field(default_factory=set)
    """Members that another worker was faster with."""


class Stragglers:
    """Who is at what, and who takes `factor` times as long as is typical, or more; None: nobody does.

    `together`: how many members a worker trains at once. All times are of one clock, in seconds.
    """

    def __init__(self, factor: float | None, together: int = 1) -> None:
        self._factor = factor
        self._together = together
        self._workers: dict[str, _AtWork] = {}
        self._epochs_s: deque[float] = deque(maxlen=RECENT)
        self._count: Counter[str] = Counter()
        """How many workers are at each member."""

    def sent(self, worker: str, assignments: Iterable[Assignment], now: float) -> None:
        """A worker was given these."""
        at = self._workers[worker] = _AtWork(now, {one.member: one.epochs for one in assignments})
        self._count.update(at.epochs.keys())

    def heed(self, message: Message, now: float) -> Message | None:
        """Return what counts of a message: all of it, or without members that another worker was faster with.

        None if nothing counts.
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
        """Return the members that take too long and that one worker alone is at, each with that worker."""
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
        """Return whether that worker, and no other, is at a member."""
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
        """Return whether a worker was at a member; it is no longer."""
        if at.epochs.pop(member, None) is None:
            return False
        self._count[member] -= 1
        return True

    def _ended(self, worker: str, assignments: Sequence[Assignment], now: float) -> list[Assignment]:
        """Return those of a worker's assignments, which have come to an end, that count."""
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
