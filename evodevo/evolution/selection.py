"""Who becomes a parent."""

from collections.abc import Sequence

import numpy as np


class RouletteWheel:
    """Fitness-proportional selection; each draw costs O(log n).

    The draws are those of `Generator.choice` with probabilities `fitness / sum(fitness)`.
    """

    def __init__(self, fitness: Sequence[float]) -> None:
        """Raise `ValueError` if every fitness is 0: nobody is left to be a parent."""
        total = sum(fitness)
        if not total > 0:
            raise ValueError("no member of the generation has a fitness above 0")
        self._cdf = (np.asarray(fitness) / total).cumsum()
        self._cdf /= self._cdf[-1]

    def draw(self, rng: np.random.Generator) -> int:
        """Return a position, drawn with probability proportional to its fitness."""
        return int(self._cdf.searchsorted(rng.random(), side="right"))
