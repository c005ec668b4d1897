"""One leg of a member's life on a worker: load, train, hand the checkpoint over, evaluate.

A leg is a generator that advances one step at a time, so that a worker can interleave several.
"""

import math
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from evodevo.errors import Unfit
from evodevo.run.records import Assignment, EpochLosses, Job, Outcome, notes_on
from workers import gang
from workers.build import Trainable
from workers.cache import read_checkpoint, store_of, workload_for
from workers.ensemble import EnsembleWorkload, Networks, Start, single
from workers.networks import unpacked
from workers.preload import current_device
from workers.progress import Progress, evaluated, wait_for_kernels
from workers.recombination import mean
from workers.training import Training, in_double, leg_of, means_of_stretches
from workers.turns import is_out_of_memory

ERROR_TAIL_CHARACTERS = 8000

HandOver = Callable[[bytes | None, str], None]
"""Called with the checkpoint of a trained member (None if it has none) and its suffix."""


class Stopwatch:
    """The seconds of each part of a leg, added up without gaps between the parts.

    If several legs take turns, each counts only its own; `aside_s` are the seconds of the others' turns.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.aside_s = 0.0
        self._part = "load"
        self._last = time.monotonic()
        self._counted = 0.0
        self._begun = False

    def resume(self, after: "Stopwatch | None") -> None:
        """Begin this leg's turn, at the time when that of `after` ended."""
        if after is not None:
            self.aside_s += after._last - self._last if self._begun else 0.0
            self._last = after._last
        self._begun = True

    def count(self, seconds: float, after: "Stopwatch") -> None:
        """Count these seconds as this leg's share of the common turn that ended with the watch `after`."""
        self.aside_s += after._last - self._last - seconds
        self._last = after._last
        self._add(self._part, seconds)

    def switch(self, part: str) -> None:
        """Count the time from now on as `part`."""
        self.stop()
        self._part = part

    def stop(self, part: str | None = None) -> None:
        """Count the time until now, as `part` if given instead of the one switched to."""
        now = time.monotonic()
        self._add(part or self._part, now - self._last)
        self._last = now

    def spent_s(self) -> float:
        """Return the seconds of this leg's turns until now; call it only during its turn."""
        return self._counted + time.monotonic() - self._last

    def seconds_of(self, part: str) -> float:
        """Return the seconds of a part until now; call it only during this leg's turn."""
        running = time.monotonic() - self._last if part == self._part else 0.0
        return self.seconds.get(part, 0.0) + running

    def counted_s(self) -> float:
        """Return the seconds of this leg's completed turns."""
        return self._counted

    def _add(self, part: str, seconds: float) -> None:
        self._counted += seconds
        self.seconds[part] = round(self.seconds.get(part, 0.0) + seconds, 6)


Trained = tuple[int, Sequence[torch.Tensor]]
"""The number of steps of an epoch, and their losses."""


@dataclass(frozen=True)
class Epoch:
    """An epoch that a leg is about to train, and offers to train together with those of other legs.

    The leg is sent the result, a `Trained`; if it is sent None, it trains the epoch itself. `most` is the
    maximum number of steps, None for a whole epoch.
    """

    workload: Trainable
    state: Any
    most: int | None
    clock: "Clock"


Turns = Generator[Epoch | None, Trained | None, Outcome]
"""A leg, which yields an `Epoch` before it trains one, and None after each step."""


