"""Carry out a unit's members on a worker, several at once, taking turns.

The first members begin, each with its load; then each in turn trains for the steps that begin within `TURN_S`
(at least one). When one is done, the next of the unit takes its place. If the workload's
`stackable(trainings)` is true for the members in progress, `train_together(trainings, randomness)` trains an
epoch of all of them; it is a generator like `train` that yields after each step the losses of all, in order,
or None. `randomness` is the state of the global generators for each. The workload is asked when all members
in progress are about to train an epoch. If training together fails, all restart and train one by one.

A member that does not fit into the device's memory waits until another member is done, and then until no
other worker uses the device (`workers.room`). It fails only if it does not fit with the device to itself.
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
    """A unit in progress, with up to `job.members_per_device` members at a time.

    `wait_s` is how long the worker had waited for the unit. `room` is given if other workers use the device.
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
        is_program = unit.job.workload["command"] is not None  # this process does not use the device then
        self._turns = Turns(torch.device("cpu") if is_program else current_device(), self._most)
        self._stacks = self._most > 1 and unit.job.stacked
        self._waiting = deque(range(len(unit.assignments)))
        self._again: deque[Attempt] = deque()
        self._at_work: list[Attempt] = []
        self._watch: Stopwatch | None = None
        """Stopwatch of the attempt that had the last turn."""
        self._runs = False
        """Whether that turn is still in progress."""

    def work(self) -> None:
        """Carry the unit out; raise `Unfit` if a member finds that this worker cannot take part."""
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
        """Begin members while there is room; return whether any is in progress.

        A worker that has been told to leave begins no member except the unit's first.
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
            continues = attempt.advance(trained, alone=self._most == 1)
        except DidNotFit as why:
            failed = why.outcome
        if failed:
            self._did_not_fit(attempt, failed)
            return
        if attempt.turns <= 2 or not continues:
            self._turns.settle()
        if not continues:
            self._over(attempt)
        elif attempt.asked is not None:
            self._turns.share(attempt.asked.workload)
            if not self._stacks:
                self._advance(attempt)

    def _give_turn(self, attempt: Attempt) -> None:
        if attempt.watch is not self._watch:
            self._stop_watch()
            attempt.watch.resume(self._watch)
            self._watch = attempt.watch
        self._runs = True
        self._turns.give(attempt.seat)

    def _stop_watch(self) -> None:
        """End the present turn, if any."""
        if self._runs and self._watch is not None:
            self._watch.stop()
        self._runs = False

    def _remove(self, attempt: Attempt) -> None:
        """Remove an attempt from those in progress; if it was its turn, its watch has stopped."""
        if attempt.watch is self._watch:
            self._runs = False
        self._at_work.remove(attempt)
        self._turns.leave(attempt.seat, over=True)

    def _over(self, attempt: Attempt) -> None:
        self._remove(attempt)
        if self._room is not None and self._room.alone:
            self._room.share()

    def _did_not_fit(self, attempt: Attempt, failed: Outcome) -> None:
        """Handle an attempt for which memory ran out: let it wait for others, or fail if there are none."""
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
        """Report that a member waits for memory, which suspends its time limit."""
        self._report({"index": attempt.index, "waits": "for memory"})

    def _train_an_epoch(self, attempts: Sequence[Attempt]) -> None:
        """Train an epoch of all members in progress, together if possible, otherwise each by itself."""
        epochs = [attempt.asked for attempt in attempts if attempt.asked]
        self._turns.settle()  # the members' streams may still write what is read below
        if len(attempts) < 2 or not self._fit_together(epochs):
            for attempt in attempts:
                self._advance(attempt)
            return
        self._stop_watch()
        self._turns.pause()
        self._turns.settle()
        whole = Stopwatch()
        whole.resume(self._watch)
        problem: Exception | None = None
        trained: Sequence[Trained] = ()
        try:
            trained = self._train_together(attempts, epochs, whole)
        except (_Overran, Unfit) as why:
            problem = why
        except BaseException as why:
            problem = RuntimeError(f"{type(why).__name__}: {why}")  # without a traceback, which holds memory
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
        """Return whether the workload trains these together; if not, it is not asked again in this unit."""
        workload: Any = epochs[0].workload
        if len({epoch.most for epoch in epochs}) > 1:
            return False
        trainings = [epoch.state for epoch in epochs if isinstance(epoch.state, Training)]
        self._stacks = (
            len(trainings) == len(epochs)
            and all(epoch.workload is workload for epoch in epochs)
            and getattr(workload, "accumulate", 1) == 1
            and hasattr(workload, "stackable")
            and _says_stackable(workload, trainings)
        )
        return self._stacks

    def _train_together(
        self, attempts: Sequence[Attempt], epochs: Sequence[Epoch], whole: Stopwatch
    ) -> list[Trained]:
        """Train an epoch of all; raise `_Overran`, and anything the workload raises."""
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


def _says_stackable(workload: Any, trainings: Sequence[Training]) -> bool:
    """Return the workload's answer, or False if it raises."""
    try:
        return bool(workload.stackable(trainings))
    except Exception as why:
        for training in trainings:
            training.notes.append(f"trained by itself, as stackable() failed: {type(why).__name__}: {why}")
        return False


class _Overran(Exception):
    """Members trained together exceeded their time limit."""


def _row(losses: Sequence[Any]) -> torch.Tensor:
    return torch.stack([torch.as_tensor(loss) for loss in losses])
