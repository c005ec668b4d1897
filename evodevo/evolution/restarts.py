"""Cosine annealing with warm restarts (SGDR, Loshchilov and Hutter 2017, arXiv 1608.03983). Pure."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

LENGTHS = ("restart_steps", "restart_epochs")
"""Hyperparameters with the length of the first cycle, in optimizer steps or epochs; 0: no restarts."""
OTHERS = {"restart_multiplier": 1.0, "restart_decay": 1.0, "restart_min": 0.0}
"""Hyperparameters for the other fields of `Restarts`, with their defaults."""


class Restarts(NamedTuple):
    """Cycles of half a cosine each, from a peak down to a common floor.

    The value at t of a cycle of length T is floor + (peak - floor) (1 + cos(pi t / T)) / 2, where the peak is
    the first one times decay^cycle, and each cycle is `multiplier` times as long as the one before. Lengths
    and positions share any unit. Peaks do not decay below the floor; if the first peak is below it, the value
    is constant.
    """

    length: float
    multiplier: float = 1.0
    decay: float = 1.0
    floor: float = 0.0

    def value(self, position: float, peak: float) -> float:
        """Return the value at a position of 0 or more; the first cycle begins at `peak`."""
        cycle, fraction = self.cycle(position)
        floor = min(self.floor, peak)
        top = max(peak * self.decay**cycle, floor)
        return floor + (top - floor) * 0.5 * (1 + math.cos(math.pi * fraction))

    def cycle(self, position: float) -> tuple[int, float]:
        """Return the index of the cycle at a position, and the fraction of it that has passed, in [0, 1)."""
        if self.multiplier == 1:
            return int(position // self.length), position % self.length / self.length
        number, length = 0, self.length
        while position >= length:
            position, number, length = position - length, number + 1, length * self.multiplier
        return number, position / length


def of(hyperparameters: Mapping[str, Any]) -> tuple[Restarts, bool] | None:
    """Return the restarts of a member's hyperparameters, and whether their unit is steps; None without any.

    The first peak is the learning rate. Raises `ValueError`, naming the invalid hyperparameter.
    """
    steps, epochs = (_number(hyperparameters, name, 0.0) for name in LENGTHS)
    if not steps and not epochs:
        return None
    if steps and epochs:
        raise ValueError(
            "restart_steps and restart_epochs both give the length of a cycle; leave one of them out"
        )
    multiplier, decay, floor = (_number(hyperparameters, name, value) for name, value in OTHERS.items())
    if multiplier < 1:
        raise ValueError(f"restart_multiplier: should be 1 or more, not {multiplier:g}")
    return Restarts(steps or epochs, multiplier, decay, floor), bool(steps)


def _number(hyperparameters: Mapping[str, Any], name: str, default: float) -> float:
    value = hyperparameters.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError(f"{name}: should be a number of 0 or more, not {value!r}")
    return value
