"""Cosine annealing with warm restarts (SGDR, Loshchilov and Hutter 2017, arXiv 1608.03983). Pure."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

NAMES = ("restart_steps", "restart_epochs", "restart_multiplier", "restart_decay", "restart_min")
"""Hyperparameters that set the learning rate of any workload; see `of`."""


class Restarts(NamedTuple):
    """Cycles of half a cosine each, from a peak down to a floor that is the same for all.

    At t of a cycle of length T: floor + (peak - floor) (1 + cos(pi t / T)) / 2, where the peak is the first
    one times decay^cycle, and each cycle is `multiplier` times as long as the one before. Lengths and
    positions have any one unit.
    """

    length: float
    multiplier: float = 1.0
    decay: float = 1.0
    floor: float = 0.0

    def value(self, position: float, peak: float) -> float:
        """Return the value at a position, 0 or more, if the first cycle begins at `peak`."""
        cycle, part = self.cycle(position)
        top = peak * self.decay**cycle
        return self.floor + (top - self.floor) * 0.5 * (1 + math.cos(math.pi * part))

    def cycle(self, position: float) -> tuple[int, float]:
        """Return the number of the cycle at a position, from 0, and how much of it is over, in [0, 1)."""
        if self.multiplier == 1:
            return int(position // self.length), position % self.length / self.length
        number, length = 0, self.length
        while position >= length:
            position, number, length = position - length, number + 1, length * self.multiplier
        return number, position / length


def of(hyperparameters: Mapping[str, Any]) -> tuple[Restarts, bool] | None:
    """Return the restarts that a member's hyperparameters ask for, and whether their unit is steps.

    restart_steps or restart_epochs: the length of the first cycle, in steps of the optimizer or in epochs; 0 or
    left out is none. restart_multiplier: each cycle's length over that before, 1 or more. restart_decay: each
    cycle's peak over that before; the first one is the learning rate. restart_min: the learning rate at the
    end of each cycle. None without restarts. Raises `ValueError`, naming what cannot be.
    """
    steps, epochs = (hyperparameters.get(name, 0.0) for name in NAMES[:2])
    length = steps or epochs
    if not length:
        return None
    if steps and epochs:
        raise ValueError("restart_steps and restart_epochs both give the length of a cycle; leave one out")
    found = Restarts(length, *(hyperparameters.get(name, at) for name, at in zip(NAMES[2:], (1.0, 1.0, 0.0))))
    for name, value, least in zip((NAMES[0] if steps else NAMES[1], *NAMES[2:]), found, (0, 1, 0, 0)):
        if isinstance(value, bool | str) or value < least:
            raise ValueError(f"{name}: should be {least or 'more than 0' if name == NAMES[0] else least} or more, not {value!r}")
    return found, bool(steps)
