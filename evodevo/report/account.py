"""Account for the workers' time: parts that add up to wall time times workers.

  train, eval, load, save   as measured by the workers; save is the time that overlapped with nothing else
  wait       a worker was connected but idle, or receiving its instructions
  lost       attempts without a result
  start_up   loading the data, and time without a worker: starting, or restarting after a loss
  elsewhere  the rest: a worker served other runs meanwhile

The account covers the time in which members trained, from the first birth to the last result. In journals of
format 1 workers did not report how long they had waited; for these, wait is the rest.
"""

import bisect
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from evodevo.run.history import History
from evodevo.run.losses import Loss
from evodevo.run.records import Outcome

MEASURED = ("train", "eval", "load", "save")
CLOCKS_S = 0.01
"""Tolerance for a start time reported by a worker that lies before the one in the journal."""
PARTS = (*MEASURED, "wait", "lost", "start_up", "elsewhere")


@dataclass
class Worker:
    """One worker's seconds; it is known to be connected from `first` to `last` (seconds since the epoch)."""

    first: float = float("inf")
    last: float = float("-inf")
    lost_at: float = float("-inf")
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))

    def add(self, started_at: float, outcome: Outcome) -> None:
        spent = dict(outcome.seconds.items())
        self.first = min(self.first, started_at - spent.get("wait", 0.0))
        there_s = sum(spent.values()) - spent.get("wait", 0.0) + outcome.aside_s
        self.last = max(self.last, started_at + there_s)
        for part in (*MEASURED, "wait"):
            self.seconds[part] += spent.get(part, 0.0)
        self.seconds["start_up"] += spent.get("prepare", 0.0)

    def lose(self, loss: Loss) -> None:
        self.first = min(self.first, loss.first)
        self.last = max(self.last, loss.last)
        self.lost_at = max(self.lost_at, loss.last)
        self.seconds["lost"] += loss.seconds

    @property
    def present_s(self) -> float:
        return max(0.0, self.last - self.first)


def worker_accounts(history: History) -> dict[str, Worker]:
    """Return each worker's account, summed over all controllers, as far as it is known yet."""
    found: dict[str, Worker] = {}
    for workers in _by_span(history):
        for name, worker in workers.items():
            total = found.setdefault(name, Worker())
            for part, value in worker.seconds.items():
                total.seconds[part] += value
    return found


def account(history: History) -> dict[str, float]:
    """Return the seconds of all workers by part.

    Their sum is `training_s` times `workers_at_once`, summed over controllers if there were several.
    """
    total = dict.fromkeys(PARTS, 0.0)
    for (first, last), workers in zip(history.spans, _by_span(history), strict=True):
        for worker in workers.values():
            for part, value in worker.seconds.items():
                total[part] += value
        present_s = sum(worker.present_s for worker in workers.values())
        total["start_up"] += max(0.0, (last - first) * _most_present(workers) - present_s)
    return total


def workers_at_once(history: History) -> int:
    """Return the largest number of workers that were connected at the same time."""
    return max(map(_most_present, _by_span(history)), default=0)


def _most_present(workers: Mapping[str, Worker]) -> int:
    changes = []
    for worker in workers.values():
        changes.append((worker.first, 1))
        changes.append((worker.last, -1))
    return max(itertools.accumulate(change for _, change in sorted(changes)), default=0)


def _by_span(history: History) -> list[dict[str, Worker]]:
    """Return the workers' accounts under each controller, because addresses may be reused."""
    begins = [first for first, _ in history.spans]
    found: list[dict[str, Worker]] = [{} for _ in history.spans]
    waits_known = False
    if not found:
        return found
    for name, started_at, outcome in _timed(history):
        waited_since = started_at - outcome.seconds.get("wait", 0.0)
        workers = found[max(0, bisect.bisect_right(begins, waited_since + CLOCKS_S) - 1)]
        workers.setdefault(name, Worker()).add(started_at, outcome)
        waits_known = waits_known or "wait" in outcome.seconds
    for (span, name), loss in history.losses.items():
        found[span].setdefault(name, Worker()).lose(loss)
    for workers in found:
        end = max((worker.last for worker in workers.values()), default=0.0)
        for worker in workers.values():
            if worker.lost_at < worker.last:  # it stayed to the end
                worker.seconds["wait"] += end - worker.last
                worker.last = end
            rest = worker.present_s - sum(worker.seconds.values())
            worker.seconds["elsewhere" if waits_known else "wait"] += max(0.0, rest)
    return found


def _timed(history: History) -> Iterator[tuple[str, float, Outcome]]:
    """Yield the worker, start time and outcome of each leg that has a result."""
    for life in (*history.births, *history.means.values()):
        for leg in life.legs:
            if leg.worker is not None and leg.started_at is not None:
                yield leg.worker, leg.started_at, leg.outcome
        if life.outcome and life.worker is not None and life.started_at is not None:
            yield life.worker, life.started_at, life.outcome
