"""Carry out a work unit on a worker, and report each member as soon as its result is durable.

While a member's checkpoint is being written to the store, the member is evaluated and others of the unit are
trained. A result is reported once it has both metrics and a durable checkpoint.
"""

import json
import threading
import time
from collections.abc import Mapping
from typing import Any

from distributed import get_worker

from evodevo.run.records import STREAM, WorkUnit
from workers import preload
from workers.attempt import Ending, Report
from workers.cache import publisher
from workers.preload import ready_at
from workers.shift import Shift
from workers.turns import free_memory

TOGETHER_S = 0.01
"""Interval within which reports are sent together."""

_idle_since = 0.0


def run_unit(unit: str) -> None:
    """Carry out a unit, given as text, in a Dask task, reporting on the worker's stream to the scheduler."""
    stream = Stream()
    try:
        carry_out(WorkUnit.from_text(unit), stream.report)
    finally:
        stream.flush()


def carry_out(unit: WorkUnit, report: Report) -> None:
    """Carry out a unit; call `report` at each member's beginning and end, with its index in the unit.

    A worker that has been told to leave finishes the members in progress and begins no other. Raises `Unfit`
    if a member finds that this worker cannot take part; members done before that are reported.
    """
    global _idle_since
    room = preload.current_room()
    if room is not None:
        room.enter(lambda: report({"index": 0, "waits": "for memory"}))
    wait_s = max(0.0, time.time() - max(unit.since, ready_at(), _idle_since))
    ending = Ending()
    try:
        Shift(unit, report, ending, round(wait_s, 6), room).work()
        ending.begin()
    finally:
        publisher().drain()  # so that all trained members are reported
        if room is not None:
            free_memory()
            room.leave()
    _idle_since = time.time()


class Stream:
    """Reports of one task to the scheduler, batched if they are made in quick succession.

    The first is sent at once, later ones `TOGETHER_S` after those before them, and the last ones by `flush`.
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
            return  # the beginning of the first member is implied
        with self._lock:
            self._reports.append(report)
            if self._scheduled:
                return
            self._scheduled = True
        self._worker.loop.add_callback(self._send_soon)

    def flush(self) -> None:
        """Send the remaining reports; call it after the last one."""
        self._worker.loop.add_callback(self._send)

    def _send_soon(self) -> None:
        """Send now or at the end of the interval; runs in the worker's event loop."""
        early_s = self._sent_at + TOGETHER_S - time.monotonic()
        if early_s > 0:
            self._worker.loop.call_later(early_s, self._send)
        else:
            self._send()

    def _send(self) -> None:
        """Send all collected reports; runs in the worker's event loop."""
        with self._lock:
            reports, self._reports = self._reports, []
            self._scheduled = False
        if reports:
            self._sent_at = time.monotonic()
            text = json.dumps(reports)  # one string, as Dask measures and packs each item of a message
            self._worker.batched_send({"op": STREAM, "key": self._key, "reports": text})
