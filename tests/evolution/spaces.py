"""Arbitrary legal loci, spaces and genomes for hypothesis, and the judgements the tests here share.

Bounds stay below 1e300 and whole numbers below 2**52: the limits beyond have tests in test_space.py.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st
from pydantic import TypeAdapter

from evodevo.evolution.space import Locus, Space, Value

LOCUS: TypeAdapter[Any] = TypeAdapter(Locus)
TYPES = {"float": float, "int": int, "bool": bool}
AWKWARD: list[Value] = [None, True, False, 0, 1, 0.0, 1.0, "", "1", "sgd", "line\nbreak, 'quoted'"]

factors = st.floats(0.5, 2.0, exclude_min=True, exclude_max=True)
rngs = st.integers(0, 2**63).map(np.random.default_rng)
scalars = st.sampled_from(AWKWARD) | st.text(max_size=5) | st.integers(-9, 9) | st.floats(-9, 9)
values = scalars | st.lists(scalars, max_size=3)


def locus(type: str, **fields: Any) -> Any:
    """Return the locus of a config's fields."""
    return LOCUS.validate_python({"type": type, **fields})


def space_of(**loci: dict[str, Any]) -> Space:
    return Space({name: locus(**fields) for name, fields in loci.items()})


def line(count: int, low: float = 1e-9, high: float = 1e9, initial: float = 1.0) -> Space:
    """`count` equal float loci named 0, 1, 2 ..., on a logarithmic scale if the bounds have one."""
    scale = "log" if low > 0 else "linear"
    one = {"type": "float", "low": low, "high": high, "initial": initial, "scale": scale}
    return space_of(**{str(i): one for i in range(count)})


def is_legal(a_locus: Any, value: Value) -> bool:
    """Return whether a locus allows `value`, without the code under test; subtypes are not allowed."""
    if a_locus.type == "fixed":
        return identical(value, a_locus.value)
    if a_locus.type == "choice":
        return any(identical(value, choice) for choice in a_locus.choices)
    in_bounds = a_locus.type == "bool" or a_locus.low <= value <= a_locus.high
    return type(value) is TYPES[a_locus.type] and in_bounds


def identical(one: Any, other: Any) -> bool:
    """Return whether two values are equal in type, value and (for mappings) order."""
    return repr(one) == repr(other)


def assert_legal(a_space: Space, genome: Mapping[str, Value]) -> None:
    assert list(genome) == list(a_space.loci)
    illegal = {n: genome[n] for n, a_locus in a_space.loci.items() if not is_legal(a_locus, genome[n])}
    assert not illegal, f"illegal: {illegal!r} in {a_space.loci}"


def assert_rate(hits: float, trials: int, expected: float, deviations: float = 4.0) -> None:
    """Assert that `hits` of `trials` fit a probability of `expected`, within some standard deviations."""
    deviation = math.sqrt(expected * (1 - expected) / trials)
    away = (hits / trials - expected) / deviation
    assert abs(away) <= deviations, f"{hits / trials:.4f} is {away:+.1f} deviations from {expected:.4f}"


def assert_mean(sample: Any, expected: float, deviation: float, deviations: float = 4.0) -> None:
    """Assert that the mean of `sample` is `expected`, within some standard errors of the mean."""
    away = (np.mean(sample) - expected) / (deviation / math.sqrt(len(sample)))
    assert abs(away) <= deviations, f"mean {np.mean(sample)} is {away:+.1f} deviations from {expected}"


@st.composite
def bounds(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the fields of a numeric locus; bounds may be negative, touch zero or be neighbours."""
    ends: st.SearchStrategy[Any]
    type_, scale = draw(st.sampled_from(["float", "int"])), draw(st.sampled_from(["linear", "log"]))
    if type_ == "int":
        least, most = (1, 10**9) if scale == "log" else (-(2**52), 2**52)
        ends = st.sampled_from([1, 2, 5, 64]) | st.integers(least, most)
        ends = ends if scale == "log" else ends | st.integers(-3, 3)
    elif scale == "log":
        ends = st.sampled_from([1e-300, 1e-6, 1e-3, 1.0, 10.0]) | st.floats(1e-12, 1e12)
    else:
        ends = st.sampled_from([-1e300, -1.0, 0.0, 0.5, 1.0, 1e300]) | st.floats(-1e12, 1e12)
    low, high = sorted(draw(st.lists(ends, min_size=2, max_size=2, unique=True)))
    if scale == "log" and not math.log(low) < math.log(high):
        high = low * 2
    return {"type": type_, "low": low, "high": high, "scale": scale}


def _key(value: Any) -> Any:
    return type(value), tuple(value) if isinstance(value, list) else value


@st.composite
def loci(draw: st.DrawFn, when: Mapping[str, Any] | None = None) -> Any:
    """Draw a locus with a legal initial value."""
    type_ = draw(st.sampled_from(["number", "number", "choice", "bool", "fixed"]))
    fields: dict[str, Any] = {"type": type_, "when": dict(when or {})}
    if type_ == "number":
        fields |= draw(bounds())
    if type_ == "choice":
        fields["choices"] = draw(st.lists(values, min_size=2, max_size=5, unique_by=_key))
    if type_ == "fixed":
        return locus(**fields, value=draw(values))
    return locus(**fields, initial=draw(legal_values(locus(**fields))))


def legal_values(a_locus: Any) -> st.SearchStrategy[Any]:
    """Draw a legal value of the locus, the bounds and zero more often than others."""
    if a_locus.type == "fixed":
        return st.just(a_locus.value)
    if a_locus.type == "choice":
        return st.sampled_from(a_locus.choices)
    if a_locus.type == "bool":
        return st.booleans()
    between = st.floats if a_locus.type == "float" else st.integers
    marked = [
        a_locus.low,
        a_locus.high,
        *([type(a_locus.low)(0)] if a_locus.low <= 0 <= a_locus.high else []),
    ]
    return st.sampled_from(marked) | between(a_locus.low, a_locus.high)


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Draw one to six loci; some have conditions, which may name later loci and form chains."""
    names = draw(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=6, unique=True))
    made: dict[str, Any] = {}
    for name in names:
        when = {}
        for other in draw(st.lists(st.sampled_from(list(made)), max_size=2, unique=True)) if made else []:
            possible = legal_values(made[other])
            when[other] = draw(possible | st.lists(possible, min_size=1, max_size=3))
        made[name] = draw(loci(when))
    return Space({name: made[name] for name in draw(st.permutations(names))})


def genomes(a_space: Space) -> st.SearchStrategy[dict[str, Value]]:
    """Draw a genome of the space, with its loci in the space's order."""
    any_values = st.tuples(*(legal_values(a_locus) for a_locus in a_space.loci.values()))
    return any_values.map(lambda drawn: dict(zip(a_space.loci, drawn, strict=True)))
