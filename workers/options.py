"""Checks of a workload's attributes before anything is trained."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import torch

from evodevo.errors import UsageError
from workers.steps import restarts_of
from workers.training import Training

if TYPE_CHECKING:
    from workers.workload import Workload


def check(workload: Workload) -> None:
    """Raise `UsageError` for an invalid attribute."""
    if workload.batch_size < 1:
        raise UsageError(f"workload.options.batch_size: should be 1 or more, not {workload.batch_size}")
    if workload.accumulate < 1:
        raise UsageError(f"accumulate: should be 1 or more, not {workload.accumulate}")
    for name in ("clip_norm", "average_half_life"):
        value = getattr(workload, name)
        if value is not None and not value > 0:
            raise UsageError(f"{name}: should be greater than 0, or None to disable it, not {value}")
    if workload.autocast not in (None, torch.bfloat16, torch.float16):
        raise UsageError(
            f"autocast: should be torch.bfloat16, torch.float16 or None, not {workload.autocast}"
        )
    if workload.capture not in ("auto", "never"):
        raise UsageError(f"capture: should be 'auto' or 'never', not {workload.capture!r}")
    if workload.scheduler_per not in ("epoch", "step"):
        raise UsageError(f"scheduler_per: should be 'epoch' or 'step', not {workload.scheduler_per!r}")


def misspelt(workload: Any) -> list[str]:
    """Return a warning for each attribute or method whose name is close to one of `Workload`'s."""
    base = next((kind for kind in type(workload).__mro__ if kind.__name__ == "Workload"), None)
    if base is None:
        return []
    known = [name for name in dir(base) if not name.startswith("_")]
    kind = type(workload)
    classes = kind.__mro__[: kind.__mro__.index(base)]
    own = {name for one in classes for name in vars(one)}
    found = []
    for name in sorted(own | vars(workload).keys()):
        near = get_close_matches(name, known, n=1, cutoff=0.8)
        if near and name not in known and not name.startswith("_"):
            found.append(f"{kind.__name__}.{name} means nothing to evodevo; did you mean {near[0]}?")
    return found


def check_schedule(workload: Workload, training: Training) -> None:
    """Raise `UsageError` if the settings of the learning rate's schedule contradict each other."""
    count = training.steps_per_epoch
    if restarts_of(training.hyperparameters) is not None:
        if training.scheduler is not None or "anneal" in training.hyperparameters:
            other = "a scheduler" if training.scheduler is not None else "a locus `anneal`"
            raise UsageError(f"restarts and {other} both set the learning rate; leave one of them out")
        if count is None:
            raise UsageError("restarts of the learning rate need training data with a length")
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
            f"search.steps_per_generation: is {training.leg.steps}, so no epoch is completed, but the "
            "scheduler steps at the end of an epoch; set scheduler_per to 'step'"
        )
