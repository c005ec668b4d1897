"""One member's epoch on a worker: load, train, evaluate, publish."""

import math
import time
import traceback
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from evodevo.run import files
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.records import Assignment, CheckpointRef, Job, Outcome
from workers.build import Trainable
from workers.cache import read_checkpoint, remember_checkpoint, workload_for

ERROR_TAIL_CHARACTERS = 8000


def run_epoch(assignment: Assignment) -> Outcome:
    """Carry out one attempt.

    What the workload raises becomes a failed outcome, with its traceback. An `OSError` is raised: a disk,
    a file or a time limit may do better at the next attempt.
    """
    try:
        return _run_epoch(assignment)
    except OSError:
        raise
    except (Exception, SystemExit):
        return Outcome("failed", error=traceback.format_exc()[-ERROR_TAIL_CHARACTERS:])


def _run_epoch(assignment: Assignment) -> Outcome:
    job = assignment.job
    store = CheckpointStore(job.checkpoints_url)
    watch = _Stopwatch()

    torch.set_num_threads(job.threads)
    workload = workload_for(job)
    parent = read_checkpoint(store, assignment.parent) if assignment.parent else None
    state = workload.begin(assignment.hyperparameters, assignment.training_seed, parent)
    watch.lap("load")

    train_loss = _train(workload, state, job.epoch_timeout_s)
    watch.lap("train")

    data = workload.checkpoint(state)

    def publish() -> tuple[CheckpointRef | None, float]:
        began = time.monotonic()
        ref = None if data is None else store.publish(assignment.checkpoint_stem, data, workload.suffix)
        return ref, time.monotonic() - began

    with ThreadPoolExecutor(1) as publisher:
        publishing = publisher.submit(publish)
        watch.lap("save")
        metrics = {**train_loss, **workload.evaluate(state, "validation")}
        watch.lap("eval")
        ref, publish_s = publishing.result()
        hidden_s = max(0.0, publish_s - watch.lap("save"))
    if ref is not None and data is not None:
        remember_checkpoint(store, ref, data)

    for name in job.weights or [job.metric]:
        if name not in metrics:
            raise KeyError(f"the workload reports {', '.join(metrics)}, and not the objective {name!r}")
    if job.weights:
        metrics[job.metric] = sum(weight * metrics[name] for name, weight in job.weights.items())
    finite = _finite(metrics)
    if job.metric not in finite:
        return Outcome("diverged", metrics=finite, seconds=watch.seconds)
    return Outcome("done", finite[job.metric], finite, ref, watch.seconds, hidden_s=round(hidden_s, 6))


def examine(
    job: Job, ref: CheckpointRef, hyperparameters: Mapping[str, Any], exhibits_dir: str
) -> dict[str, float]:
    """The finite metrics of a published checkpoint on the test split; empty where the workload has none.

    What the workload has to show of it (pictures, texts) is written to `exhibits_dir`.
    """
    torch.set_num_threads(job.threads)
    workload = workload_for(job)
    state = workload.begin(hyperparameters, 0, read_checkpoint(CheckpointStore(job.checkpoints_url), ref))
    metrics = _finite(workload.evaluate(state, "test"))
    for name, data in workload.exhibits(state).items():
        path = Path(exhibits_dir, name)
        path.parent.mkdir(exist_ok=True)
        files.replace(path, data)
    return metrics


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _train(workload: Trainable, state: Any, timeout_s: float | None) -> dict[str, float]:
    """Train one epoch, within the time limit; returns the mean loss where the workload yields losses."""
    began = time.monotonic()
    losses = []
    steps = workload.train(state)
    for loss in steps:
        if loss is not None:
            losses.append(torch.as_tensor(loss))
        if timeout_s is not None and time.monotonic() - began > timeout_s:
            steps.throw(TimeoutError(f"the epoch took longer than limits.epoch_timeout_s = {timeout_s:g}"))
    return {"train_loss": float(torch.stack(losses).mean())} if losses else {}


class _Stopwatch:
    """Adds up the seconds of each part of an epoch."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(("load", "train", "eval", "save"), 0.0)
        self._last = time.monotonic()

    def lap(self, part: str) -> float:
        """Count the time since the last lap as `part`; returns it."""
        now = time.monotonic()
        lap, self._last = now - self._last, now
        self.seconds[part] = round(self.seconds[part] + lap, 6)
        return lap
