"""Grow genomes from phase to phase, after the variable-length genetic algorithm for CNNs.

Xiao et al. 2020, "Efficient Hyperparameter Optimization in Deep Learning Using a Variable Length Genetic
Algorithm", arXiv 2006.12703. In each phase genomes get a new random tail, which evolves; their head is the
best genome of the previous phase, from whose parameters all members start.

A generation consists of survivors, some of which mutate in one gene, and of children of two survivors. The
survivors are a fraction of the best, and each of the others with a small probability; those that do not
mutate are not trained again (see `base.Strategy.grows`). We differ in two ways: the best survivor never
mutates, so the best of a phase is still there at its end, and parents are drawn by relative fitness. The rule
for crossover of a later variant is not published; `uniform` with parents drawn by `fitness` is our reading.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, Field

from evodevo.evolution.fitness import Foms, relative_fitness
from evodevo.evolution.population import Birth, Member, Population
from evodevo.evolution.selection import RouletteWheel, rounded_down
from evodevo.evolution.space import Genome, Value, same
from evodevo.evolution.strategies import base


class VariableLengthOptions(base.CommonOptions):
    initial: Literal["given", "spread", "random"] = "random"
    survivors: float = Field(default=0.5, gt=0, le=1)
    """Fraction of the population, the best of it, that survives, rounded down; at least one member."""
    lucky: float = Field(default=0.2, ge=0, le=1)
    """Survival probability of each other member."""
    mutation_rate: float = Field(default=0.1, ge=0, le=1)
    """Probability that a survivor other than the best mutates: one gene is resampled."""
    parents: Literal["fitness", "uniform"] = "fitness"
    """Weights for drawing the two parents of a child from the survivors, without replacement."""
    crossover: Literal["uniform", "one_point"] = "uniform"
    """uniform: each gene comes from either parent; one_point: genes after a random point come from parent
    b."""
    sigma: float = Field(default=1.0, ge=0, le=700)
    """With `parents: fitness` the best is exp(sigma) times as likely to be drawn as the worst."""


class VariableLength(base.Strategy):
    Options: ClassVar[type[BaseModel]] = VariableLengthOptions
    grows: ClassVar[bool] = True
    default_search: ClassVar[Mapping[str, Any]] = {"population": 5}
    options: VariableLengthOptions

    @property
    def most_generations(self) -> int:
        return self.growth.total

    def founder(self, generation: int, slot: int) -> Birth:
        return Birth(self._of_length(super().founder(generation, slot).genome, generation))

    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        if self.growth.begins(generation):
            best = parents.members[parents.ranking[0]]
            tail = self._tail(generation)
            sampled = self.space.sample(self.stream(generation, slot, "tail"))
            genome = {**best.birth.genome, **{name: sampled[name] for name in tail}}
            return Birth(self._of_length(genome, generation), parent_a=best.id, parent_params=best.id)
        survivors = self._survivors(generation, parents)
        if slot < len(survivors):
            survivor = survivors[slot]
            genome = dict(survivor.birth.genome)
            draw = self.stream(generation, slot, "mutation")
            if slot and draw.random() < self.options.mutation_rate:
                genome |= self._one_gene(survivor.birth.genome, generation, draw)
            return Birth(genome, parent_a=survivor.id, parent_params=survivor.birth.parent_params)
        a, b = self._pair(generation, slot, parents, survivors)
        genome = self._crossed(a.birth.genome, b.birth.genome, generation, slot)
        return Birth(genome, a.id, b.id, parent_params=a.birth.parent_params)

    def fitness(self, foms: Foms) -> Foms:
        return relative_fitness(foms, self.mode, self.options.sigma)

    def _survivors(self, generation: int, parents: Population) -> list[Member]:
        """Return the survivors, best first; members that failed are never among them."""
        count = max(1, rounded_down(self.options.survivors * self.population))
        ranked = [parents.members[at] for at in parents.ranking[: parents.survivors]]
        lucky = [
            one
            for one in ranked[count:]
            if self.stream(generation, one.slot, "survival").random() < self.options.lucky
        ]
        return [*ranked[:count], *lucky]

    def _pair(
        self, generation: int, slot: int, parents: Population, survivors: Sequence[Member]
    ) -> tuple[Member, Member]:
        """Return two survivors; a single survivor is returned twice."""
        draw, rest = self.stream(generation, slot, "parents"), list(survivors)
        fitness = self.fitness(parents.members.foms) if self.options.parents == "fitness" else None
        weight = {one.id: 1.0 if fitness is None else fitness[at] for at, one in enumerate(parents.members)}
        a = rest.pop(RouletteWheel([weight[one.id] for one in rest]).draw(draw))
        return a, rest[RouletteWheel([weight[one.id] for one in rest]).draw(draw)] if rest else a

    def _crossed(self, a: Genome, b: Genome, generation: int, slot: int) -> dict[str, Value]:
        draw, tail = self.stream(generation, slot, "crossover"), self._tail(generation)
        if self.options.crossover == "one_point":
            of_b = np.arange(len(tail)) >= draw.integers(1, max(2, len(tail)))
        else:
            of_b = draw.random(len(tail)) < 0.5
        return {**a, **{name: b[name] for name, its in zip(tail, of_b, strict=True) if its}}

    def _one_gene(self, genome: Genome, generation: int, draw: np.random.Generator) -> dict[str, Value]:
        """Return a different value for one gene that counts."""
        counting = [name for name in self._tail(generation) if self.space.active(name, genome)]
        name = counting[int(draw.integers(len(counting)))]
        locus = self.space.loci[name]
        value = locus.sample(draw)
        return {name: locus.step(value, 1.2, draw) if same(value, genome[name]) else value}

    def _tail(self, generation: int) -> list[str]:
        return self.growth.tail(self.space, self.growth.at(generation))

    def _of_length(self, genome: Genome, generation: int) -> dict[str, Value]:
        return {**genome, self.growth.locus: self.growth.length(generation)}
