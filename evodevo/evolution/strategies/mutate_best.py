"""Mutate the best members so far, as YOLOv5's `--evolve` does; every member trains from scratch.

A parent is drawn from the five best members, as in YOLOv5's code, or is their weighted mean, the "combination
of the best parents" of its guide; each hyperparameter is multiplied by a factor around 1 (Jocher 2020,
"Hyperparameter Evolution", docs.ultralytics.com/yolov5). Generations play no part: whenever a worker is free,
a child is born from the results so far.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from evodevo.evolution import rng
from evodevo.evolution.fitness import Mode, best_first, is_usable
from evodevo.evolution.population import Birth, Member, Population
from evodevo.evolution.space import FloatLocus, Genome, IntLocus, Space, Value, same
from evodevo.evolution.strategies import base

SMALLEST_FACTOR, LARGEST_FACTOR = 0.3, 3.0
SMALLEST_WEIGHT = 1e-6
SMALLEST_GAIN = 0.01
DIGITS = 5
TRIES = 100
ZERO = "0, which stays 0 when multiplied; to let one evolve, give it a value above 0"
NO_GAIN = "fixed by a gain of 0; to let one evolve, give it a gain: search.options.gains: {NAME: 1}"
NEITHER = f"{ZERO} and a gain: search.options.gains: {{NAME: 1}}"


class MutateBestOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    initial: Literal["given"] = "given"
    """The first member has the loci's `initial` values; children born before any result are mutants of it."""
    parents: int = Field(default=5, ge=1)
    """Number of the best members that may be parents."""
    parent: Literal["drawn", "weighted_mean"] = "drawn"
    """The parent: one of them, or their mean; the weights are how much each is better than the worst of
    them."""
    mutation_rate: float = Field(default=0.8, gt=0, le=1)
    """Mutation probability of each locus; at least one changes."""
    mutation_step: float = Field(default=0.2, gt=0)
    """Values are multiplied by 1 + gain * N(0, 1) * U(0, 1) * mutation_step, within 0.3 and 3."""
    gains: dict[str, Annotated[float, Field(ge=0, le=10)]] = Field(default_factory=dict)
    """Locus -> relative size of its changes, by default 1; 0 fixes it."""


