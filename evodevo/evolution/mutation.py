"""How a value changes. Bounds and types are the locus' own business (`step` in space.py)."""

import numpy as np

from evodevo.evolution.space import Genome, Space, Value

FOUR_WAYS = ((-0.01, 0.0), (0.0, 0.01), (0.10, 0.20), (-0.20, -0.10))


def four_way(space: Space, genome: Genome, rate: float, rng: np.random.Generator) -> dict[str, Value]:
    """Mutate each locus with probability `rate`, in one of four ways, each as likely as the others.

    Down 0-1 %, up 0-1 %, up 10-20 % or down 10-20 % of the value (Vose et al. 2019).
    """
    mutated = dict(genome)
    for name, locus in space.loci.items():
        if rng.random() < rate:
            low, high = FOUR_WAYS[int(rng.integers(len(FOUR_WAYS)))]
            mutated[name] = locus.step(genome[name], 1.0 + rng.uniform(low, high), rng)
    return mutated


def explore(
    space: Space, genome: Genome, resample_probability: float, rng: np.random.Generator
) -> dict[str, Value]:
    """Perturb every locus by 0.8 or 1.2, or draw it anew (Jaderberg et al. 2017, arXiv 1711.09846)."""
    explored = {}
    for name, locus in space.loci.items():
        factor = (0.8, 1.2)[int(rng.integers(2))]
        if rng.random() < resample_probability:
            explored[name] = locus.sample(rng)
        else:
            explored[name] = locus.step(genome[name], factor, rng)
    return explored
