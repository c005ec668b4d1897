"""Learning rates and momentum as functions of the position in a whole training."""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

from evodevo.evolution import restarts

Shape = Literal["cosine", "linear"]


class Settings(NamedTuple):
    """Learning rates, of biases and of the rest, and momentum."""

    rate: float
    bias_rate: float
    momentum: float


def settings(epoch: float, epochs: int, shape: Shape, recipe: Mapping[str, float], step: int = 0) -> Settings:
    """Return the settings at `epoch`, which may be fractional, of a training of `epochs` epochs.

    In the first `warmup_epochs` rates and momentum move linearly to the schedule's values: rates from 0,
    those of biases from `warmup_bias_lr`, the momentum from `warmup_momentum` (YOLOv5). recipe: the names of
    `recipe.OPTIMISER` and `recipe.SCHEDULE`. step: number of optimizer steps before this position.
    """
    if recipe["restart_steps"] > 0 or recipe["restart_min"] > 0:
        rate = restarted(epoch, epochs, step, recipe)
    else:
        rate = recipe["lr0"] * factor(epoch, epochs, shape, recipe)
    warm = min(1.0, epoch / recipe["warmup_epochs"]) if recipe["warmup_epochs"] > 0 else 1.0
    return Settings(
        warm * rate,
        recipe["warmup_bias_lr"] + warm * (rate - recipe["warmup_bias_lr"]),
        recipe["warmup_momentum"] + warm * (recipe["momentum"] - recipe["warmup_momentum"]),
    )


def restarted(epoch: float, epochs: int, step: int, recipe: Mapping[str, float]) -> float:
    """Return the learning rate of cosines with warm restarts, each down to `restart_min`.

    Without a length the whole training is one cycle.
    """
    length = {"restart_epochs": float(epochs)} if not recipe["restart_steps"] else {}
    names = (*restarts.LENGTHS, *restarts.OTHERS)
    found = restarts.of({**length, **{name: recipe[name] for name in names if recipe[name] > 0}})
    assert found is not None
    cycles, in_steps = found
    return cycles.value(step if in_steps else epoch, recipe["lr0"])


def factor(epoch: float, epochs: int, shape: Shape, recipe: Mapping[str, float]) -> float:
    """Return the factor of lr0: from 1 to `lrf`, linearly, in half a cosine, or in cycles with warm restarts.

    Cycles are as in Loshchilov and Hutter 2017 (arXiv 1608.03983): the first lasts `restart_epochs`, each
    following one is `restart_multiplier` times as long and starts `restart_decay` times as high.
    """
    peak, length = 1.0, float(epochs)
    if recipe["restart_epochs"] > 0:
        length = recipe["restart_epochs"]
        while epoch >= length:
            epoch -= length
            length = max(1.0, length * recipe["restart_multiplier"])
            peak *= recipe["restart_decay"]
    part = min(1.0, epoch / length)
    down = 0.5 * (1 - math.cos(math.pi * part)) if shape == "cosine" else part
    return peak * (1 - down * (1 - recipe["lrf"]))
