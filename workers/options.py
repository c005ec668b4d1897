"""Checks of what a workload sets as attributes of its class, before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from evodevo.errors import UsageError
from workers.training import Training

if TYPE_CHECKING:
    from workers.workload import Workload


def check(workload: Workload) -> None:
    """Raise `UsageError` naming the attribute that cannot be."""
    if workload.batch_size < 1:
        raise UsageError(f"workload.options.batch_size: should be 1 or more, not {workload.batch_size}")
    if workload.accumulate < 1:
        raise UsageError(f"accumulate: should be 1 or more, not {workload.accumulate}")
    for name in ("clip_norm", "average_half_life"):
        value = getattr(workload, name)
        if value is not None and not value > 0:
            raise UsageError(f"{name}: should be greater than 0, or None for none, not {value}")
    if workload.autocast not in (None, torch.bfloat16, torch.float16):
        raise UsageError(
            f"autocast: should be torch.bfloat16, torch.float16 or None, not {workload.autocast}"
        )
    if workload.scheduler_per not in ("epoch", "step"):
        raise UsageError(f"scheduler_per: should be 'epoch' or 'step', not {workload.scheduler_per!r}")


def check_schedule(workload: Workload, training: Training) -> None:
    """Raise `UsageError` if what sets the learning rate cannot be as it is."""
    count = training.steps_per_epoch
    if "anneal" in training.hyperparameters:
        if training.scheduler is not None:
            raise UsageError(
                "a locus `anneal` and a scheduler both set the learning rate; leave one of them out"
            )
        if count is None:
            raise UsageError("a locus `anneal` needs training data with a length")
    if training.scheduler is None or workload.scheduler_per == "step" or training.leg.steps is None:
        return
    if count is not None and training.leg.steps < count * workload.accumulate:
        raise UsageError(
            f"search.steps_per_generation: is {training.leg.steps}, so that no epoch comes to its end, and "
            "the scheduler makes its step at the end of an epoch; set scheduler_per to 'step'"
        )
