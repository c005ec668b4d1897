"""Recombine three parents: two give hyperparameters, the third gives parameters. The default strategy.

Vose et al. 2019, "Recombination of Artificial Neural Networks", arXiv 1901.03900.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, Field

from evodevo.evolution.crossover import Kind, complementary
from evodevo.evolution.fitness import DEFAULT_SIGMA, Foms, Shape, relative_fitness
from evodevo.evolution.mutation import (
    LARGEST_STEP,
    SMALLEST_STEP,
    STEP,
    four_way,
    log_normal,
    self_adaptive,
    step_locus,
)
from evodevo.evolution.mutation import Kind as MutationKind
from evodevo.evolution.population import Birth, Population
from evodevo.evolution.selection import rounded_down
from evodevo.evolution.space import Genome, Value
from evodevo.evolution.strategies import base


class TriParentOptions(base.CommonOptions):
    initial_spread: float = Field(default=0.25, gt=0, le=1)
    """Standard deviation of the founders' spread, as a fraction of each locus' range (on its scale).

    It is larger than in other strategies, because good values that are found late help little.
    """
    sigma: float = Field(default=DEFAULT_SIGMA, ge=0, le=700)
    """Selection pressure: the worst has fitness exp(-sigma). The paper gives no value."""
    fitness: Shape = "linear"
    """linear: exp(-sigma x); squared: the paper's exp(-sigma x^2), which separates the best members less."""
    survivors: float = Field(default=0.25, ge=0, lt=1)
    """Fraction of the population, the best of each generation, that continues unchanged; the paper has none.
    Selection after one epoch is short-sighted: lineages that continue show what their hyperparameters
    achieve.
    """
    crossover_rate: float = Field(default=0.33, ge=0, le=1)
    """Probability of a crossover event at each locus."""
    crossover: Kind = "single_locus"
    """single_locus: an event swaps the gene at hand; switch_following: it swaps all following genes."""
    keep: Literal["one", "both"] = "one"
    """Which of two complementary genotypes to keep: one at random, or both, in adjacent slots."""
    alpha: Literal["drawn", "tied"] = "drawn"
    """Parent of the parameters: drawn independently, or tied to parent a, as in other PBT."""
    mutation: MutationKind = "log_normal"
    """four_way: the paper's; log_normal: by `mutation_step`; self_adaptive: by a step that evolves from
    there."""
    mutation_rate: float = Field(default=1.0, ge=0, le=1)
    """Mutation probability of each locus; the paper's 0.05 is for 100 members and 200 epochs."""
    mutation_step: float = Field(default=0.5, ge=SMALLEST_STEP, le=LARGEST_STEP)
    """Standard deviation of the change of a value's natural logarithm; 0.5: two in three within a factor of
    1.6."""


class TriParent(base.Strategy):
    Options: ClassVar[type[BaseModel]] = TriParentOptions
    default_search: ClassVar[Mapping[str, Any]] = {
        "judge": "averaged",
        "recombine": {"last": 0.25},
        "soup": True,
    }
    options_from_scratch: ClassVar[Mapping[str, Any]] = {
        "fitness": "squared",
        "survivors": 0.0,
        "mutation": "four_way",
        "mutation_rate": 0.05,
    }
    paces: ClassVar[Sequence[base.Pace]] = ("generations", "pools", "steady")
    options: TriParentOptions

    def needs(self, generation: int, slot: int) -> Sequence[int] | None:
        """Return the same pool for two children of one pair of genotypes."""
        if self.pool is None:
            return None
        pair = self._pair(slot)
        own = [pair, pair + 1] if self.options.keep == "both" else [slot]
        return self.mating_pool(generation, pair, [at for at in own if at < self.population])

    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        if self._survives(parents, own):
            it = parents.members[own]
            return Birth(it.birth.genome, parent_a=it.id, parent_b=it.id, parent_params=it.id)
        pair = self._pair(slot)
        mating = self.stream(generation, pair, "mating")
        a = parents.members[parents.wheel.draw(mating)]
        b = parents.members[parents.wheel.draw(mating)]
        genotypes = complementary(
            a.birth.genome, b.birth.genome, self.options.crossover_rate, self.options.crossover, mating
        )
        kept = slot - pair if self.options.keep == "both" else int(mating.integers(2))
        drawn = parents.members[parents.wheel.draw(self.stream(generation, slot, "alpha"))]
        alpha = a if self.options.alpha == "tied" else drawn
        genome = self._mutated(genotypes[kept], self.stream(generation, slot, "mutation"))
        return Birth(genome, parent_a=a.id, parent_b=b.id, parent_params=alpha.id)

    def beta(self, generation: int, slot: int, parents: Population, own: int, birth: Birth) -> str:
        """Return a member drawn like α, or parent b if α is tied; for a survivor, the member itself."""
        if self._survives(parents, own):
            return parents.members[own].id
        if self.options.alpha == "tied":
            assert birth.parent_b is not None
            return birth.parent_b
        return parents.members[parents.wheel.draw(self.stream(generation, slot, "beta"))].id

    def _survives(self, parents: Population, own: int) -> bool:
        survivors = rounded_down(self.options.survivors * len(parents.members))
        return parents.rank(own) < survivors and parents.survives(own)

    def _pair(self, slot: int) -> int:
        """Return the first of the slots whose children share the same two genotypes."""
        return slot - slot % 2 if self.options.keep == "both" else slot

    @classmethod
    def own_loci(cls, options: TriParentOptions) -> dict[str, Any]:
        return {STEP: step_locus(options.mutation_step)} if options.mutation == "self_adaptive" else {}

    def _mutated(self, genome: Genome, draw: np.random.Generator) -> dict[str, Value]:
        rate = self.options.mutation_rate
        match self.options.mutation:
            case "four_way":
                return four_way(self.space, genome, rate, draw)
            case "log_normal":
                return log_normal(self.space, genome, rate, self.options.mutation_step, draw)
            case "self_adaptive":
                return self_adaptive(self.space, genome, rate, draw)

    def fitness(self, foms: Foms) -> Foms:
        return relative_fitness(foms, self.mode, self.options.sigma, self.options.fitness)
