"""Mutate genomes; bounds and types are handled by the loci (`step` in space.py)."""

import math
from typing import Literal

import numpy as np

from evodevo.evolution.space import Genome, Space, StepLocus, Value

Kind = Literal["four_way", "log_normal", "self_adaptive"]
STEP = "mutation_step"
"""Name of the gene of `self_adaptive`."""
SMALLEST_STEP, LARGEST_STEP = 0.01, 2.0

FOUR_WAYS = ((-0.01, 0.0), (0.0, 0.01), (0.10, 0.20), (-0.20, -0.10))


def four_way(space: Space, genome: Genome, rate: float, rng: np.random.Generator) -> dict[str, Value]:
    """Mutate each locus with probability `rate`, in one of four equally likely ways.

    These are down 0-1 %, up 0-1 %, up 10-20 % and down 10-20 % of the value (Vose et al. 2019).
    """
    mutated = dict(genome)
    for name, locus in space.loci.items():
        if rng.random() < rate:
            low, high = FOUR_WAYS[int(rng.integers(len(FOUR_WAYS)))]
            mutated[name] = locus.step(genome[name], 1.0 + rng.uniform(low, high), rng)
    return mutated


def log_normal(
    space: Space, genome: Genome, rate: float, step: float, rng: np.random.Generator
) -> dict[str, Value]:
    """Mutate each locus with probability `rate`: multiply its value by exp(step * N(0, 1)).

    Changes up and down by the same ratio are equally likely; two in three are within a factor of exp(step).
    For loci that are not real numbers, see their `drift` in space.py.
    """
    mutated = dict(genome)
    for name, locus in space.loci.items():
        if rng.random() < rate:
            mutated[name] = locus.drift(genome[name], step, rng)
    return mutated


def self_adaptive(space: Space, genome: Genome, rate: float, rng: np.random.Generator) -> dict[str, Value]:
    """Mutate the genome's own step, and then each other locus by `log_normal` with the new step.

    step' = step * exp(N(0, 1) / sqrt(n)) for n evolving loci: a step that finds good children is inherited
    with them (Beyer and Schwefel 2002, "Evolution strategies", section 4.2.1).
    """
    others = Space({name: locus for name, locus in space.loci.items() if name != STEP})
    count = sum(locus.evolves for locus in others.loci.values())
    factor = math.exp(rng.standard_normal() / math.sqrt(max(1, count)))
    step = space.loci[STEP].step(genome[STEP], factor, rng)
    rest = {name: genome[name] for name in others.loci}
    return {**genome, **log_normal(others, rest, rate, step, rng), STEP: step}


def step_locus(initial: float) -> StepLocus:
    """Return the locus of the step of `self_adaptive`."""
    return StepLocus(low=SMALLEST_STEP, high=LARGEST_STEP, initial=initial)


def explore(
    space: Space, genome: Genome, resample_probability: float, rng: np.random.Generator
) -> dict[str, Value]:
    """Multiply every locus by 0.8 or 1.2, or resample it (Jaderberg et al. 2017, arXiv 1711.09846)."""
    explored = {}
    for name, locus in space.loci.items():
        factor = (0.8, 1.2)[int(rng.integers(2))]
        if rng.random() < resample_probability:
            explored[name] = locus.sample(rng)
        else:
            explored[name] = locus.step(genome[name], factor, rng)
    return explored


def redrawn(
    space: Space, genome: Genome, rate: float, gene_rate: float | None, rng: np.random.Generator
) -> dict[str, Value]:
    """Mutate a genome with probability `rate`: resample each evolving gene with probability `gene_rate`.

    gene_rate: by default 1 / number of evolving genes (Nielsen 2019, NaturalSelection).
    """
    genes = [name for name, locus in space.loci.items() if locus.evolves]
    if not genes or rng.random() >= rate:
        return dict(genome)
    each = 1 / len(genes) if gene_rate is None else gene_rate
    return {**genome, **{name: space.loci[name].sample(rng) for name in genes if rng.random() < each}}
