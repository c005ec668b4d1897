"""The loci together: genomes, conditions, and what a config may not say. Single loci: test_space_loci.py."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from evodevo.evolution.space import Space
from tests.evolution.spaces import assert_legal, genomes, identical, locus, rngs, space_of, spaces
from tests.golden import raises_golden

FLOAT = {"type": "float", "low": 0.5, "high": 2.0}
LAYERS = {"type": "int", "low": 1, "high": 6, "initial": 3}
CHAIN: dict[str, dict[str, Any]] = {
    "nesterov": {"type": "bool", "initial": True, "when": {"momentum": 0.9, "optimizer": "sgd"}},
    "momentum": {
        "type": "choice",
        "choices": [0.0, 0.9],
        "initial": 0.9,
        "when": {"optimizer": ["sgd", "lars"]},
    },
    "optimizer": {
        "type": "choice",
        "choices": ["adam", "sgd", "lars"],
        "initial": "sgd",
        "when": {"train": True},
    },
    "train": {"type": "bool", "initial": True},
}


@given(data=st.data(), space=spaces(), spread=st.floats(0, 1), rng=rngs)
def test_a_genome_drawn_anywhere_or_near_another_is_legal(
    data: st.DataObject, space: Space, spread: float, rng: np.random.Generator
) -> None:
    assert_legal(space, space.given())
    assert_legal(space, space.sample(rng))
    assert_legal(space, space.near(data.draw(genomes(space)), spread, rng))


@given(data=st.data(), space=spaces())
def test_a_genome_comes_back_from_json_as_it_was(data: st.DataObject, space: Space) -> None:
    genome = data.draw(genomes(space))
    back = json.loads(json.dumps(genome))
    assert identical(back, genome)
    assert space.contains(back)
    assert identical(space.express(back), space.express(genome))


@given(data=st.data(), space=spaces())
def test_what_is_expressed_is_a_part_of_the_genome_and_all_of_it_without_conditions(
    data: st.DataObject, space: Space
) -> None:
    genome = data.draw(genomes(space))
    expressed = space.express(genome)
    counting = [name for name in space.loci if space.active(name, genome)]
    assert identical(expressed, {name: genome[name] for name in counting})
    assert {name for name, a_locus in space.loci.items() if not a_locus.when} <= set(counting)


@pytest.mark.parametrize(
    "changed, counting",
    [
        ({}, "nesterov momentum optimizer train"),
        ({"momentum": 0.0}, "momentum optimizer train"),
        ({"optimizer": "lars"}, "momentum optimizer train"),
        ({"optimizer": "adam"}, "optimizer train"),
        ({"train": False}, "train"),
    ],
    ids=str,
)
def test_a_locus_counts_when_all_its_conditions_hold_and_those_of_what_it_depends_on(
    changed: dict[str, Any], counting: str
) -> None:
    space = space_of(**CHAIN)
    genome = {**space.given(), **changed}
    assert list(space.express(genome)) == counting.split()


def test_a_condition_asks_for_the_type_as_well_as_the_value() -> None:
    space = space_of(a={"type": "choice", "choices": [1, True, 1.0]}, b={**LAYERS, "when": {"a": [True]}})
    assert [space.active("b", {"a": value, "b": 3}) for value in (1, True, 1.0)] == [False, True, False]


@pytest.mark.parametrize(
    ("wanted", "counting"),
    [
        ([64, 64], [[64, 64]]),
        ([[64, 64]], [[64, 64]]),
        ([[64, 64], []], [[64, 64], []]),
        ([], [[]]),
        ("deep", ["deep"]),
        (["deep", [128]], [[128], "deep"]),
    ],
    ids=str,
)
def test_a_condition_may_ask_for_a_list_or_for_one_of_several(wanted: Any, counting: list[Any]) -> None:
    choices = [[64, 64], [128], [], "deep"]
    space = space_of(a={"type": "choice", "choices": choices}, b={**LAYERS, "when": {"a": wanted}})
    assert [value for value in choices if space.active("b", {"a": value, "b": 3})] == counting


@pytest.mark.parametrize(
    "genome, legal",
    [
        ({"a": 1.0, "b": 3}, True),
        ({"a": 1.0}, False),
        ({"a": 1.0, "b": 3, "c": 0}, False),
        ({"a": 2.5, "b": 3}, False),
        ({"a": 1.0, "b": 3.0}, False),
        ({"a": 1, "b": 3}, False),
    ],
    ids=str,
)
def test_a_space_contains_a_genome_with_a_legal_value_for_exactly_its_loci(
    genome: dict[str, Any], legal: bool
) -> None:
    assert space_of(a=FLOAT, b=LAYERS).contains(genome) is legal


def test_loci_without_an_initial_value_are_named_but_constants_need_none() -> None:
    space = space_of(
        a=FLOAT,
        b=LAYERS,
        c={"type": "bool"},
        d={"type": "choice", "choices": ["x", "y"]},
        e={"type": "choice", "choices": [None, 1], "initial": None},
        f={"type": "fixed", "value": None},
    )
    assert space.without_initial() == ["a", "c", "d"]


@pytest.mark.parametrize("fields", [FLOAT, LAYERS, {"type": "bool"}], ids=lambda fields: fields["type"])
def test_an_initial_of_null_counts_as_none_given(fields: dict[str, Any]) -> None:
    assert space_of(a={**fields, "initial": None}).without_initial() == ["a"]


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "float", "low": -8e307, "high": 8e307},
        {"type": "float", "low": 1e300, "high": 1.000000000001e300, "scale": "log"},
        {"type": "float", "low": 1e-300, "high": 1e300, "scale": "log"},
        {"type": "int", "low": 2**53 - 1, "high": 2**53},
        {"type": "int", "low": -(2**53), "high": 2**53},
        {"type": "int", "low": 10**12, "high": 10**12 + 1, "scale": "log"},
    ],
    ids=str,
)
def test_bounds_just_within_the_limits_of_arithmetic_can_be_searched(fields: dict[str, Any]) -> None:
    space = space_of(a={**fields, "initial": fields["low"]})
    rng = np.random.default_rng(0)
    assert len({space.sample(rng)["a"] for _ in range(20)}) > 1
    for _ in range(20):
        assert_legal(space, space.sample(rng))
        assert_legal(space, space.near(space.given(), 0.1, rng))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("float-low-above-high", {"type": "float", "low": 2.0, "high": 1.5}),
        ("float-empty", {"type": "float", "low": 1.5, "high": 1.5}),
        ("int-low-above-high", {"type": "int", "low": 7, "high": 3}),
        ("int-empty", {"type": "int", "low": 3, "high": 3}),
        ("float-log-zero", {"type": "float", "low": 0.0, "high": 1.0, "scale": "log"}),
        ("int-log-negative", {"type": "int", "low": -2, "high": 9, "scale": "log"}),
        ("too-wide", {"type": "float", "low": -1e308, "high": 1e308}),
        (
            "too-narrow",
            {"type": "float", "low": 1e300, "high": math.nextafter(1e300, math.inf), "scale": "log"},
        ),
        ("int-too-narrow", {"type": "int", "low": 10**15, "high": 10**15 + 1, "scale": "log"}),
        ("beyond-2-53", {"type": "int", "low": 2**53, "high": 2**53 + 1}),
        ("bounds-beyond-2-53", {"type": "int", "low": -(10**30), "high": 0}),
        ("float-initial", {**FLOAT, "initial": 2.25}),
        ("int-initial", {**LAYERS, "initial": 0}),
        ("one-choice", {"type": "choice", "choices": ["only"]}),
        ("no-choice", {"type": "choice", "choices": []}),
        ("choice-twice", {"type": "choice", "choices": ["x", 1, "x"]}),
        ("not-a-choice", {"type": "choice", "choices": ["x", "y"], "initial": "z"}),
        ("float-for-an-int-choice", {"type": "choice", "choices": [1, 2], "initial": 1.0}),
        ("unknown-type", {"type": "colour"}),
        ("unknown-key", {**FLOAT, "step": 0.1}),
        ("infinite", {"type": "float", "low": 0.0, "high": math.inf}),
        ("nan", {"type": "float", "low": math.nan, "high": 1.0}),
        ("text-for-float", {"type": "float", "low": "0", "high": 1.0}),
        ("float-for-int", {**LAYERS, "initial": 3.0}),
        ("bool-for-int", {**LAYERS, "low": True}),
        ("int-for-bool", {"type": "bool", "initial": 1}),
    ],
    ids=str,
)
def test_a_locus_that_makes_no_sense_is_refused_with_the_value_that_was_wrong(
    name: str, fields: dict[str, Any]
) -> None:
    with raises_golden(f"locus/{name}", ValidationError):
        locus(**fields)


@pytest.mark.parametrize(
    ("name", "whens"),
    [
        ("no-locus", {"a": {"z": 1}}),
        ("impossible", {"a": {"b": 7}}),
        ("impossible-in-list", {"a": {"b": [1, 2, 9]}}),
        ("no-values", {"a": {"b": []}}),
        ("float-for-int", {"a": {"b": 3.0}}),
        ("bool-for-int", {"a": {"b": True}}),
        ("own-circle", {"a": {"a": 1}}),
        ("circle", {"a": {"b": 1}, "b": {"c": 1}, "c": {"a": 1}}),
    ],
    ids=str,
)
def test_a_condition_that_can_never_be_met_is_refused(name: str, whens: dict[str, Any]) -> None:
    with raises_golden(f"locus/when/{name}", ValueError):
        space_of(**{one: {**LAYERS, "when": whens.get(one, {})} for one in "abc"})


def test_two_loci_may_depend_on_the_same_third_without_being_a_circle() -> None:
    whens: dict[str, Any] = {"a": {"b": 1, "c": 1}, "b": {"d": 1}, "c": {"d": 1}, "d": {}}
    space = space_of(**{name: {**LAYERS, "when": when} for name, when in whens.items()})
    assert list(space.express(dict.fromkeys("abcd", 1))) == ["a", "b", "c", "d"]
    assert list(space.express({**dict.fromkeys("abcd", 1), "d": 2})) == ["d"]


def test_conditions_that_share_conditions_are_looked_at_once_each() -> None:
    """Forty levels of two, each on both of the level before: 2^40 paths lead to the first."""
    fields = {"a0": LAYERS, "b0": LAYERS}
    for level in range(1, 40):
        when = {f"a{level - 1}": 3, f"b{level - 1}": 3}
        fields |= {f"a{level}": {**LAYERS, "when": when}, f"b{level}": {**LAYERS, "when": when}}
    space = space_of(**fields)
    genome = dict.fromkeys(fields, 3)
    assert len(space.express(genome)) == 80
    assert list(space.express({**genome, "a5": 4})) == [
        f"{name}{level}" for level in range(6) for name in "ab"
    ]
