"""The members of a unit at work on a worker: several at once, who take turns.

The first ones begin, each with its load; then each has a step in turn (or as many as begin within `TURN_S`),
and as one is done the next of the unit takes its place. A workload that says `stackable(trainings)` of those
at work trains an epoch of all of them by `train_together(trainings, randomness)`, a generator like `train`
that yields the losses of all, in their order, after each step (or None); `randomness` is where each has the
global generators. It is asked when all that are at work are about to train an epoch. What goes wrong there is
nobody's fault: all begin again, and are trained one by one.

A member that the device has no memory for waits: until another one is done, and then until no other worker
uses the device (`workers.room`). Only one that does not fit with the device to itself has failed.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import torch

from evodevo.errors import Unfit
from evodevo.run.records import Outcome, WorkUnit
from workers import departure
from workers.attempt import Attempt, Ending, Report
from workers.gang import Broken
from workers.leg import DidNotFit, Epoch, Stopwatch, Trained
from workers.preload import current_device
from workers.room import Room
from workers.training import Training
from workers.turns import Turns, free_memory


class Shift:
    """A unit while it is carried out, with up to `job.members_per_device` members at work.

    `wait_s` is how long the worker had waited for it. `room` is there if other workers use the device.
    """

    def __init__(
        self, unit: WorkUnit, report: Report, ending: Ending, wait_s: float = 0.0, room: Room | None = None
    ) -> None:
        self._unit = unit
        self._report = report
        self._ending = ending
        self._wait_s = wait_s
        self._room = room
        self._most = min(unit.job.members_per_device, len(unit.assignments))
        is_program = (
            unit.job.workload["command"] is not None
        )  # which uses the device, and this process does not
        self._turns = Turns(torch.device("cpu") if is_program else current_device(), self._most)
        self._stacks = self._most > 1
        self._waiting = deque(range(len(unit.assignments)))
        self._again: deque[Attempt] = deque()
        self._at_work: list[Attempt] = []
        self._watch: Stopwatch | None = None
        """Of whoever had the last turn."""
        self._runs = False
        """Whether that turn is not over."""

    def work(self) -> None:
        """Carry the unit out. Raises `Unfit` if a member finds that this worker must take no part."""
        try:
            while self._fill():
                for attempt in [*self._at_work]:
                    if attempt.asked is None:
                        self._advance(attempt)
                if self._at_work and all(attempt.asked for attempt in self._at_work):
                    self._train_an_epoch([*self._at_work])
        finally:
            for attempt in self._at_work:
                attempt.close()
            self._turns.end()

    def _fill(self) -> bool:
        """Let members begin while there is room; return whether any is at work.

        A worker that has to leave finishes those that have begun and begins no other, but the first.
        """
        while len(self._at_work) < self._most:
            if self._again:
                attempt = self._again.popleft()
            elif self._waiting and not (self._waiting[0] and departure.announced()):
                index = self._waiting.popleft()
                self._report({"index": index})
                assignment = self._unit.assignments[index]
                about = self._unit.job, index, assignment, self._report, self._ending
                attempt, self._wait_s = Attempt(*about, self._wait_s), 0.0
            else:
                break
            attempt.seat = self._turns.seat()
            self._at_work.append(attempt)
            self._advance(attempt)
        return bool(self._at_work or self._again)

    def _advance(self, attempt: Attempt, trained: Trained | None = None) -> None:
        """Give an attempt a turn."""
        self._give_turn(attempt)
        failed: Outcome | None = None
        try:
            goes_on = attempt.advance(trained, alone=self._most == 1)
        except DidNotFit as why:
            failed = why.outcome
        if failed:
            self._did_not_fit(attempt, failed)
            return
        if attempt.turns <= 2 or not goes_on:
            self._turns.settle()
        if not goes_on:
            self._over(attempt)
        elif attempt.asked is not None:
            self._turns.share(attempt.asked.workload)
            if not self._stacks:
                self._advance(attempt)

    def _give_turn(self, attempt: Attempt) -> None:
        if attempt.watch is not self._watch:
            self._stop_watch()
            attempt.watch.go_on(self._watch)
            self._watch = attempt.watch
        self._runs = True
        self._turns.give(attempt.seat)

    def _stop_watch(self) -> None:
        """The turn at hand is over."""
        if self._runs and self._watch is not None:
            self._watch.stop()
        self._runs = False

    def _remove(self, attempt: Attempt) -> None:
        """An attempt is not at work any more; if it was its turn, its watch has stopped."""
        if attempt.watch is self._watch:
            self._runs = False
        self._at_work.remove(attempt)
        self._turns.leave(attempt.seat, over=True)

    def _over(self, attempt: Attempt) -> None:
        self._remove(attempt)
        if self._room is not None and self._room.alone:
            self._room.share()

    def _did_not_fit(self, attempt: Attempt, failed: Outcome) -> None:
        """The device had no memory left for an attempt: it waits for others, or there is no help for it."""
        self._remove(attempt)
        free_memory()
        if others := len(self._at_work):
            self._most = others
            self._again.append(
                attempt.again(f"no memory was left beside {others} other members: begun again")
            )
            return
        self._most = 1
        if self._room is None or self._room.alone:
            attempt.end(failed)
            if self._room is not None:
                self._room.share()
        elif self._room.have_alone(lambda: self._tell_of_waiting(attempt), departure.announced):
            note = "no memory was left beside other workers of the device: begun again without them"
            self._again.append(attempt.again(note))
        else:
            why = Broken("no memory was left beside other workers of the device, and this one has to leave")
            attempt.give_up(why)

    def _tell_of_waiting(self, attempt: Attempt) -> None:
        """The time limit does not count while a member waits for memory."""
        self._report({"index": attempt.index, "waits": "for memory"})

    def _train_an_epoch(self, attempts: Sequence[Attempt]) -> None:
        """All at work are about to train an epoch: together if that is possible, or else each by itself."""
        epochs = [attempt.asked for attempt in attempts if attempt.asked]
        if len(attempts) < 2 or not self._fit_together(epochs):
            for attempt in attempts:
                self._advance(attempt)
            return
        self._stop_watch()
        self._turns.pause()
        self._turns.settle()
        whole = Stopwatch()
        whole.go_on(self._watch)
        problem: Exception | None = None
        trained: Sequence[Trained] = ()
        try:
            trained = self._train_together(attempts, epochs, whole)
        except (_Overran, Unfit) as why:
            problem = why
        except BaseException as why:
            problem = RuntimeError(f"{type(why).__name__}: {why}")  # without what its traceback keeps
        whole.stop()
        for attempt in attempts:
            attempt.watch.count(whole.counted_s() / len(attempts), whole)
        self._watch = whole
        self._turns.settle()
        if isinstance(problem, Unfit):
            raise problem
        if isinstance(problem, _Overran):
            for attempt, epoch in zip(attempts, epochs, strict=True):
                self._give_turn(attempt)
                attempt.give_up(epoch.clock.error())
                self._over(attempt)
        elif problem is not None:
            self._stacks = False
            for attempt in attempts:
                self._remove(attempt)
                note = f"trained by itself, as training it together with others failed: {problem}"
                self._again.append(attempt.again(note))
            free_memory()
        else:
            for attempt, own in zip(attempts, trained, strict=True):
                self._advance(attempt, own)

    def _fit_together(self, epochs: Sequence[Epoch]) -> bool:
        """Whether the workload trains these together; one that does not is not asked again in this unit."""
        workload: Any = epochs[0].workload
        if len({epoch.most for epoch in epochs}) > 1:
            return False
        trainings = [epoch.state for epoch in epochs if isinstance(epoch.state, Training)]
        self._stacks = (
            len(trainings) == len(epochs)
            and all(epoch.workload is workload for epoch in epochs)
            and getattr(workload, "accumulate", 1) == 1
            and hasattr(workload, "stackable")
            and bool(workload.stackable(trainings))
        )
        return self._stacks

    def _train_together(
        self, attempts: Sequence[Attempt], epochs: Sequence[Epoch], whole: Stopwatch
    ) -> list[Trained]:
        """Train an epoch of all of them. Raises `_Overran`, and whatever the workload raises."""
        workload: Any = epochs[0].workload
        trainings, most = [epoch.state for epoch in epochs], epochs[0].most
        left_s = min(epoch.clock.left_s() for epoch in epochs) * len(epochs)
        count, rows = 0, []
        steps = workload.train_together(trainings, [attempt.seat.randomness for attempt in attempts])
        for losses in steps:
            count += 1
            for training in trainings:
                training.step += 1
            if losses is not None:
                rows.append(losses if isinstance(losses, torch.Tensor) else _row(losses))
            if whole.spent_s() > left_s:
                steps.throw(_Overran())
            if count == most:
                steps.close()
                break
        if not rows:
            return [(count, [])] * len(attempts)
        columns = torch.stack(rows).T.contiguous().cpu()
        return [(count, list(column)) for column in columns]


class _Overran(Exception):
    """Members that are trained together have had more than their time."""


def _row(losses: Sequence[Any]) -> torch.Tensor:
    return torch.stack([torch.as_tensor(loss) for loss in losses])
