"""What evodevo's own strategies have in common beyond the contract (test_contract.py); and `find`."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from evodevo.evolution.fitness import as_foms
from evodevo.evolution.space import Space
from evodevo.evolution.strategies import STRATEGIES, find
from tests.evolution.generations import ask, make, play
from tests.evolution.spaces import (
    assert_legal,
    assert_mean,
    assert_rate,
    identical,
    line,
    space_of,
    spaces,
)
from tests.golden import raises_golden

NAMES = ["tri_parent", "truncation_pbt", "random_search", "natural_selection", "truncation_ga"]
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("tri_parent", {}),
    ("tri_parent", {"keep": "both", "crossover": "switch_following", "mutation_rate": 1.0, "sigma": 0.0}),
    ("truncation_pbt", {}),
    ("truncation_pbt", {"fraction": 0.5, "resample_probability": 1.0}),
    ("tri_parent", {"mutation": "four_way", "alpha": "tied", "crossover_rate": 0.0}),
    ("tri_parent", {"mutation": "self_adaptive", "mutation_rate": 1.0}),
    ("random_search", {}),
    ("natural_selection", {}),
    ("natural_selection", {"elites": 0.5, "mutation_rate": 1.0, "gene_mutation_rate": 1.0}),
    ("truncation_ga", {}),
    ("truncation_ga", {"keep": 0.5, "mutation_rate": 1.0, "gene_mutation_rate": 1.0}),
]
FOMS: list[list[float | None]] = [
    [3.0, 1.0, None, 2.0, 1.0],
    [1.5, math.nan, 0.5, 2.0, 0.5],
    [None, 1.0, 2.0, -math.inf, 4.0],
]
MIXED = space_of(
    rate={"type": "float", "low": 1e-4, "high": 1.0, "scale": "log", "initial": 0.02},
    layers={"type": "int", "low": 1, "high": 6, "initial": 3},
    optimizer={"type": "choice", "choices": ["adam", "sgd"], "initial": "adam"},
    momentum={"type": "float", "low": 0.0, "high": 1.0, "initial": 0.9, "when": {"optimizer": "sgd"}},
    epochs={"type": "fixed", "value": 90},
)

each_variant = pytest.mark.parametrize("name, options", VARIANTS, ids=str)
each_name = pytest.mark.parametrize("name", NAMES)


@each_variant
@given(data=st.data(), space=spaces(), initial=st.sampled_from(["given", "spread", "random"]))
def test_every_birth_is_legal(
    name: str, options: dict[str, Any], data: st.DataObject, space: Space, initial: str
) -> None:
    strategy = make(name, space, population=5, seed=data.draw(st.integers(0, 99)), initial=initial, **options)
    some_fom = st.sampled_from([None, math.nan, math.inf, -math.inf, 0.0, 1.0]) | st.floats(-1e308, 1e308)
    three_generations = [[1.0, *data.draw(st.lists(some_fom, min_size=4, max_size=4))] for _ in range(3)]
    for generation in play(strategy, three_generations):
        assert len(generation) == 5
        for member in generation:
            assert_legal(strategy.space, member.birth.genome)


@each_variant
def test_another_seed_gives_other_births(name: str, options: dict[str, Any]) -> None:
    one, other = (make(name, MIXED, 5, seed=seed, **options) for seed in (0, 1))
    assert not identical(play(one, FOMS)[1], play(other, FOMS)[1])


@each_variant
def test_parents_are_of_the_generation_before_and_parameters_come_from_a_survivor(
    name: str, options: dict[str, Any]
) -> None:
    history = play(make(name, MIXED, 5, **options), FOMS)
    for parents, children in pairwise(history):
        survivors = {member.id for member in parents if member.fom is not None and math.isfinite(member.fom)}
        for child in (member.birth for member in children):
            is_fresh = STRATEGIES[name].inherits is False or (
                name == "random_search" and child.parent_a is None
            )
            assert child.parent_params is None if is_fresh else child.parent_params in survivors
            assert {child.parent_a, child.parent_b} <= survivors | {None}
            assert child.training_seed is None


@each_name
def test_the_fittest_is_the_smallest_or_the_largest_as_the_mode_says(name: str) -> None:
    assert make(name, MIXED, 3, mode="min").fitness(as_foms([2.0, None, 1.0])).tolist()[1:] == [0.0, 1.0]
    assert make(name, MIXED, 3, mode="max").fitness(as_foms([2.0, None, 1.0])).tolist()[:2] == [1.0, 0.0]


@pytest.mark.parametrize("name", ["tri_parent", "truncation_pbt", "natural_selection", "truncation_ga"])
def test_a_generation_without_survivors_has_no_children(name: str) -> None:
    strategy = make(name, MIXED, 3)
    (members,) = play(strategy, [[None, math.nan, math.inf]])
    assert not strategy.evaluated(members).has_survivors
    with raises_golden(f"strategy/no-survivors/{name}", ValueError):
        ask(strategy, 1, members)


@each_name
def test_given_founders_are_all_exactly_the_initial_values(name: str) -> None:
    births = ask(make(name, MIXED, 5, initial="given"), 0)
    assert identical([b.genome for b in births], [MIXED.given()] * 5)


@each_name
def test_spread_founders_are_the_initial_values_in_slot_0_and_around_them_in_the_others(name: str) -> None:
    wide = line(20, low=0.0, high=10.0, initial=5.0)
    first, *others = ask(make(name, wide, 101, initial="spread", initial_spread=0.05), 0)
    assert identical(first.genome, wide.given())
    drawn = np.array([list(birth.genome.values()) for birth in others]).ravel()
    assert len(set(drawn)) == 2000
    assert_mean(drawn, 5.0, deviation=0.5)  # 4 standard deviations of the mean
    assert_mean((drawn - 5.0) ** 2, 0.25, deviation=0.25 * math.sqrt(2))


@each_name
def test_random_founders_lie_anywhere_and_need_no_initial_values(name: str) -> None:
    bare = space_of(**{n: {"type": "float", "low": 0.0, "high": 10.0} for n in "abcdefghij"})
    births = ask(make(name, bare, 200, initial="random"), 0)
    drawn = np.array([list(birth.genome.values()) for birth in births]).ravel()
    assert len(set(drawn)) == 2000
    for fifth in range(5):
        assert_rate((drawn // 2 == fifth).sum(), 2000, 0.2)


@each_name
@pytest.mark.parametrize(
    "option",
    [{"sigmma": 1.0}, {"initial": "anywhere"}, {"initial_spread": 0.0}, {"initial_spread": "0.1"}],
    ids=str,
)
def test_an_option_that_is_unknown_or_senseless_is_refused_by_name(name: str, option: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(option))):
        make(name, MIXED, **option)


def test_every_strategy_is_found_by_its_name_or_by_an_import_path() -> None:
    for name, kind in STRATEGIES.items():
        assert find(name) is kind
        assert find(f"{kind.__module__}:{kind.__name__}") is kind
    assert {*NAMES, "replay"} <= set(STRATEGIES)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("near-name", "tri_parnet"),
        ("no-name-near", "zzz"),
        ("no-module", "no.such.module:Thing"),
        ("no-attribute", "math:NoSuchThing"),
        ("relative", ".relative:Thing"),
        ("empty-module", ":Thing"),
        ("not-a-class", "math:pi"),
        ("not-a-strategy", "fractions:Fraction"),
    ],
)
def test_what_is_no_strategy_is_refused_and_named(name: str, path: str) -> None:
    with raises_golden(f"strategy/find/{name}", ValueError) as raised:
        find(path)
    assert repr(path) in str(raised.value)