class DidNotFit(Exception):
    """The device ran out of memory for a leg; `outcome` is the failure to report if nothing can be done."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.error)
        self.outcome = outcome


def train_leg(job: Job, assignment: Assignment, watch: Stopwatch, hand_over: HandOver) -> Outcome:
    """Carry out one attempt without interruption; see `turns_of_leg`."""
    turns = turns_of_leg(job, assignment, watch, hand_over)
    try:
        while True:
            next(turns)
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome
    except DidNotFit as why:
        return why.outcome


def turns_of_leg(job: Job, assignment: Assignment, watch: Stopwatch, hand_over: HandOver) -> Turns:
    """Carry out one attempt; the outcome lacks the checkpoint, which is still being written to the store.

    Anything the workload raises, even `SystemExit`, becomes a failed outcome with its traceback. `OSError`
    is raised, as another attempt may succeed (a disk, a file, a time limit). `Unfit` is raised if this worker
    cannot train the member, and `DidNotFit` if the device ran out of memory.
    """
    try:
        return (yield from _turns_of_leg(job, assignment, watch, hand_over))
    except (OSError, Unfit):
        raise
    except BaseException as why:  # if this was closed (`GeneratorExit`), nobody receives the outcome
        outcome = Outcome("failed", error=traceback.format_exc()[-ERROR_TAIL_CHARACTERS:])
        did_not_fit = is_out_of_memory(why)
    finally:
        watch.stop()
    if did_not_fit:
        raise DidNotFit(outcome)  # not `from why`: its traceback would keep the memory alive
    return outcome


def follow_leg(job: Job, assignment: Assignment) -> None:
    """Train along with the first worker of a gang, the only one to average, save, evaluate and report."""
    if not assignment.mean_of:
        watch = Stopwatch()
        workload, state, _ = _begun(job, assignment, watch)
        progress = Progress(job, assignment, workload, state, watch)
        for _ in _train(workload, state, job, assignment, watch, progress):
            pass


def _begun(job: Job, assignment: Assignment, watch: Stopwatch) -> tuple[Trainable, Any, bytes | None]:
    """Return the workload, the member to train, and the checkpoint that it begins with, if any."""
    watch.switch("load")
    torch.set_num_threads(job.threads)
    workload, is_new = workload_for(job)
    watch.stop("prepare" if is_new else "load")
    parent = read_checkpoint(store_of(job), assignment.parent) if assignment.parent else None
    anew = parent is not None and assignment.epoch == 0
    leg = leg_of(job, assignment.epochs, assignment.epoch, anew)
    if assignment.mean_of:
        parent = mean([read_checkpoint(store_of(job), ref) for ref in assignment.mean_of])
    if assignment.networks:
        assert isinstance(workload, EnsembleWorkload)
        return workload, workload.begin_each(_starts(job, assignment)), None
    state = workload.begin(assignment.hyperparameters, assignment.training_seed, parent, leg)
    if (group := gang.current()) is not None and not assignment.mean_of:
        group.join(state, assignment.training_seed, current_device())
    return workload, state, parent


def _starts(job: Job, assignment: Assignment) -> list[Start]:
    """Return the start of each network of an ensemble; it inherits from the parent's network in its place."""
    store = store_of(job)
    parents = {ref.name: unpacked(read_checkpoint(store, ref)) for ref in assignment.inputs}
    found = []
    for at, one in enumerate(assignment.networks):
        data = parents[one.parent.name][at] if one.parent else None
        leg = leg_of(job, assignment.epochs, one.epoch, data is not None and one.epoch == 0)
        found.append(Start(one.hyperparameters, one.training_seed, data, leg))
    return found


def _turns_of_leg(job: Job, assignment: Assignment, watch: Stopwatch, hand_over: HandOver) -> Turns:
    workload, state, parent = _begun(job, assignment, watch)
    epochs: list[dict[str, float]] = []
    losses: list[EpochLosses] = []
    progress = Progress(job, assignment, workload, state, watch)
    if not assignment.mean_of:
        watch.switch("train")
        state, epochs, losses = yield from _train(workload, state, job, assignment, watch, progress)

    wait_for_kernels()
    watch.switch("save")
    hand_over(parent if assignment.mean_of else workload.checkpoint(state), workload.suffix)
    if assignment.remakes:
        return Outcome("done")
    watch.switch("eval")
    found = progress.latest or evaluated(job, workload, state)
    metrics = weighted(job, progress.completed({**_last_of(epochs), **found}))
    by_epoch = epochs if len(epochs) > 1 else ()
    own = state.notes if isinstance(state, Training) else ()
    notes = (*notes_on(metrics), *own, *progress.notes)
    is_finite = math.isfinite(metrics[job.metric]) and not progress.has_diverged(metrics)
    return Outcome(
        "done" if is_finite else "diverged",
        metrics[job.metric] if is_finite else None,
        metrics,
        epochs=by_epoch,
        notes=notes,
        progress=progress.in_numbers(),
        over=progress.over,
        losses=losses,
    )


