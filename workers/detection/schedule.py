"""Learning rates and momentum of a whole training, as functions of the position in it."""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

from evodevo.evolution import restarts

Shape = Literal["cosine", "linear"]


class Settings(NamedTuple):
    rate: float
    bias_rate: float
    momentum: float


def settings(epoch: float, epochs: int, shape: Shape, recipe: Mapping[str, float], step: int = 0) -> Settings:
    """What holds at a position in a training of `epochs` epochs, both counted from 0, in parts of epochs.

    In the first `warmup_epochs` rates and momentum go linearly to what the schedule has there: rates from 0,
    those of biases from `warmup_bias_lr`, the momentum from `warmup_momentum` (YOLOv5). recipe: the names of
    `recipe.OPTIMISER` and `recipe.SCHEDULE`. step: steps of the optimizer before this position.
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
    """The learning rate of cosines with warm restarts down to `restart_min`, which is the same for all.

    Without a length the whole training is one cycle.
    """
    length = {"restart_epochs": float(epochs)} if not recipe["restart_steps"] else {}
    names = (*restarts.LENGTHS, *restarts.OTHERS)
    found = restarts.of({**length, **{name: recipe[name] for name in names if recipe[name] > 0}})
    assert found is not None
    cycles, in_steps = found
    return cycles.value(step if in_steps else epoch, recipe["lr0"])


def factor(epoch: float, epochs: int, shape: Shape, recipe: Mapping[str, float]) -> float:
    """Of lr0: from 1 to `lrf`, in a straight line, in half a cosine, or in several with warm restarts.

    The latter as in Loshchilov and Hutter 2017 (arXiv 1608.03983): the first of `restart_epochs`, each next
    one `restart_multiplier` times as long and beginning `restart_decay` times as high.
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
