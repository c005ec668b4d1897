"""What every strategy is: it decides births, from evaluated members and named random streams.

The engine asks `needs` which members of the generation before a birth depends on, waits until these are done,
and asks `birth`. An answer depends on the arguments and on named random streams alone, so it is the same
whoever asks, whenever, and in any order. Only a strategy of the steady pace may let what it was told decide.
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
    """Options that all strategies share."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    initial: Literal["given", "spread", "random"] = "spread"
    """Founders: all at the loci's `initial`; one there and the rest around it; or anywhere."""
    initial_spread: float = Field(default=0.15, gt=0, le=1)
    """Standard deviation of that spread, as a fraction of each locus' range (on its scale)."""


class Strategy(ABC):
    """Base of all strategies. A subclass gives `birth`, and `Options` if it has options of its own."""

    Options: ClassVar[type[BaseModel]] = CommonOptions
    smallest_population: ClassVar[int] = 2
    paces: ClassVar[Sequence[Pace]] = ("generations",)
    """The values of `search.pace` that it can do; the first is its default."""
    inherits: bool = True
    """Whether children start from parameters of their parents, so that a run is one training.

    Otherwise each member trains from scratch, whatever `parent_params` its birth has, and no checkpoint is
    kept for children to come. A config says otherwise with `search.inherit`, and then an object has another
    value than its class.
    """
    may_begin_anew: ClassVar[bool] = True
    """Whether a config may say that its members train from scratch, though the class has `inherits`."""
    options_from_scratch: ClassVar[Mapping[str, Any]] = {}
    """Values of options that a config does not give whose members train from scratch."""
    keeps_to_itself: ClassVar[bool] = False
    """Whether each slot's children descend from that slot alone, so that lines never mix."""
    keeps_to_bounds: ClassVar[bool] = True
    """Whether all values are within the bounds of their loci; what is not is refused."""
    grows: ClassVar[bool] = False
    """Whether genomes grow in phases, which a config then has to give (`search.phases`).

    Within a phase all children go on from the parameters of the same member, and one that equals a member of
    the generation before has its outcome: it is not trained again. A birth may name as `parent_params` whom
    one of the members that it is given went on from.
    """
    phases: Phases | None = None
    """Those of the config, if it has any."""
    default_search: ClassVar[Mapping[str, Any]] = {}
    """Values of keys of `search` for a config that does not give them."""

    def __init__(
        self,
        space: Space,
        population: int,
        mode: Mode,
        seed: int,
        options: BaseModel,
        pool: int | None = None,
    ) -> None:
        """`pool`: the size of each child's mating pool; None for the whole generation before it."""
        self.space = space
        self.population = population
        self.mode = mode
        self.seed = seed
        self.options = options
        self.pool = None if pool is None else min(pool, population)

    @classmethod
    def own_loci(cls, options: Any) -> dict[str, Any]:
        """Loci that the strategy adds to those of the config, to steer itself."""
        return {}

    @property
    def label(self) -> str:
        """Return what messages call it."""
        return type(self).__name__

    @property
    def growth(self) -> Phases:
        """The phases of a strategy that has them."""
        assert self.phases is not None, "a config without search.phases was refused"
        return self.phases

    @property
    def most_generations(self) -> int | None:
        """Return how many generations it has births for; None for any number."""
        return None

    def needs(self, generation: int, slot: int) -> Sequence[int] | None:
        """Return the slots of `generation - 1` that the birth depends on, ascending; None for all of them.

        By default all, or with a `pool` the child's own slot and others that a named stream draws.
        """
        return None if self.pool is None else self.mating_pool(generation, slot, [slot])

    def mating_pool(self, generation: int, slot: int, own: Sequence[int]) -> list[int]:
        """Return `own` and as many other slots, drawn without replacement, as make a pool."""
        assert self.pool is not None
        others = self.population - len(own)
        draw = self.stream(generation, slot, "pool")
        chosen = draw.choice(others, size=max(0, self.pool - len(own)), replace=False)
        first, last = min(own), max(own)  # own slots are neighbours: what is drawn is counted without them
        return sorted([*own, *(int(n) if n < first else int(n) + last - first + 1 for n in chosen)])

    def evaluated(self, members: Sequence[Member]) -> Population:
        """Return members with their relative fitness among each other."""
        return Population(members, self.mode, self.fitness)

    @abstractmethod
    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        """Return the child for one slot of `generation`.

        `parents` are the members that it `needs` (in the steady pace: the last ones that are done), at least
        one of which has a fom; `own` is the position among them of the one whose place the child takes.
        """

    def beta(self, generation: int, slot: int, parents: Population, own: int, birth: Birth) -> str:
        """Return the second parent of parameters of a birth, where members have several networks.

        Each network comes from α (`birth.parent_params`) or from it, with equal probability. Asked only with
        `search.ploidy` above 1 and of a birth that has an α; by default it is α.
        """
        assert birth.parent_params is not None
        return birth.parent_params

    def founder(self, generation: int, slot: int) -> Birth:
        """Return a member without parents, as `initial` says; slot 0 of a spread has the given values."""
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
        """Return the loci that keep their values though they look as if they evolve, or were meant to.

        Each with the reason and what would let it evolve. By default none.
        """
        return {}

    def tell(self, members: Sequence[Member]) -> None:  # noqa: B027
        """Hear of members that are done, in the order of the journal. Does nothing by default."""

    def judge(self, member: Member, leg: int) -> bool:
        """Return whether a member goes on after leg number `leg` of its life, which may have more.

        `member.fom` is that of this leg. The default lets every life go on to `search.legs`. In paces other
        than steady the answer may depend on the arguments alone.
        """
        return True

    def fitness(self, foms: Foms) -> Sequence[float] | Foms:
        """Return the relative fitness of foms that are compared with each other (NaN: the member failed)."""
        return relative_fitness(foms, self.mode)

    def stream(self, generation: int, slot: int, purpose: str) -> np.random.Generator:
        return rng.stream(self.seed, generation, slot, purpose)
