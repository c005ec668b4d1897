"""A work unit on a worker: its members one after the other, each reported as soon as it is durable.

While a member's checkpoint is on its way to the store, the member is evaluated, and the next one of the unit
is trained. A result is reported when both are there: metrics and a durable checkpoint.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from distributed import get_worker

from evodevo.errors import Unfit
from evodevo.run.records import STREAM, Assignment, CheckpointRef, Outcome, WorkUnit
from workers import departure
from workers.cache import publisher, remember_checkpoint, store_of
from workers.leg import Stopwatch, train_leg
from workers.preload import ready_at

Report = Callable[[Mapping[str, Any]], None]

TOGETHER_S = 0.01
"""Reports within this time are sent together."""

_idle_since = 0.0


def run_unit(unit: str) -> None:
    """Carry out a unit, given as text, in a Dask task, reporting on the worker's stream to the scheduler."""
    stream = Stream()
    try:
        carry_out(WorkUnit.from_text(unit), stream.report)
    finally:
        stream.flush()


def carry_out(unit: WorkUnit, report: Report) -> None:
    """Carry out a unit. `report` is told of each member's beginning and end, by its index in the unit.

    A worker that has to leave finishes the member at hand and begins no other. Raises `Unfit` if a member
    finds that this worker must take no part; those before it are reported.
    """
    global _idle_since
    wait_s = max(0.0, time.time() - max(unit.since, ready_at(), _idle_since))
    watch = Stopwatch()
    ending = _Ending()
    for index, assignment in enumerate(unit.assignments):
        if index and departure.announced():
            break
        report({"index": index})
        watch.begin()
        leg = _Leg(unit, index, assignment, report, ending)
        try:
            leg.train(watch, round(wait_s, 6))
        except Unfit:
            publisher().drain()  # what was trained before that is reported
            raise
        wait_s = 0.0
    ending.begin()
    publisher().drain()
    _idle_since = time.time()


class _Ending:
    """The end of a unit, when nothing hides any more that checkpoints are being written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: float | None = None

    def begin(self) -> None:
        with self._lock:
            self._since = time.monotonic()

    def lap(self) -> float:
        """Seconds that the unit has waited for checkpoints since the last lap."""
        with self._lock:
            if self._since is None:
                return 0.0
            now = time.monotonic()
            lap, self._since = now - self._since, now
            return lap


class _Leg:
    """One assignment, until its metrics and its checkpoint are both there."""

    def __init__(
        self, unit: WorkUnit, index: int, assignment: Assignment, report: Report, ending: _Ending
    ) -> None:
        self._unit = unit
        self._index = index
        self._assignment = assignment
        self._report = report
        self._ending = ending
        self._lock = threading.Lock()
        self._started_at = time.time()
        self._outcome: Outcome | None = None
        self._ref: CheckpointRef | None = None
        self._publishing = False
        self._handed_over_at = 0.0
        self._hidden_s = 0.0
        self._error: OSError | None = None

    def train(self, watch: Stopwatch, wait_s: float) -> None:
        self._started_at = time.time()
        try:
            outcome = train_leg(self._unit.job, self._assignment, watch, self._hand_over)
        except OSError as why:
            self._lose(why, watch.seconds)
            return
        waited = {"wait": wait_s} if wait_s else {}
        with self._lock:
            self._outcome = replace(outcome, seconds={**waited, **watch.seconds})
            ready = not self._publishing
        if ready:
            self._finish(0.0)

    def _hand_over(self, data: bytes | None, suffix: str) -> None:
        """The checkpoint goes to the store, in another thread."""
        if data is None:
            return
        store = store_of(self._unit.job)
        self._ref = store.ref(self._assignment.checkpoint_stem, data, suffix)
        remember_checkpoint(store, self._ref, data)
        self._handed_over_at = time.monotonic()
        self._publishing = True
        publisher().publish(store, self._ref, data, self._published)

    def _published(self, error: Exception | None) -> None:
        """In the publisher's thread: the checkpoint is durable, or could not be written."""
        waited_s = self._ending.lap()
        self._hidden_s = max(0.0, time.monotonic() - self._handed_over_at - waited_s)
        with self._lock:
            self._publishing = False
            if error is not None:
                self._error = error if isinstance(error, OSError) else OSError(str(error))
            ready = self._outcome is not None
        if ready:
            self._finish(waited_s)

    def _lose(self, why: OSError, seconds: Mapping[str, float]) -> None:
        """The attempt came to no result, after so many seconds of work."""
        busy_s = sum(value for part, value in seconds.items() if part != "wait")
        lost = f"{type(why).__name__}: {why}"
        self._report({"index": self._index, "lost": lost, "seconds": round(busy_s, 6)})

    def _finish(self, waited_s: float) -> None:
        outcome = self._outcome
        assert outcome is not None
        if self._error is not None and outcome.status == "done":
            self._lose(self._error, outcome.seconds)
            return
        seconds_of = dict(outcome.seconds)
        seconds_of["save"] = round(seconds_of.get("save", 0.0) + waited_s, 6)
        if outcome.status == "done":
            outcome = replace(outcome, checkpoint=self._ref)
        outcome = replace(outcome, seconds=seconds_of, hidden_s=round(self._hidden_s, 6))
        self._report(
            {"index": self._index, "outcome": outcome.to_json(), "started_at": round(self._started_at, 3)}
        )


class Stream:
    """Reports of one task to the scheduler; those that are made in quick succession go together.

    The first goes at once, later ones `TOGETHER_S` after those before them, and the last ones with `flush`.
    """

    def __init__(self) -> None:
        self._worker = get_worker()
        self._key = self._worker.get_current_task()
        self._lock = threading.Lock()
        self._reports: list[Mapping[str, Any]] = []
        self._scheduled = False
        self._sent_at = 0.0

    def report(self, report: Mapping[str, Any]) -> None:
        if report == {"index": 0}:
            return  # that the first one began goes without saying
        with self._lock:
            self._reports.append(report)
            if self._scheduled:
                return
            self._scheduled = True
        self._worker.loop.add_callback(self._send_soon)

    def flush(self) -> None:
        """Send what is left; nothing is reported after that."""
        self._worker.loop.add_callback(self._send)

    def _send_soon(self) -> None:
        """In the worker's event loop."""
        early_s = self._sent_at + TOGETHER_S - time.monotonic()
        if early_s > 0:
            self._worker.loop.call_later(early_s, self._send)
        else:
            self._send()

    def _send(self) -> None:
        """In the worker's event loop."""
        with self._lock:
            reports, self._reports = self._reports, []
            self._scheduled = False
        if reports:
            self._sent_at = time.monotonic()
            text = json.dumps(reports)  # one text, as Dask measures and packs whatever is in a message
            self._worker.batched_send({"op": STREAM, "key": self._key, "reports": text})
