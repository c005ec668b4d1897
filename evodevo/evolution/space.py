"""Define the search space: loci with their bounds and mutations, and the genomes over them.

A genome has a value for every locus, even if its condition does not hold: such values are inherited,
recombined and mutated without effect. `Space.express` returns the hyperparameters that count.
"""

import json
import math
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import (
    AllowInfNan,
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    StrictBool,
    StrictInt,
    StrictStr,
    model_validator,
)
from typing_extensions import TypeAliasType

_Number = Annotated[float, Strict(), AllowInfNan(False)]
Value = TypeAliasType(
    "Value", "StrictBool | StrictInt | _Number | StrictStr | Annotated[list[Value], Strict()] | None"
)
"""Value of a locus. Strict by itself, as the settings of a model do not apply to a recursive type."""
Genome = Mapping[str, Value]


def same(one: Value, other: Value) -> bool:
    """Return whether values are equal in type and value: 1, 1.0 and True differ, also within lists."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def text_of(value: Value) -> str:
    """Return a value as text for people: a list as JSON, anything else by `str`."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)


class _Locus(BaseModel):
    """Base of all loci."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    evolves: ClassVar[bool] = True
    expressed: ClassVar[bool] = True
    """Whether the workload gets its value; genes that control evolution itself are not expressed."""
    when: dict[str, Value] = Field(default_factory=dict)
    """The locus counts only if other loci have these values; a list that is not itself a value of that locus
    gives alternatives."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the values of a categorical locus, in the order of `index`; empty for numbers."""
        return ()


class FloatLocus(_Locus):
    """A real number in [low, high], on a linear or logarithmic scale."""

    type: Literal["float"]
    low: float
    """The smallest value."""
    high: float
    """The largest value."""
    scale: Literal["linear", "log"] = "linear"
    """Scale on which founders are drawn and values mutate; log for learning rates, for example."""
    initial: float | None = None
    """Initial value; founders have it or are near it, unless they are random."""

    @model_validator(mode="after")
    def _bounds_make_sense(self) -> Self:
        _check_bounds(self.low, self.high, self.scale, self.initial)
        return self

    def contains(self, value: Value) -> bool:
        return isinstance(value, float) and self.low <= value <= self.high

    def sample(self, rng: np.random.Generator) -> float:
        return self.from_unit(rng.random())

    def near(self, value: float, spread: float, rng: np.random.Generator) -> float:
        """Return a value near `value`; `spread` is a standard deviation, as a fraction of the range."""
        return self.from_unit(_reflect(self.to_unit(value) + spread * rng.standard_normal()))

    def step(self, value: float, factor: float, rng: np.random.Generator) -> float:
        """Return `value` raised by `factor - 1` of its size, clipped to the bounds; at a bound, step back.

        On a linear scale the size is at least a quarter of the range: near zero, steps in proportion to the
        value would lead nowhere.
        """
        size = abs(value) if self.scale == "log" else max(abs(value), (self.high - self.low) / 4)
        change = (factor - 1.0) * size
        target = self._clip(value + change)
        return target if target != value else self._clip(value - change)

    def drift(self, value: float, deviation: float, rng: np.random.Generator) -> float:
        """Return `step` with a factor of exp(deviation * N(0, 1))."""
        return self.step(value, math.exp(deviation * rng.standard_normal()), rng)

    def to_unit(self, value: float) -> float:
        """Return the position of `value` between the bounds, in [0, 1], on this locus' scale."""
        low, high, at = (self._on_scale(v) for v in (self.low, self.high, value))
        return (at - low) / (high - low)

    def from_unit(self, place: float) -> float:
        """Return the value at `place` in [0, 1]; the inverse of `to_unit` up to rounding."""
        low, high = self._on_scale(self.low), self._on_scale(self.high)
        at = low + place * (high - low)
        return self._clip(math.exp(at) if self.scale == "log" else at)

    def _on_scale(self, value: float) -> float:
        return math.log(value) if self.scale == "log" else value

    def _clip(self, value: float) -> float:
        return float(min(max(value, self.low), self.high))


class StepLocus(FloatLocus):
    """The size of a member's own mutations: a gene that is not passed to the workload."""

    type: Literal["float"] = "float"
    scale: Literal["linear", "log"] = "log"
    expressed: ClassVar[bool] = False


