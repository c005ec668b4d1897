"""Who becomes a parent."""

from collections.abc import Sequence

import numpy as np


def proportional(fitness: Sequence[float], rng: np.random.Generator) -> int:
    """Draw a position with probability proportional to its fitness.

    Raises `ValueError` where every fitness is 0: nobody is left to be a parent.
    """
    total = sum(fitness)
    if not total > 0:
        raise ValueError("no member of the generation has a fitness above 0")
    return int(rng.choice(len(fitness), p=np.asarray(fitness) / total))
