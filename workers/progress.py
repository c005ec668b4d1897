"""Progress of a life while a leg is trained: steps, seconds, FLOPs, and the conditions that end it early."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from evodevo.run.records import Assignment, Job
from workers import batches
from workers.build import Trainable
from workers.ensemble import single
from workers.preload import current_device
from workers.seeding import Randomness, derived, seed_all
from workers.target import Standing
from workers.training import Training

if TYPE_CHECKING:
    from workers.leg import Stopwatch

SYNC_S = 0.1
"""Interval of reading the clock on a GPU, which requires waiting for its kernels."""


def evaluated(job: Job, workload: Trainable, state: Any) -> dict[str, float]:
    """Return the metrics of the validation split, evaluated with the same random numbers for every member."""
    seed_all(derived(job.seed, "evaluate"), current_device())
    return workload.evaluate(state, "validation")


def wait_for_kernels() -> None:
    """Wait until the device has finished this member's kernels, so that their time counts as training."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.current_stream().synchronize()


@contextlib.contextmanager
def undisturbed(workload: Any, state: Any) -> Iterator[None]:
    """Let a member be evaluated within the block, in the middle of an epoch, without affecting its training.

    All random generators, including those of the training data, and the modes of the modules are restored.
    """
    here = Randomness(current_device())
    splits = getattr(workload, "splits", None)
    own = batches.generators(splits.train) if splits is not None else []
    states = [generator.get_state() for generator in own]
    parts = state.parts().values() if isinstance(state, Training) else ()
    modes = [
        (module, module.training)
        for part in parts
        if isinstance(part, nn.Module)
        for module in part.modules()
    ]
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for generator, was in zip(own, states, strict=True):
            generator.set_state(was)
        here.restore()


def flops_of_step(
    workload: Any, hyperparameters: Mapping[str, Any], seed: int, leg: Any, state: Any = None
) -> float:
    """Return the FLOPs of one training step, according to torch's counter, of a member made for that.

    Matrix products, convolutions and attention count, forward and backward; elementwise operations and the
    optimizer do not. `state` is the member in training, which is left unchanged.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with undisturbed(workload, state), _eager(workload):
        member = workload.begin(hyperparameters, seed, None, leg)
        steps = workload.train(member)
        with FlopCounterMode(display=False) as counter:
            next(steps, None)
        steps.close()
    return float(counter.get_total_flops())


@contextlib.contextmanager
def _eager(workload: Any) -> Iterator[None]:
    """Disable captured steps within the block, as the counter does not see the operations of a graph."""
    before = vars(workload).get("capture")
    workload.capture = "never"
    try:
        yield
    finally:
        if before is None:
            del workload.capture
        else:
            workload.capture = before


def crowding() -> str | None:
    """Return a remark if this machine's load exceeds its cores, or None."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return f"the load average is {load:.1f} with {cores} cores" if load > cores + 1 else None


