"""One leg of a member's life on a worker: load, train, hand the checkpoint over, evaluate."""

import math
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from evodevo.errors import Unfit
from evodevo.run.records import Assignment, Job, Outcome, notes_on
from workers import gang
from workers.build import Trainable
from workers.cache import read_checkpoint, store_of, workload_for
from workers.preload import current_device
from workers.recombination import mean
from workers.seeding import derived, seed_all
from workers.training import Training, leg_of, mean_of

ERROR_TAIL_CHARACTERS = 8000

HandOver = Callable[[bytes | None, str], None]
"""Takes the checkpoint of a member that is trained (None if it has none) and its suffix."""


class Stopwatch:
    """Adds up the seconds of each part of a leg, without a gap between one part and the next."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._part = "load"
        self._last = time.monotonic()

    def begin(self) -> None:
        """A new leg begins where the last one ended, with `load`."""
        self.seconds, self._part = {}, "load"

    def switch(self, part: str) -> None:
        """From here on the time counts as `part`."""
        self.stop()
        self._part = part

    def stop(self, part: str | None = None) -> None:
        """Count the time until now, as `part` if that has turned out to be what it was."""
        now, part = time.monotonic(), part or self._part
        self.seconds[part] = round(self.seconds.get(part, 0.0) + now - self._last, 6)
        self._last = now


def train_leg(job: Job, assignment: Assignment, watch: Stopwatch, hand_over: HandOver) -> Outcome:
    """Carry out one attempt; the outcome has no checkpoint yet, as that is on its way to the store.

    Whatever the workload raises becomes a failed outcome, with its traceback. An `OSError` is raised: a disk,
    a file or a time limit may do better at the next attempt. `Unfit` is raised if this worker cannot do it.
    """
    try:
        return _train_leg(job, assignment, watch, hand_over)
    except (OSError, Unfit):
        raise
    except (Exception, SystemExit):
        return Outcome("failed", error=traceback.format_exc()[-ERROR_TAIL_CHARACTERS:])
    finally:
        watch.stop()


def follow_leg(job: Job, assignment: Assignment) -> None:
    """Train along with the first worker of a gang, which alone makes means, saves, evaluates and reports."""
    if not assignment.mean_of:
        workload, state, _ = _begun(job, assignment, Stopwatch())
        _train(workload, state, job, assignment)


def _begun(job: Job, assignment: Assignment, watch: Stopwatch) -> tuple[Trainable, Any, bytes | None]:
    """Return the workload, the member that is to be trained, and the checkpoint that it begins with."""
    torch.set_num_threads(job.threads)
    workload, is_new = workload_for(job)
    watch.stop("prepare" if is_new else "load")
    parent = read_checkpoint(store_of(job), assignment.parent) if assignment.parent else None
    anew = parent is not None and assignment.epoch == 0
    leg = leg_of(job, assignment.epochs, assignment.epoch, anew)
    if assignment.mean_of:
        parent = mean([read_checkpoint(store_of(job), ref) for ref in assignment.mean_of])
    state = workload.begin(assignment.hyperparameters, assignment.training_seed, parent, leg)
    if (together := gang.current()) is not None and not assignment.mean_of:
        together.join(state, assignment.training_seed, current_device())
    return workload, state, parent


def _train_leg(job: Job, assignment: Assignment, watch: Stopwatch, hand_over: HandOver) -> Outcome:
    workload, state, parent = _begun(job, assignment, watch)
    epochs: list[dict[str, float]] = []
    if not assignment.mean_of:
        watch.switch("train")
        state, epochs = _train(workload, state, job, assignment)

    watch.switch("save")
    hand_over(parent if assignment.mean_of else workload.checkpoint(state), workload.suffix)
    watch.switch("eval")
    seed_all(derived(job.seed, "evaluate"), current_device())  # the same draws for every member
    metrics = weighted(job, {**_last_of(epochs), **workload.evaluate(state, "validation")})
    by_epoch = epochs if len(epochs) > 1 else ()
    notes = (*notes_on(metrics), *(state.notes if isinstance(state, Training) else ()))
    if not math.isfinite(metrics[job.metric]):
        return Outcome("diverged", metrics=metrics, epochs=by_epoch, notes=notes)
    return Outcome("done", metrics[job.metric], metrics, epochs=by_epoch, notes=notes)


def weighted(job: Job, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics with the objective among them, which may be a weighted sum of others.

    Raises `KeyError` if the workload does not report it.
    """
    for name in job.weights or [job.metric]:
        if name not in metrics:
            raise KeyError(f"the workload reports {', '.join(metrics)}, and not the objective {name!r}")
    if not job.weights:
        return dict(metrics)
    return {**metrics, job.metric: sum(weight * metrics[name] for name, weight in job.weights.items())}


def _train(
    workload: Trainable, state: Any, job: Job, assignment: Assignment
) -> tuple[Any, list[dict[str, float]]]:
    """Train a leg within the time limit; return the trained state, and the mean loss of each epoch.

    There are none for a workload that yields no losses.
    """
    clock = _Clock(job, assignment.epochs)
    if not workload.continues:
        for epoch in range(assignment.epochs):
            if epoch:
                again = assignment.hyperparameters, assignment.training_seed + epoch
                state = workload.begin(*again, workload.checkpoint(state))
            _train_epoch(workload, state, clock, None)
        return state, []
    epochs: list[dict[str, float]] = []
    left = job.steps
    while left is None or left > 0:
        if isinstance(state, Training):
            state.epoch = assignment.epoch + len(epochs)
        count, losses = _train_epoch(workload, state, clock, left)
        epochs.append({"train_loss": mean_of(losses)} if losses else {})
        if left is not None:
            if not count:
                raise RuntimeError("the workload trains no batch, so that its steps cannot be counted")
            left -= count
        elif len(epochs) == assignment.epochs:
            break
    return state, epochs


def _train_epoch(
    workload: Trainable, state: Any, clock: "_Clock", most: int | None
) -> tuple[int, list[torch.Tensor]]:
    """Train one epoch, or its first `most` steps; return how many steps there were, and their losses."""
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
        if count == most:
            steps.close()
            break
    return count, losses


def _last_of(epochs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The training loss of the last epoch; nothing if losses are not known."""
    return dict(epochs[-1]) if epochs else {}


class _Clock:
    """The time limit of a leg."""

    def __init__(self, job: Job, epochs: int) -> None:
        self._each, self._limit = job.epoch_timeout_s, job.leg_timeout_s(epochs)
        self._began = time.monotonic()

    def overran(self) -> bool:
        return self._limit is not None and time.monotonic() - self._began > self._limit

    def error(self) -> TimeoutError:
        return TimeoutError(f"the epoch took longer than limits.epoch_timeout_s = {self._each:g}")