def weighted(job: Job, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics including the objective, which may be a weighted sum of others.

    Raises `KeyError` if the workload does not report a metric that the objective uses.
    """
    for name in job.weights or [job.metric]:
        if name not in metrics:
            raise KeyError(f"the workload reports {', '.join(metrics)}, but not the objective {name!r}")
    if not job.weights:
        return dict(metrics)
    return {**metrics, job.metric: sum(weight * metrics[name] for name, weight in job.weights.items())}


def _train(
    workload: Trainable, state: Any, job: Job, assignment: Assignment, watch: Stopwatch, progress: Progress
) -> Generator[Epoch | None, Trained | None, tuple[Any, list[dict[str, float]], list[EpochLosses]]]:
    """Train a leg within the time limit; return the trained state, and the mean loss of each epoch.

    The losses are empty for a workload that does not yield any. Those within each epoch follow, if the job
    asks for them.
    """
    clock = Clock(job, assignment.epochs, watch)
    if not workload.continues:
        for epoch in range(assignment.epochs):
            if epoch:
                again = assignment.hyperparameters, assignment.training_seed + epoch
                state = workload.begin(*again, workload.checkpoint(state))
            yield from _train_epoch(workload, state, clock, None, progress)
        return state, [], []
    epochs: list[dict[str, float]] = []
    within: list[EpochLosses] = []
    left = job.steps
    while left is None or left > 0:
        if isinstance(state, Training):
            state.epoch = assignment.epoch + len(epochs)
        count, losses = yield from _train_networks(workload, state, clock, left, progress)
        epochs.append({"train_loss": float(torch.cat(losses).mean())} if losses else {})
        if losses and job.losses_per_epoch:
            within.append(EpochLosses(count, means_of_stretches(losses, job.losses_per_epoch)))
        if progress.over:
            break
        if left is not None:
            if not count:
                raise RuntimeError("the workload trained no batches, so its steps cannot be counted")
            left -= count
        elif len(epochs) == assignment.epochs:
            break
    return state, epochs, within


def _train_networks(
    workload: Trainable, state: Any, clock: "Clock", most: int | None, progress: Progress
) -> Generator[Epoch | None, Trained | None, tuple[int, list[torch.Tensor]]]:
    """Train one epoch of each network of a member.

    Return the number of steps of one network, and the losses of each that yields any, float64 (steps,). They
    are copied before the next network trains, as those of captured steps are overwritten then.
    """
    count, found = 0, list[torch.Tensor]()
    several = isinstance(state, Networks)
    for one in state.turns() if several else [state]:
        own = single(workload) if several else workload
        count, losses = yield from _train_epoch(own, one, clock, most, progress)
        if losses:
            found.append(in_double(losses))
    return count, found


def _train_epoch(
    workload: Trainable, state: Any, clock: "Clock", most: int | None, progress: Progress
) -> Generator[Epoch | None, Trained | None, Trained]:
    """Train one epoch, or its first `most` steps, unless that was done together with other members.

    A life that may end at any step is never trained together.
    """
    trained = None if progress.ends_early else (yield Epoch(workload, state, most, clock))
    if trained is not None:
        progress.steps += trained[0]
        return trained
    count, losses = 0, []
    steps = workload.train(state)
    for loss in steps:
        count += 1
        if isinstance(state, Training):
            state.step += 1
        if loss is not None:
            losses.append(torch.as_tensor(loss))
        if clock.overran():
            steps.throw(clock.error())
        if progress.after_step() or count == most:
            steps.close()
            break
        yield None
    return count, losses


def _last_of(epochs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the training loss of the last epoch; empty if losses are not known."""
    return dict(epochs[-1]) if epochs else {}


class Clock:
    """The time limit of a leg, counted in its own turns."""

    def __init__(self, job: Job, epochs: int, watch: Stopwatch) -> None:
        self._each, self._limit = job.epoch_timeout_s, job.leg_timeout_s(epochs)
        self._watch = watch
        self._began = watch.spent_s()

    def overran(self) -> bool:
        """Return whether the leg, whose turn it is, has exceeded its time limit."""
        return self._limit is not None and self._watch.spent_s() - self._began > self._limit

    def left_s(self) -> float:
        """Return the seconds left for turns to come."""
        if self._limit is None:
            return math.inf
        return self._limit + self._began - self._watch.counted_s()

    def error(self) -> TimeoutError:
        return TimeoutError(f"the epoch took longer than limits.epoch_timeout_s = {self._each:g}")
