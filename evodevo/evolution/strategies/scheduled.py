"""Follow fixed schedules of hyperparameters; every slot keeps its parameters to the end.

This is the baseline of training without evolution: independent runs of one recipe, of which the best counts.
With `initial: spread` or `random` the recipe's values are searched at random at the same time.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from evodevo.evolution.fitness import Mode
from evodevo.evolution.population import Birth, Population
from evodevo.evolution.restarts import Restarts as Cycles
from evodevo.evolution.space import FloatLocus, Space, Value
from evodevo.evolution.strategies import base


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    start: float | Annotated[list[float], Field(min_length=1)] | None = None
    """Start value that the shape multiplies, or one per slot; default: the founder's value."""

    def begins(self, slot: int, own: float) -> float:
        """Return the start value of a slot whose founder has `own`; slots cycle through a list."""
        if self.start is None:
            return own
        return self.start[slot % len(self.start)] if isinstance(self.start, list) else self.start

    def value(self, epoch: int, epochs: int, start: float) -> float:
        """Return the value at an epoch out of `epochs`, for a slot that begins with `start`."""
        return start * self.factor(epoch, epochs)

    def factor(self, epoch: int, epochs: int) -> float:
        return 1.0


class Constant(_Shape):
    """A constant value; a config may give the number itself instead."""

    shape: Literal["constant"]


class Steps(_Shape):
    """Steps at the fractions `at` of the run, above 0 and below 1, to given factors."""

    shape: Literal["steps"]
    at: list[float]
    """Points of the run as fractions of it, ascending."""
    factors: list[float]
    """Factors of the start value (not of the previous one), one for each of `at`."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if len(self.at) != len(self.factors):
            raise ValueError(
                f"at has {len(self.at)} points, but factors has {len(self.factors)}; give one for each"
            )
        if sorted(set(self.at)) != self.at or not all(0 < at < 1 for at in self.at):
            raise ValueError(f"at {self.at} should be ascending fractions of the run, above 0 and below 1")
        return self

    def factor(self, epoch: int, epochs: int) -> float:
        passed = [factor for at, factor in zip(self.at, self.factors, strict=True) if epoch >= at * epochs]
        return passed[-1] if passed else 1.0


class Cosine(_Shape):
    """Half a cosine from factor 1 towards `end`, after Loshchilov and Hutter 2017 (SGDR, arXiv
    1608.03983)."""

    shape: Literal["cosine"]
    end: float = Field(default=0.0, ge=0, le=1)
    """Factor that the epoch after the last one would have."""
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of the run, at its start, in which the factor rises linearly."""

    def factor(self, epoch: int, epochs: int) -> float:
        warm = self.warmup * epochs
        if epoch < warm:
            return (epoch + 1) / (warm + 1)
        progress = min(1.0, (epoch - warm) / (epochs - warm))  # a run can be longer than its schedule
        return self.end + (1 - self.end) * 0.5 * (1 + math.cos(math.pi * progress))


class Restarts(_Shape):
    """Cosines with warm restarts; see `evodevo.evolution.restarts`. The first peak is the start value."""

    shape: Literal["restarts"]
    length: float = Field(gt=0)
    """Length of the first cycle in epochs, or with search.steps_per_generation in generations."""
    multiplier: float = Field(default=1.0, ge=1)
    """Length of each cycle as a multiple of the one before."""
    decay: float = Field(default=1.0, ge=0)
    """Peak of each cycle as a multiple of the one before."""
    min: float = 0.0
    """Value at the end of each cycle."""

    def value(self, epoch: int, epochs: int, start: float) -> float:
        return Cycles(self.length, self.multiplier, self.decay, self.min).value(epoch, start)


def _constant(value: Any) -> Any:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return {"shape": "constant", "start": float(value)} if is_number else value


Shape = Annotated[Constant | Steps | Cosine | Restarts, Field(discriminator="shape")]


class ScheduledOptions(base.CommonOptions):
    initial: Literal["given", "spread", "random"] = "given"
    epochs: int = Field(ge=1)
    """Length of the schedule in generations; after them the last value stays."""
    schedule: dict[str, Annotated[Shape, BeforeValidator(_constant)]] = Field(default_factory=dict)
    """Float locus -> its shape, or a constant number; values may leave the locus' bounds."""


class Scheduled(base.Strategy):
    keeps_to_itself: ClassVar[bool] = True
    keeps_to_bounds: ClassVar[bool] = False
    may_begin_anew: ClassVar[bool] = False
    Options: ClassVar[type[BaseModel]] = ScheduledOptions
    smallest_population = 1
    options: ScheduledOptions

    def __init__(
        self,
        space: Space,
        population: int,
        mode: Mode,
        seed: int,
        options: BaseModel,
        pool: int | None = None,
    ) -> None:
        """Raise `ValueError` for schedules of anything but float loci."""
        super().__init__(space, population, mode, seed, options, pool)
        floats = [name for name, locus in space.loci.items() if isinstance(locus, FloatLocus)]
        for name in self.options.schedule:
            if name not in floats:
                raise ValueError(
                    f"schedule: {name!r} is not a float locus; float loci: {', '.join(floats) or 'none'}"
                )

    def founder(self, generation: int, slot: int) -> Birth:
        return Birth(self._genome(generation, slot))

    def needs(self, generation: int, slot: int) -> Sequence[int]:
        return [slot]

    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        if not parents.survives(own):
            return self.founder(generation, slot)
        before = parents.members[own].id
        return Birth(self._genome(generation, slot), parent_a=before, parent_params=before)

    def _genome(self, generation: int, slot: int) -> dict[str, Value]:
        genome: dict[str, Any] = dict(super().founder(0, slot).genome)
        for name, shape in self.options.schedule.items():
            start = shape.begins(slot, genome[name])
            genome[name] = float(shape.value(generation, self.options.epochs, start))
        return genome