class IntLocus(_Locus):
    """A whole number in [low, high], both included."""

    type: Literal["int"]
    low: int
    """The smallest value."""
    high: int
    """The largest value."""
    scale: Literal["linear", "log"] = "linear"
    """Scale on which founders are drawn and values mutate; log for numbers of channels, for example."""
    initial: int | None = None
    """Initial value; founders have it or are near it, unless they are random."""

    @model_validator(mode="after")
    def _bounds_make_sense(self) -> Self:
        _check_bounds(self.low, self.high, self.scale, self.initial)
        return self

    def contains(self, value: Value) -> bool:
        return type(value) is int and self.low <= value <= self.high

    def sample(self, rng: np.random.Generator) -> int:
        if self.scale == "linear":
            return int(rng.integers(self.low, self.high + 1))
        return self._clip(round(self._continuous().sample(rng)))

    def near(self, value: int, spread: float, rng: np.random.Generator) -> int:
        return self._clip(round(self._continuous().near(float(value), spread, rng)))

    def step(self, value: int, factor: float, rng: np.random.Generator) -> int:
        """Return `value` raised by `factor - 1` of its size, by at least 1; at a bound, step back."""
        direction = 1 if factor >= 1.0 else -1
        target = round(value + (factor - 1.0) * abs(value))
        target = self._clip(target if target != value else value + direction)
        return target if target != value else self._clip(value - direction)

    def drift(self, value: int, deviation: float, rng: np.random.Generator) -> int:
        """Return `drift` of a real number, rounded; it may equal `value`."""
        return self._clip(round(self._continuous().drift(float(value), deviation, rng)))

    def _continuous(self) -> FloatLocus:
        """Return the locus of the real numbers that round to this one's values, an interval of 1 for each."""
        return FloatLocus(type="float", low=self.low - 0.5, high=self.high + 0.5, scale=self.scale)

    def _clip(self, value: int) -> int:
        return min(max(value, self.low), self.high)


class ChoiceLocus(_Locus):
    """One of several values without an order."""

    type: Literal["choice"]
    choices: list[Value]
    """The values, two or more; each can be text, a number, a boolean, null or a list."""
    initial: Value = None
    """Initial value; founders have it or are near it, unless they are random."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The choices by `text_of`, or by `repr` if two have the same text."""
        texts = [text_of(choice) for choice in self.choices]
        return tuple(
            repr(choice) if texts.count(text) > 1 else text
            for choice, text in zip(self.choices, texts, strict=True)
        )

    def index(self, value: Value) -> int:
        return next(number for number, choice in enumerate(self.choices) if same(choice, value))

    @model_validator(mode="after")
    def _choices_make_sense(self) -> Self:
        if len(self.choices) < 2:
            raise ValueError(f"choices {self.choices} leave nothing to choose; give two or more")
        for i, choice in enumerate(self.choices):
            if any(same(choice, other) for other in self.choices[:i]):
                raise ValueError(f"choices {self.choices} have {choice!r} twice; remove one")
        if self.initial is not None and not self.contains(self.initial):
            raise ValueError(f"initial {self.initial!r} is not one of the choices {self.choices}")
        return self

    def contains(self, value: Value) -> bool:
        return any(same(value, choice) for choice in self.choices)

    def sample(self, rng: np.random.Generator) -> Value:
        return self.choices[int(rng.integers(len(self.choices)))]

    def near(self, value: Value, spread: float, rng: np.random.Generator) -> Value:
        """Return `value` or a random choice, with equal probability, as choices have no neighbourhood."""
        return value if rng.random() < 0.5 else self.sample(rng)

    def step(self, value: Value, factor: float, rng: np.random.Generator) -> Value:
        """Return one of the other choices, with equal probability."""
        others = [choice for choice in self.choices if not same(choice, value)]
        return others[int(rng.integers(len(others)))]

    def drift(self, value: Value, deviation: float, rng: np.random.Generator) -> Value:
        """Return `step` with probability `deviation`: steps are rare, as none is small."""
        return self.step(value, 1.0, rng) if rng.random() < deviation else value


class BoolLocus(_Locus):
    """True or false."""

    type: Literal["bool"]
    initial: bool | None = None
    """Initial value; founders have it or are near it, unless they are random."""

    @property
    def labels(self) -> tuple[str, ...]:
        return ("False", "True")

    def index(self, value: bool) -> int:
        return int(value)

    def contains(self, value: Value) -> bool:
        return isinstance(value, bool)

    def sample(self, rng: np.random.Generator) -> bool:
        return bool(rng.random() < 0.5)

    def near(self, value: bool, spread: float, rng: np.random.Generator) -> bool:
        """Return `value` or a random one, with equal probability."""
        return value if rng.random() < 0.5 else self.sample(rng)

    def step(self, value: bool, factor: float, rng: np.random.Generator) -> bool:
        return not value

    def drift(self, value: bool, deviation: float, rng: np.random.Generator) -> bool:
        """Return the other value with probability `deviation`."""
        return not value if rng.random() < deviation else value


class FixedLocus(_Locus):
    """A constant that is passed to the workload like the others and never changes."""

    evolves: ClassVar[bool] = False
    type: Literal["fixed"]
    value: Value
    """The constant: text, a number, a boolean, null or a list."""

    @property
    def initial(self) -> Value:
        return self.value

    def contains(self, value: Value) -> bool:
        return same(value, self.value)

    def sample(self, rng: np.random.Generator) -> Value:
        return self.value

    def near(self, value: Value, spread: float, rng: np.random.Generator) -> Value:
        return self.value

    def step(self, value: Value, factor: float, rng: np.random.Generator) -> Value:
        return self.value

    def drift(self, value: Value, deviation: float, rng: np.random.Generator) -> Value:
        return self.value


