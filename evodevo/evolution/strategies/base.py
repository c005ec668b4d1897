"""What every strategy is: asked for births, told what came of them. It keeps no other state.

A strategy's answer depends on its arguments, on what it was last told and on named random streams, so
telling it again what the journal holds puts it back where it was.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from evodevo.evolution import rng
from evodevo.evolution.fitness import Mode, best_first, is_usable, relative_fitness
from evodevo.evolution.space import Genome, Space


@dataclass(frozen=True)
class Birth:
    """A genome and where it comes from; the parents are member ids, None for a founder.

    `training_seed` is None but where a strategy must train with a seed of the past (replay).
    """

    genome: Genome
    parent_a: str | None = None
    parent_b: str | None = None
    parent_params: str | None = None
    training_seed: int | None = None


@dataclass(frozen=True)
class Member:
    """A birth, its place in the population, and the fom that came of it (None: it failed)."""

    id: str
    generation: int
    slot: int
    birth: Birth
    fom: float | None


@dataclass(frozen=True)
class Population:
    """Evaluated members, in the order of their slots, and their relative fitness."""

    members: Sequence[Member]
    fitness: Sequence[float]
    ranking: Sequence[int]

    def survives(self, slot: int) -> bool:
        return is_usable(self.members[slot].fom)


class CommonOptions(BaseModel):
    """Options that all strategies share."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    initial: Literal["given", "spread", "random"] = "spread"
    """Founders: all at the loci's `initial`; one there and the rest around it; or anywhere."""
    initial_spread: float = Field(default=0.15, gt=0, le=1)
    """Standard deviation of that spread, as a part of each locus' range (on its scale)."""


class Strategy(ABC):
    """Base of all strategies. A subclass gives `birth`, and `Options` where it has options of its own."""

    Options: ClassVar[type[BaseModel]] = CommonOptions
    smallest_population: ClassVar[int] = 2
    steady: ClassVar[bool] = False
    """No generation waits for another: each is one member, which is born as soon as a worker is free for it.

    Such a strategy is told of members as they are done, each by itself, in any order. Its members start from
    scratch: no checkpoint is kept for children to come.
    """
    default_search: ClassVar[Mapping[str, int]] = {}
    """Values of `search.population` and `search.generations` where a config gives none."""

    def __init__(self, space: Space, population: int, mode: Mode, seed: int, options: BaseModel) -> None:
        self.space = space
        self.population = population
        self.mode = mode
        self.seed = seed
        self.options = options
        self._told: Population | None = None

    def ask(self, generation: int) -> list[Birth]:
        """The births of `generation`, one a slot. Generation 0 is asked before anything is told."""
        if generation == 0:
            return [self.founder(0, slot) for slot in range(self.population)]
        if self._told is None or self._told.members[0].generation != generation - 1:
            raise ValueError(f"generation {generation} was asked before generation {generation - 1} was told")
        return [self.birth(generation, slot, self._told) for slot in range(self.population)]

    def tell(self, members: Sequence[Member]) -> None:
        """Take in one whole generation, in the order of the slots."""
        foms = [member.fom for member in members]
        self._told = Population(tuple(members), self.fitness(foms), best_first(foms, self.mode))

    @classmethod
    def own_loci(cls, options: Any) -> dict[str, Any]:
        """Loci that the strategy adds to those of the config, to steer itself."""
        return {}

    @abstractmethod
    def birth(self, generation: int, slot: int, parents: Population) -> Birth:
        """The child for one slot of `generation`, given the evaluated generation before it."""

    def fitness(self, foms: Sequence[float | None]) -> list[float]:
        """Relative fitness of the foms of one generation."""
        return relative_fitness(foms, self.mode)

    def founder(self, generation: int, slot: int) -> Birth:
        """A member without parents, as `initial` says; slot 0 of a spread has the given values."""
        options = self.options
        assert isinstance(options, CommonOptions), "a strategy with other options has its own founders"
        draw = self.stream(generation, slot, "founder")
        if options.initial == "random":
            return Birth(self.space.sample(draw))
        given = self.space.given()
        if options.initial == "given" or slot == 0:
            return Birth(given)
        return Birth(self.space.near(given, options.initial_spread, draw))

    def stream(self, generation: int, slot: int, purpose: str) -> np.random.Generator:
        return rng.stream(self.seed, generation, slot, purpose)