class Progress:
    """The progress of a life during one leg; `over` says that the life ends in it, whatever legs were left.

    `steps` counts the batches of the life. `latest` are the metrics of the last evaluation if no step
    followed it.
    """

    def __init__(self, job: Job, assignment: Assignment, workload: Any, state: Any, watch: Stopwatch) -> None:
        self._job, self._workload, self._state, self._watch = job, workload, state, watch
        self._before = assignment.progress
        self._until = assignment.until_step
        self._standing = Standing(job.target, self._before) if job.target else None
        self._cost = job.target["cost"] if job.target else None
        self._counts = bool(job.ends_early or job.accounts)
        self._looked_at_s = 0.0
        self.steps = int(self._before.get("steps", 0))
        self.ends_early = self._until is not None if assignment.remakes else job.ends_early
        self.over = False
        self.latest: dict[str, float] | None = None
        self.notes: list[str] = []
        self.flops_of_step: float | None = None
        if self._cost == "seconds" and (crowded := crowding()):
            self.notes.append(f"timed on a machine that is shared: {crowded}")
        if not assignment.remakes and (job.accounts or self._cost == "flops"):
            self._count_flops(assignment)

    def _count_flops(self, assignment: Assignment) -> None:
        own = assignment.hyperparameters, assignment.training_seed
        try:
            leg = self._state.leg
            self.flops_of_step = flops_of_step(single(self._workload), *own, leg, self._state)
        except Exception as why:
            if self._cost == "flops":
                raise
            self.notes.append(f"FLOPs are not counted: {type(why).__name__}: {why}")
        if self._cost == "flops" and not self.flops_of_step:
            raise RuntimeError(
                "torch's counter finds no FLOPs in a training step; set objective.target.cost to steps"
            )

    def after_step(self) -> bool:
        """Count a step, evaluate if that is due, and return whether the training ends."""
        self.steps += 1
        self.latest = None
        if self._until is not None:
            self.over = self.steps >= self._until
        elif self.ends_early:
            if self._standing and self._standing.is_due(self.steps):
                self._evaluate(self._standing)
            self.over = self.over or self._is_used_up()
        return self.over

    def _evaluate(self, standing: Standing) -> None:
        wait_for_kernels()
        self._watch.switch("eval")
        state = self._state
        if isinstance(state, Training) and state.fetch is not None:
            state.fetch()
        with undisturbed(self._workload, state):
            metrics = evaluated(self._job, self._workload, state)
        cost = self._cost_so_far()
        self._watch.switch("train")
        standing.take(metrics, cost)
        self.over = standing.reached_at is not None or not standing.is_finite(metrics)
        if not (isinstance(state, Training) and state.pending):
            self.latest = metrics

    def _is_used_up(self) -> bool:
        """Return whether the limits allow no further step."""
        limit, most = self._standing.limit if self._standing else None, self._job.member_time_s
        if limit is not None and self._cost != "seconds":
            each = 1.0 if self._cost == "steps" else self.flops_of_step or 0.0
            if each * (self.steps + 1) > limit:
                return True
            limit = None
        if limit is None and most is None:
            return False
        seconds = self._seconds()
        if most is not None and seconds >= most:
            self.notes.append(f"ended by limits.member_time_s after {self.steps} steps")
            return True
        return limit is not None and seconds >= limit

    def _seconds(self) -> float:
        """Return the seconds of training so far; on a GPU they may be up to `SYNC_S` old."""
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            if self._watch.seconds_of("train") - self._looked_at_s < SYNC_S:
                return self._before.get("seconds", 0.0) + self._looked_at_s
            wait_for_kernels()
        self._looked_at_s = self._watch.seconds_of("train")
        return self._before.get("seconds", 0.0) + self._looked_at_s

    def _cost_so_far(self) -> float:
        if self._cost == "steps":
            return float(self.steps)
        if self._cost == "flops":
            return (self.flops_of_step or 0.0) * self.steps
        return self._before.get("seconds", 0.0) + self._watch.seconds_of("train")

    def completed(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return the metrics at the end of a leg, with the life's figure of merit and accounts added."""
        found = dict(metrics)
        if self._standing:
            self._standing.see(metrics)
            found = {**found, self._job.metric: self._standing.fom(), "steps": float(self.steps)}
        if self._job.accounts and isinstance(self._state, Training):
            found["parameters"] = float(sum(p.numel() for p in self._state.model.parameters()))
            if self.flops_of_step:
                found["flops"] = self.flops_of_step * self.steps
        return found

    def has_diverged(self, metrics: Mapping[str, float]) -> bool:
        """Return whether a goal's metric is not finite."""
        return self._standing is not None and not self._standing.is_finite(metrics)

    def in_numbers(self) -> dict[str, float]:
        """Return the contents of `Outcome.progress`."""
        if not self._counts:
            return {}
        seconds = self._before.get("seconds", 0.0) + self._watch.seconds_of("train")
        found = {"steps": self.steps, "seconds": round(seconds, 6)}
        if self.flops_of_step:
            found["flops"] = self.flops_of_step * self.steps
        if self._standing:
            found |= {"in_a_row": self._standing.in_a_row, "shortfall": self._standing.shortfall}
        return found