Locus = Annotated[FloatLocus | IntLocus | ChoiceLocus | BoolLocus | FixedLocus, Field(discriminator="type")]


class Space:
    """All loci of a search, in the order of the config.

    Raises `ValueError` for a `when` that names an unknown locus or an impossible value, or is circular.
    """

    def __init__(self, loci: Mapping[str, Any]) -> None:
        self.loci: dict[str, Any] = dict(loci)
        for name, locus in self.loci.items():
            for other, wanted in locus.when.items():
                self._check_condition(name, other, wanted)
        self.conditions_first = self._ordered()

    def express(self, genome: Genome) -> dict[str, Value]:
        """Return the hyperparameters of a genome: the values of loci whose conditions hold."""
        active = self._active(genome)
        return {name: genome[name] for name, locus in self.loci.items() if locus.expressed and name in active}

    def active(self, name: str, genome: Genome) -> bool:
        """Return whether the condition of a locus holds, and those of the loci that it names."""
        return name in self._active(genome)

    def contains(self, genome: Genome) -> bool:
        return genome.keys() == self.loci.keys() and all(
            locus.contains(genome[name]) for name, locus in self.loci.items()
        )

    def given(self) -> dict[str, Value]:
        """Return the genome of the loci's `initial` values."""
        return {name: locus.initial for name, locus in self.loci.items()}

    def near(self, genome: Genome, spread: float, rng: np.random.Generator) -> dict[str, Value]:
        """Return a genome near `genome`; see `FloatLocus.near` for `spread`."""
        return {name: locus.near(genome[name], spread, rng) for name, locus in self.loci.items()}

    def sample(self, rng: np.random.Generator) -> dict[str, Value]:
        """Return a genome drawn uniformly from the whole space, on each locus' scale."""
        return {name: locus.sample(rng) for name, locus in self.loci.items()}

    def without_initial(self) -> list[str]:
        """Return the loci without a valid `initial` value."""
        return [name for name, locus in self.loci.items() if not locus.contains(locus.initial)]

    def meets(self, name: str, value: Value, wanted: Value) -> bool:
        """Return whether the value of a locus satisfies a condition."""
        return any(same(value, one) for one in self._alternatives(name, wanted))

    def _alternatives(self, name: str, wanted: Value) -> list[Value]:
        """Return the values of a locus that satisfy a condition: the one it names, or those of its list."""
        return wanted if isinstance(wanted, list) and not self.loci[name].contains(wanted) else [wanted]

    def _check_condition(self, name: str, other: str, wanted: Value) -> None:
        if other not in self.loci:
            raise ValueError(
                f"{name}.when names {other!r}, which is not a locus; known: {', '.join(self.loci)}"
            )
        alternatives = self._alternatives(other, wanted)
        if not alternatives:
            raise ValueError(
                f"{name}.when lists no value of {other}, so {name} would never count; give at least one"
            )
        for value in alternatives:
            if not self.loci[other].contains(value):
                raise ValueError(f"{name}.when requires {other} = {value!r}, which is not a value of {other}")

    def _active(self, genome: Genome) -> set[str]:
        active: set[str] = set()
        for name in self.conditions_first:
            if all(
                other in active and self.meets(other, genome[other], wanted)
                for other, wanted in self.loci[name].when.items()
            ):
                active.add(name)
        return active

    def _ordered(self) -> list[str]:
        """Return the loci, each after those that its condition names."""
        conditions = {name: locus.when for name, locus in self.loci.items()}
        try:
            return list(TopologicalSorter(conditions).static_order())
        except CycleError as why:
            circle = why.args[1][:0:-1]
            at = circle.index(min(circle, key=list(self.loci).index))
            circle = [*circle[at:], *circle[: at + 1]]
            raise ValueError(f"{circle[0]}.when is circular: {' -> '.join(circle)}") from None


def _check_bounds(low: float, high: float, scale: str, initial: float | None) -> None:
    if not low < high:
        raise ValueError(f"low {low} is not below high {high}")
    if scale == "log" and low <= 0:
        raise ValueError(f"a log scale needs low above 0, not {low}")
    if max(abs(low), abs(high)) > 2**53 and isinstance(low, int):
        raise ValueError(f"bounds {low} and {high} exceed 2**53, beyond which whole numbers are not exact")
    span = math.log(high) - math.log(low) if scale == "log" else high - low
    if not 0 < span < math.inf:
        raise ValueError(f"the range from low {low} to high {high} is too wide or too narrow for floats")
    if initial is not None and not low <= initial <= high:
        raise ValueError(f"initial {initial} is outside [{low}, {high}]")


def _reflect(place: float) -> float:
    """Return a place on the real line reflected at the bounds of [0, 1]."""
    folded = place % 2.0
    return 2.0 - folded if folded > 1.0 else folded
