"""One attempt at an assignment, reported once it has both its metrics and a durable checkpoint."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from evodevo.run.blame import cause_of
from evodevo.run.records import Assignment, CheckpointRef, Job, Outcome
from workers.cache import publisher, remember_checkpoint, store_of
from workers.gang import Broken
from workers.leg import Epoch, Stopwatch, Trained, turns_of_leg
from workers.turns import Seat

TURN_S = 0.002
"""Length of a turn, which ends after the step in progress; switching members costs 0.06 ms, a short step."""

Report = Callable[[Mapping[str, Any]], None]


class Ending:
    """The end of a unit, when all training is done and writing checkpoints is no longer hidden behind it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: float | None = None

    def begin(self) -> None:
        with self._lock:
            self._since = time.monotonic()

    def lap(self) -> float:
        """Return the seconds that the unit has waited for checkpoints since the last lap."""
        with self._lock:
            if self._since is None:
                return 0.0
            now = time.monotonic()
            lap, self._since = now - self._since, now
            return lap


class Attempt:
    """One attempt at an assignment, advanced one turn at a time.

    `asked` is the epoch that it offers to train together with other members, while it waits for the answer.
    `turns` counts its turns.
    """

    def __init__(
        self,
        job: Job,
        index: int,
        assignment: Assignment,
        report: Report,
        ending: Ending,
        wait_s: float = 0.0,
        watch: Stopwatch | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """Prepare an attempt; `wait_s` is how long the worker had been idle before it."""
        self.index = index
        self.seat: Seat
        self.watch = watch or Stopwatch()
        self.asked: Epoch | None = None
        self.turns = 0
        self._job = job
        self._assignment = assignment
        self._report = report
        self._ending = ending
        self._wait_s = wait_s
        self._notes = notes
        self._lock = threading.Lock()
        self._started_at = time.time()
        self._outcome: Outcome | None = None
        self._ref: CheckpointRef | None = None
        self._publishing = False
        self._handed_over_at = 0.0
        self._hidden_s = 0.0
        self._error: OSError | None = None
        self._turns = turns_of_leg(job, assignment, self.watch, self._hand_over)

    def again(self, note: str) -> "Attempt":
        """Stop and return a fresh attempt at the same assignment; its outcome will carry the note."""
        self._turns.close()
        same = self._job, self.index, self._assignment, self._report, self._ending, self._wait_s
        other = Attempt(*same, self.watch, (*self._notes, note))
        other._started_at = self._started_at
        return other

    def advance(self, trained: Trained | None = None, alone: bool = False) -> bool:
        """Run one turn and return whether there is more to do.

        `trained` is the result of an epoch trained together with other members. A turn is all steps that
        begin within `TURN_S`, at least one; an attempt that is `alone` runs a whole epoch.
        Raises `Unfit`, and `DidNotFit` if the device ran out of memory.
        """
        self.turns += 1
        self.asked = None
        until = time.monotonic() + TURN_S
        try:
            self.asked = self._turns.send(trained)
            while self.asked is None and (alone or time.monotonic() < until):
                self.asked = next(self._turns)
        except StopIteration as end:
            self.end(end.value)
        except OSError as why:
            self._lose(why, self.watch.seconds)
        else:
            return True
        return False

    def give_up(self, why: OSError) -> None:
        """Stop, and report the attempt as lost."""
        self.close()
        self._lose(why, self.watch.seconds)

    def end(self, outcome: Outcome) -> None:
        """Record the outcome; report it as soon as the checkpoint is durable."""
        waited = {"wait": self._wait_s} if self._wait_s else {}
        with self._lock:
            self._outcome = replace(
                outcome,
                seconds={**waited, **self.watch.seconds},
                aside_s=round(self.watch.aside_s, 6),
                notes=(*outcome.notes, *self._notes),
            )
            ready = not self._publishing
        if ready:
            self._finish(0.0)

    def close(self) -> None:
        """Stop without a report."""
        self._turns.close()

    def _hand_over(self, data: bytes | None, suffix: str) -> None:
        """Write the checkpoint to the store in the publisher's thread."""
        if data is None:
            return
        store = store_of(self._job)
        self._ref = store.ref(self._assignment.checkpoint_stem, data, suffix)
        if (again := self._assignment.remakes) and again.has_content_of(self._ref):
            self._ref = again
            store.clear(again.name)  # the stored file is damaged
        remember_checkpoint(store, self._ref, data)
        self._handed_over_at = time.monotonic()
        self._publishing = True
        publisher().publish(store, self._ref, data, self._published)

    def _published(self, error: Exception | None) -> None:
        """Take note in the publisher's thread that the checkpoint is durable or could not be written."""
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
        """Report the attempt as lost, with the seconds of work it took."""
        busy_s = sum(value for part, value in seconds.items() if part != "wait")
        lost = f"{type(why).__name__}: {why}"
        cause = "worker" if isinstance(why, Broken) else cause_of(why)
        self._report({"index": self.index, "lost": lost, "seconds": round(busy_s, 6), "cause": cause})

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
            {"index": self.index, "outcome": outcome.to_json(), "started_at": round(self._started_at, 3)}
        )