class MutateBest(base.Strategy):
    Options: ClassVar[type[BaseModel]] = MutateBestOptions
    smallest_population = 1
    paces: ClassVar[Sequence[base.Pace]] = ("steady",)
    inherits = False
    default_search: ClassVar[Mapping[str, Any]] = {"population": 1, "generations": 300}
    options: MutateBestOptions

    def __init__(
        self,
        space: Space,
        population: int,
        mode: Mode,
        seed: int,
        options: BaseModel,
        pool: int | None = None,
    ) -> None:
        """Raise `ValueError` for gains of unknown loci, and if nothing can change."""
        super().__init__(space, population, mode, seed, options, pool)
        for name, gain in self.options.gains.items():
            if name not in space.loci:
                raise ValueError(f"gains: {name!r} is not a locus; known: {', '.join(space.loci)}")
            if 0 < gain < SMALLEST_GAIN:
                raise ValueError(f"gains: {name} is {gain:g}; give 0 to fix it, or {SMALLEST_GAIN} or more")
        immovable = self.immovable()
        if not any(self._evolves(name) and name not in immovable for name in space.loci):
            raise ValueError(
                "gains: no hyperparameter can change, as all are fixed or zero; let at least one evolve"
            )
        self._best: list[Member] = []

    def immovable(self) -> dict[str, str]:
        """Return loci that start at zero, and those that a gain of 0 fixes."""
        found = {}
        for name, locus in self.space.loci.items():
            gain = self.options.gains.get(name, 1.0 if locus.evolves else None)
            if gain is None:  # a fixed locus
                continue
            if not locus.labels and locus.initial == 0:
                found[name] = ZERO if gain > 0 else NEITHER
            elif gain == 0:
                found[name] = NO_GAIN
        return found

    def tell(self, members: Sequence[Member]) -> None:
        """Keep the best members, given in any order; of equals the first born is better."""
        known = sorted(
            (one for one in (*self._best, *members) if is_usable(one.fom)), key=lambda one: one.generation
        )
        ranking = best_first([one.fom for one in known], self.mode)
        self._best = [known[place] for place in ranking[: self.options.parents]]

    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        """Return a child of the best members that `tell` was given; `parents` are ignored.

        All members train with the same seed, so that they differ in hyperparameters only.
        """
        return self._child(generation, slot)

    def founder(self, generation: int, slot: int) -> Birth:
        """Return the given values first, and mutants of them until a member is done."""
        if (generation, slot) == (0, 0):
            return Birth(self.space.given(), training_seed=rng.training_seed(self.seed, 0, 0))
        return self._child(generation, slot)

    def _child(self, generation: int, slot: int) -> Birth:
        seed = rng.training_seed(self.seed, 0, 0)
        draw = self.stream(generation, slot, "mutation")
        if not self._best:
            return Birth(self._mutated(self.space.given(), draw), training_seed=seed)
        unnormalised = self._weights()
        weights = np.array(unnormalised) / sum(unnormalised)
        if self.options.parent == "weighted_mean":
            a, *others = self._best
            genome = self._mutated(self._mean(self._best, weights), draw)
            return Birth(genome, a.id, others[0].id if others else None, training_seed=seed)
        a = self._best[int(draw.choice(len(weights), p=weights))]
        return Birth(self._mutated(a.birth.genome, draw), parent_a=a.id, training_seed=seed)

    def _weights(self) -> list[float]:
        """Return fitness - min + 1e-6 of the best, scaled to a largest weight of 1.

        Fitness is the fom with the sign for maximising. It is halved, as differences of foms may exceed the
        largest float.
        """
        sign = 1.0 if self.mode == "max" else -1.0
        halves = [sign * one.fom / 2 for one in self._best if one.fom is not None]
        weights = [half - min(halves) + SMALLEST_WEIGHT / 2 for half in halves]
        return [weight / max(weights) for weight in weights]

    def _mean(self, members: Sequence[Member], weights: np.ndarray) -> dict[str, Value]:
        """Return the weighted mean of numbers; other values are those of the best member."""
        mean = dict(members[0].birth.genome)
        for name, locus in self.space.loci.items():
            if isinstance(locus, FloatLocus | IntLocus):
                value = float(np.dot(weights, [float(one.birth.genome[name]) for one in members]))  # type: ignore[arg-type]
                mean[name] = _legal(locus, value, 0.5)
        return mean

    def _mutated(self, genome: Genome, draw: np.random.Generator) -> dict[str, Value]:
        """Return a mutant in which something that counts has changed: N is drawn per locus, U per mutant.

        Rounding and bounds can undo small steps; after many tries, one locus takes a full step.
        """
        for _ in range(TRIES):
            strength = self.options.mutation_step * draw.random()
            child = {name: self._multiplied(name, genome[name], strength, draw) for name in genome}
            if any(not same(child[n], genome[n]) and self.space.active(n, child) for n in genome):
                return child
        free = [name for name in self.space.loci if self._evolves(name)]
        free = [name for name in free if self.space.active(name, genome)] or free
        name = free[int(draw.integers(len(free)))]
        factor = 1.0 + self.options.mutation_step * draw.choice([-1, 1])
        return {**genome, name: self.space.loci[name].step(genome[name], factor, draw)}

    def _multiplied(self, name: str, value: Value, strength: float, draw: np.random.Generator) -> Value:
        locus, gain = self.space.loci[name], self.options.gains.get(name, 1.0)
        mutates, normal = draw.random() < self.options.mutation_rate, draw.standard_normal()
        if not (mutates and self._evolves(name)):
            return value
        if not isinstance(locus, FloatLocus | IntLocus):
            return locus.drift(value, min(1.0, gain * strength), draw)  # type: ignore[no-any-return]
        factor = np.clip(1.0 + gain * normal * strength, SMALLEST_FACTOR, LARGEST_FACTOR)
        return _legal(locus, float(value * factor), draw.random())

    def _evolves(self, name: str) -> bool:
        return self.space.loci[name].evolves and self.options.gains.get(name, 1.0) > 0


def _legal(locus: FloatLocus | IntLocus, value: float, chance: float) -> Value:
    """Return a value within the bounds, with five significant digits.

    An int locus is rounded up if its fractional part plus `chance`, in [0, 1), reaches 1: with a random
    `chance`, small steps add up that rounding to the nearest would undo.
    """
    if isinstance(locus, IntLocus):
        return int(min(max(math.floor(value + chance), locus.low), locus.high))
    clipped = min(max(value, locus.low), locus.high)
    return float(min(max(float(f"{clipped:.{DIGITS}g}"), locus.low), locus.high))
