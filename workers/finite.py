"""Warn before a run if losses or metrics are not finite after the first batches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

from evodevo.errors import UsageError
from workers.rehearsal import validation_metrics
from workers.seeding import seed_all
from workers.training import Leg
from workers.workload import Workload

BATCHES = 3
SEED = 0
MOST = 2
"""Number of founders that are tried."""


def warnings(
    workload: Any, founders: Sequence[Mapping[str, Any]], leg: Leg, wanted: Sequence[str]
) -> list[str]:
    """Return a warning if the training loss or a wanted metric of a founder is not finite soon, else none.

    The run is not refused, because a search may have founders that diverge.
    """
    if not isinstance(workload, Workload):
        return []
    tried = founders[:MOST]
    found = [said for one in tried if (said := _not_finite(workload, one, leg, wanted))]
    if not found:
        return []
    whose = "all members tried" if len(found) == len(tried) else "one of two members tried"
    return [f"{found[0]} in {whose}; lower the learning rate, or check the data for NaN and infinite values"]


def _not_finite(
    workload: Workload, hyperparameters: Mapping[str, Any], leg: Leg, wanted: Sequence[str]
) -> str | None:
    """Return what is not finite when a new member is trained; None if all is or the member fails."""
    try:
        training = workload.begin(hyperparameters, SEED, None, leg)
        seed_all(SEED, workload.device)
        training.generator.manual_seed(SEED)
        count = 0
        with closing(workload.train(training)) as steps:
            for count, loss in enumerate(islice(steps, BATCHES), start=1):
                if loss is not None and not math.isfinite(loss):
                    return f"the training loss is {float(loss)} after {_batches(count)}"
        metrics = validation_metrics(workload, training)
    except UsageError:
        raise
    except Exception:
        return None
    for name in wanted:
        if not math.isfinite(float(metrics.get(name, 0.0))):
            return f"{name} is {metrics[name]} after {_batches(count)}"
    return None


def _batches(count: int) -> str:
    return f"{count} batch{'es' * (count != 1)}"
