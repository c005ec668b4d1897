"""Recombine three parents exactly as in the original paper.

Vose et al. 2019, "Recombination of Artificial Neural Networks", arXiv 1901.03900, sections 3 and 4: squared
fitness, single-locus crossover, four-way mutation, no elite. The paper gives no sigma.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, Field

from evodevo.evolution.fitness import Shape
from evodevo.evolution.mutation import FOUR_WAYS
from evodevo.evolution.mutation import Kind as MutationKind
from evodevo.evolution.space import FloatLocus, Genome, Value
from evodevo.evolution.strategies.tri_parent import TriParent, TriParentOptions


class Vose2019Options(TriParentOptions):
    initial_spread: float = Field(default=0.15, gt=0, le=1)
    """Standard deviation of the spread, as a fraction of each locus' range (on its scale)."""
    fitness: Shape = "squared"
    survivors: float = Field(default=0.0, ge=0, lt=1)
    mutation: MutationKind = "four_way"
    mutation_rate: float = Field(default=0.05, ge=0, le=1)


class Vose2019(TriParent):
    Options: ClassVar[type[BaseModel]] = Vose2019Options
    default_search: ClassVar[Mapping[str, Any]] = {}
    options_from_scratch: ClassVar[Mapping[str, Any]] = {}

    def _mutated(self, genome: Genome, draw: np.random.Generator) -> dict[str, Value]:
        """Mutate like `four_way`, but by a fraction of the value on linear scales, too."""
        if self.options.mutation != "four_way":
            return super()._mutated(genome, draw)
        mutated = dict(genome)
        for name, locus in self.space.loci.items():
            if draw.random() >= self.options.mutation_rate:
                continue
            low, high = FOUR_WAYS[int(draw.integers(len(FOUR_WAYS)))]
            factor, value = 1.0 + draw.uniform(low, high), genome[name]
            if isinstance(locus, FloatLocus) and value:
                assert isinstance(value, float)
                mutated[name] = min(max(value * factor, locus.low), locus.high)
            else:  # a product with zero stays zero
                mutated[name] = locus.step(value, factor, draw)
        return mutated
