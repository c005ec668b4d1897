"""Implement the genetic algorithm of the package NaturalSelection; every member trains from scratch.

Nielsen 2019, github.com/saattrupdan/naturalselection: elites and breeders are drawn with replacement, with
probability by fitness; pairs of breeders have children, whose genes come from either parent; some of the
children mutate. The package uses scores divided by their sum as probabilities, which requires positive scores
and hardly distinguishes accuracies of 44 % and 46 %; here they are relative fitness.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from evodevo.evolution.crossover import uniform
from evodevo.evolution.fitness import DEFAULT_SIGMA, Foms, relative_fitness
from evodevo.evolution.mutation import redrawn
from evodevo.evolution.population import Birth, Member, Population
from evodevo.evolution.selection import rounded_up
from evodevo.evolution.strategies import base


class NaturalSelectionOptions(base.CommonOptions):
    initial: Literal["given", "spread", "random"] = "random"
    sigma: float = Field(default=DEFAULT_SIGMA, ge=0, le=700)
    """Selection pressure: the best is exp(sigma) times as likely to be drawn as the worst; 0: no pressure."""
    elites: float = Field(default=0.05, ge=0, le=1)
    """Fraction of a generation that is drawn to continue unchanged, rounded up."""
    breeders: float = Field(default=0.8, gt=0, le=1)
    """Size of the breeding pool as a fraction of the population, rounded up; at least two members."""
    mutation_rate: float = Field(default=0.2, ge=0, le=1)
    """Mutation probability of each child."""
    gene_mutation_rate: float | None = Field(default=None, ge=0, le=1)
    """Probability that a gene of a mutating child is resampled; default: 1 / number of genes."""


class NaturalSelection(base.Strategy):
    Options: ClassVar[type[NaturalSelectionOptions]] = NaturalSelectionOptions
    inherits = False
    default_search: ClassVar[Mapping[str, Any]] = {"population": 50, "generations": 30}
    options: NaturalSelectionOptions

    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        if slot < rounded_up(self.options.elites * self.population):
            elite = self._member_of_pool(generation, slot, parents, "elite")
            return Birth(elite.birth.genome, parent_a=elite.id, parent_b=elite.id)
        mating = self.stream(generation, slot, "mating")
        pool = max(2, rounded_up(self.options.breeders * self.population))
        places = mating.choice(pool, size=2, replace=False)
        a, b = (self._member_of_pool(generation, int(place), parents, "breeder") for place in places)
        genome = uniform(a.birth.genome, b.birth.genome, mating)
        rates = self.options.mutation_rate, self.options.gene_mutation_rate
        genome = redrawn(self.space, genome, *rates, self.stream(generation, slot, "mutation"))
        return Birth(genome, parent_a=a.id, parent_b=b.id)

    def _member_of_pool(self, generation: int, place: int, parents: Population, pool: str) -> Member:
        """Return the member at a place of a pool, the same for all children of the generation."""
        return parents.members[parents.wheel.draw(self.stream(generation, place, pool))]

    def fitness(self, foms: Foms) -> Foms:
        return relative_fitness(foms, self.mode, self.options.sigma)
