"""Define the base of all strategies: they decide births, given evaluated members and named random streams.

The engine calls `needs` to learn on which members of the previous generation a birth depends, waits until
they are done, and calls `birth`. Answers depend only on the arguments and on named random streams, so they
are the same at any time and in any order. Only in the steady pace may they also depend on what `tell` was
given.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from evodevo.evolution import rng
from evodevo.evolution.fitness import Foms, Mode, relative_fitness
from evodevo.evolution.growth import Phases
from evodevo.evolution.population import Birth, Member, Population
from evodevo.evolution.space import Space

Pace = Literal["generations", "pools", "steady"]


class CommonOptions(BaseModel):
    """Options of all strategies."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    initial: Literal["given", "spread", "random"] = "spread"
    """Genomes of founders: given, the loci's `initial` values; spread, one of them there and the rest near
    it; random, anywhere."""
    initial_spread: float = Field(default=0.15, gt=0, le=1)
    """Standard deviation of the spread, as a fraction of each locus' range (on its scale)."""


class Strategy(ABC):
    """Base of all strategies. A subclass defines `birth`, and `Options` if it has further options."""

    Options: ClassVar[type[BaseModel]] = CommonOptions
    smallest_population: ClassVar[int] = 2
    paces: ClassVar[Sequence[Pace]] = ("generations",)
    """Supported values of `search.pace`; the first is the default."""
    inherits: bool = True
    """Whether children start from their parents' parameters.

    Otherwise each member trains from scratch, whatever the `parent_params` of its birth, and no checkpoints
    are kept for children. `search.inherit` in a config overrides the value of the class.
    """
    may_begin_anew: ClassVar[bool] = True
    """Whether `search.inherit: none` is allowed in a config, if the class has `inherits`."""
    options_from_scratch: ClassVar[Mapping[str, Any]] = {}
    """Defaults of options when members train from scratch (`search.inherit: none`)."""
    keeps_to_itself: ClassVar[bool] = False
    """Whether each child descends only from its own slot, so that lineages never mix."""
    keeps_to_bounds: ClassVar[bool] = True
    """Whether values outside the bounds of their loci are refused."""
    grows: ClassVar[bool] = False
    """Whether genomes grow in phases; the config must then have `search.phases`.

    Within a phase all children start from the parameters of the same member, and a child that equals a member
    of the previous generation gets its outcome without training. A birth may have the `parent_params` of any
    of the members it was given.
    """
    phases: Phases | None = None
    """The phases of the config, if any."""
    default_search: ClassVar[Mapping[str, Any]] = {}
    """Defaults for keys of `search` that a config does not give."""

    def __init__(
        self,
        space: Space,
        population: int,
        mode: Mode,
        seed: int,
        options: BaseModel,
        pool: int | None = None,
    ) -> None:
        """`pool`: size of each child's mating pool; None for the whole previous generation."""
        self.space = space
        self.population = population
        self.mode = mode
        self.seed = seed
        self.options = options
        self.pool = None if pool is None else min(pool, population)

    @classmethod
    def own_loci(cls, options: Any) -> dict[str, Any]:
        """Return loci that the strategy adds to those of the config, to control itself."""
        return {}

    @property
    def label(self) -> str:
        """The strategy's name in messages."""
        return type(self).__name__

    @property
    def growth(self) -> Phases:
        """The phases; only for strategies that grow genomes."""
        assert self.phases is not None, "a config without search.phases was refused"
        return self.phases

    @property
    def most_generations(self) -> int | None:
        """Maximum number of generations, or None for no limit."""
        return None

    def needs(self, generation: int, slot: int) -> Sequence[int] | None:
        """Return the slots of `generation - 1` on which a birth depends, ascending; None for all of them.

        By default all, or with a `pool` the child's own slot and others from a named random stream.
        """
        return None if self.pool is None else self.mating_pool(generation, slot, [slot])

    def mating_pool(self, generation: int, slot: int, own: Sequence[int]) -> list[int]:
        """Return a pool: `own` and other slots, drawn without replacement."""
        assert self.pool is not None
        others = self.population - len(own)
        draw = self.stream(generation, slot, "pool")
        chosen = draw.choice(others, size=max(0, self.pool - len(own)), replace=False)
        first, last = min(own), max(own)  # own slots are adjacent; draws are numbered without them
        return sorted([*own, *(int(n) if n < first else int(n) + last - first + 1 for n in chosen)])

    def evaluated(self, members: Sequence[Member]) -> Population:
        """Return members as a population, with their fitness relative to each other."""
        return Population(members, self.mode, self.fitness)

    @abstractmethod
    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        """Return the child for a slot of `generation`.

        `parents` are the members that it `needs` (in the steady pace the last ones done), at least one of
        which has a fom; `own` is the position among them of the member that the child replaces.
        """

    def beta(self, generation: int, slot: int, parents: Population, own: int, birth: Birth) -> str:
        """Return the second parameter parent of a birth whose members have several networks.

        Each network comes from α (`birth.parent_params`) or from this member, with equal probability. Called
        only with `search.ploidy` above 1 for births that have an α. By default it is α.
        """
        assert birth.parent_params is not None
        return birth.parent_params

    def founder(self, generation: int, slot: int) -> Birth:
        """Return a member without parents, by the option `initial`; slot 0 of a spread has `given` values."""
        options = self.options
        assert isinstance(options, CommonOptions), "a strategy with other options has its own founders"
        draw = self.stream(generation, slot, "founder")
        if options.initial == "random":
            return Birth(self.space.sample(draw))
        given = self.space.given()
        if options.initial == "given" or slot == 0:
            return Birth(given)
        return Birth(self.space.near(given, options.initial_spread, draw))

    def immovable(self) -> dict[str, str]:
        """Return the loci that cannot evolve although the config lets them, by default none.

        The values are the reasons, with what would let each locus evolve.
        """
        return {}

    def tell(self, members: Sequence[Member]) -> None:  # noqa: B027
        """Receive members that are done, in the order of the journal. Does nothing by default."""

    def judge(self, member: Member, leg: int) -> bool:
        """Return whether a member continues after leg `leg` of its life, which is not the last possible one.

        `member.fom` is that of this leg. By default every life continues to `search.legs`. Except in the
        steady pace, the answer must depend on the arguments alone.
        """
        return True

    def fitness(self, foms: Foms) -> Sequence[float] | Foms:
        """Return the fitness of foms relative to each other; NaN stands for a member that failed."""
        return relative_fitness(foms, self.mode)

    def stream(self, generation: int, slot: int, purpose: str) -> np.random.Generator:
        return rng.stream(self.seed, generation, slot, purpose)
