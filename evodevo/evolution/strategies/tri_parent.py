"""Tri-parent recombination: two parents give hyperparameters, a third gives parameters.

Vose et al. 2019, "Recombination of Artificial Neural Networks", arXiv 1901.03900. The reference strategy.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import BaseModel, Field

from evodevo.evolution.crossover import Kind, complementary
from evodevo.evolution.fitness import DEFAULT_SIGMA, relative_fitness
from evodevo.evolution.mutation import four_way
from evodevo.evolution.selection import proportional
from evodevo.evolution.strategies import base


class TriParentOptions(base.CommonOptions):
    sigma: float = Field(default=DEFAULT_SIGMA, ge=0, le=700)
    """Selection pressure: the worst has fitness exp(-sigma), above 0 up to 700. The paper gives no value."""
    crossover_rate: float = Field(default=0.33, ge=0, le=1)
    crossover: Kind = "single_locus"
    keep: Literal["one", "both"] = "one"
    """Of two complementary genotypes, one at random; or both, a child for each (neighbouring slots)."""
    mutation_rate: float = Field(default=0.05, ge=0, le=1)


class TriParent(base.Strategy):
    Options: ClassVar[type[BaseModel]] = TriParentOptions
    options: TriParentOptions

    def birth(self, generation: int, slot: int, parents: base.Population) -> base.Birth:
        pair = slot - slot % 2 if self.options.keep == "both" else slot
        mating = self.stream(generation, pair, "mating")
        a = parents.members[proportional(parents.fitness, mating)]
        b = parents.members[proportional(parents.fitness, mating)]
        genotypes = complementary(
            a.birth.genome, b.birth.genome, self.options.crossover_rate, self.options.crossover, mating
        )
        kept = slot - pair if self.options.keep == "both" else int(mating.integers(2))
        alpha = parents.members[proportional(parents.fitness, self.stream(generation, slot, "alpha"))]
        genome = four_way(
            self.space, genotypes[kept], self.options.mutation_rate, self.stream(generation, slot, "mutation")
        )
        return base.Birth(genome, parent_a=a.id, parent_b=b.id, parent_params=alpha.id)

    def fitness(self, foms: Sequence[float | None]) -> list[float]:
        return relative_fitness(foms, self.mode, self.options.sigma)
