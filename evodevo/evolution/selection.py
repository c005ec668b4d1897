"""Select parents in proportion to their fitness, and count those that a fraction of a population is."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class RouletteWheel:
    """Fitness-proportional selection; each draw costs O(log n).

    Draws equal those of `Generator.choice` with probabilities `fitness / sum(fitness)`.
    """

    def __init__(self, fitness: Sequence[float] | NDArray[np.float64]) -> None:
        """Create a wheel with a share for each position. Raises `ValueError` if every fitness is 0."""
        values = np.asarray(fitness, dtype=np.float64)
        total = values.cumsum()[-1] if values.size else 0.0  # added one by one, like Python's sum
        if not total > 0:
            raise ValueError("no member of the generation has a fitness above 0")
        self._cdf = (values / total).cumsum()
        self._cdf /= self._cdf[-1]

    def draw(self, rng: np.random.Generator) -> int:
        """Return a position, drawn with probability proportional to its fitness."""
        return int(self._cdf.searchsorted(rng.random(), side="right"))


def rounded_down(count: float) -> int:
    """Return a count rounded down; 28.999999999999996, which is 0.29 * 100, gives 29."""
    return math.floor(count + 1e-9)


def rounded_up(count: float) -> int:
    """Return a count rounded up; 6.000000000000001, as a fraction of a population can be, gives 6."""
    return math.ceil(count - 1e-9)
