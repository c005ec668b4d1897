"""Implement a genetic algorithm with truncation selection; every member trains from scratch.

It is the hyperparameter search of YOLOv4's recipe (Bochkovskiy et al. 2020, arXiv 2004.10934, section 3.4):
of a random population the best fraction is kept; pairs of these have children, whose genes come from either
parent; some of the children mutate. `search.plateau` may end it before the last generation.
"""

from typing import ClassVar, Literal

from pydantic import Field

from evodevo.evolution.crossover import uniform
from evodevo.evolution.mutation import redrawn
from evodevo.evolution.population import Birth, Population
from evodevo.evolution.selection import rounded_up
from evodevo.evolution.strategies import base


class TruncationGAOptions(base.CommonOptions):
    initial: Literal["given", "spread", "random"] = "random"
    keep: float = Field(default=0.25, gt=0, le=1)
    """Fraction of a generation that continues and has the children, rounded up; at least two members."""
    mutation_rate: float = Field(default=0.3, ge=0, le=1)
    """Mutation probability of each child."""
    gene_mutation_rate: float | None = Field(default=None, ge=0, le=1)
    """Probability that a gene of a mutating child is resampled; default: 1 / number of genes."""


class TruncationGA(base.Strategy):
    Options: ClassVar[type[TruncationGAOptions]] = TruncationGAOptions
    inherits = False
    options: TruncationGAOptions

    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        if not parents.has_survivors:
            raise ValueError("no member of the generation has a fom, so none can be kept")
        count = max(2, rounded_up(self.options.keep * self.population))
        kept = [parents.members[at] for at in parents.ranking[: min(count, parents.survivors)]]
        if slot < len(kept):
            return Birth(kept[slot].birth.genome, parent_a=kept[slot].id, parent_b=kept[slot].id)
        draw = self.stream(generation, slot, "mating")
        first, second = draw.choice(len(kept), size=2, replace=False) if len(kept) > 1 else (0, 0)
        a, b = kept[int(first)], kept[int(second)]
        genome = uniform(a.birth.genome, b.birth.genome, draw)
        rates = self.options.mutation_rate, self.options.gene_mutation_rate
        genome = redrawn(self.space, genome, *rates, self.stream(generation, slot, "mutation"))
        return Birth(genome, parent_a=a.id, parent_b=b.id)
