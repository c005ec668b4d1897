"""Define the strategy of optimizers that only evaluate points, in one generation."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from evodevo.evolution.population import Birth, Population
from evodevo.evolution.space import FloatLocus, IntLocus, Space, Value
from evodevo.evolution.strategies.base import Strategy

MOST_POINTS = 100_000


class PointsOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    grid_size: int | None = Field(default=None, ge=1)
    """Points of the grid along each range; None for random points."""


class Points(Strategy):
    """Evaluate the initial values first, then the points of a grid or uniformly random points."""

    Options: ClassVar[type[BaseModel]] = PointsOptions
    smallest_population: ClassVar[int] = 1
    options: PointsOptions

    @property
    def most_generations(self) -> int:
        return 1

    def founder(self, generation: int, slot: int) -> Birth:
        if slot == 0:
            return Birth(self.space.given())
        if self.options.grid_size is None:
            return Birth(self.space.sample(self.stream(generation, slot, "founder")))
        return Birth(point_of(self.space, self.options.grid_size, slot - 1))

    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        return self.founder(generation, slot)


def axis(locus: Any, size: int) -> list[Value]:
    """Return the values of a locus on a grid: all choices, or `size` values from low to high.

    A single value is in the middle; int loci have no value twice.
    """
    if isinstance(locus, FloatLocus | IntLocus):
        places = [at / (size - 1) for at in range(size)] if size > 1 else [0.5]
        values = [min(locus.high, locus.low + place * (locus.high - locus.low)) for place in places]
        return list(dict.fromkeys(round(value) if locus.type == "int" else value for value in values))
    return list(getattr(locus, "choices", [locus.initial]))


def count_of(space: Space, size: int) -> int:
    """Return the number of points of a grid."""
    count = 1
    for locus in space.loci.values():
        count *= len(axis(locus, size))
    return count


def point_of(space: Space, size: int, number: int) -> dict[str, Value]:
    """Return a point of a grid by its number; the first hyperparameter changes slowest."""
    point: dict[str, Value] = {}
    for name, locus in reversed(space.loci.items()):
        values = axis(locus, size)
        number, at = divmod(number, len(values))
        point[name] = values[at]
    return {name: point[name] for name in space.loci}
