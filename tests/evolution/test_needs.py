"""What births depend on, whichever the strategy: the slots that it needs, mating pools, and paces."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evodevo.evolution.fitness import is_usable
from evodevo.evolution.population import Window
from evodevo.evolution.strategies import STRATEGIES, Member, Strategy
from tests.evolution.generations import ask, make, play, slot_of
from tests.evolution.spaces import identical, line

SPACE = line(3, high=10.0)
SIZE, POOL = 30, 6
OPTIONS: dict[str, dict[str, Any]] = {
    "scheduled": {"epochs": 9},
    "replay": {"genomes": [SPACE.given()] * 9, "training_seeds": list(range(9))},
}
POOLED = [name for name, kind in STRATEGIES.items() if "pools" in kind.paces]
PAIRED = ("tri_parent", {"keep": "both"})

each_name = pytest.mark.parametrize("name", list(STRATEGIES))
each_pooled = pytest.mark.parametrize("name, options", [*((name, {}) for name in POOLED), PAIRED], ids=str)


def strategy_of(
    name: str, population: int = SIZE, pool: int | None = None, seed: int = 0, **options: Any
) -> Strategy:
    return make(name, SPACE, population, seed=seed, pool=pool, **OPTIONS.get(name, {}), **options)


def pools(strategy: Strategy, generation: int = 1) -> list[list[int]]:
    """The pool of every slot."""
    needs = [strategy.needs(generation, slot) for slot in range(strategy.population)]
    return [list(needed) for needed in needs if needed is not None]


@each_name
@pytest.mark.parametrize("pool", [None, 2, POOL, 1000])
@given(data=st.data())
def test_what_a_birth_needs_is_all_or_slots_in_order_with_its_own_among_them(
    name: str, pool: int | None, data: st.DataObject
) -> None:
    population = data.draw(st.integers(STRATEGIES[name].smallest_population, 12))
    strategy = strategy_of(name, population, pool, seed=data.draw(st.integers(0, 99)))
    generation, slot = data.draw(st.integers(1, 99)), data.draw(st.integers(0, population - 1))
    needs = strategy.needs(generation, slot)
    if needs is None:
        assert pool is None
        return
    assert slot in needs
    assert all(one < other for one, other in pairwise([-1, *needs, population]))
    assert all(type(needed) is int for needed in needs)


@each_pooled
def test_a_pool_has_the_size_that_is_asked_for_and_at_most_the_whole_generation(
    name: str, options: dict[str, Any]
) -> None:
    for population in (2, 5, 6, SIZE):
        for pool in (2, 5, 6, 1000):
            found = pools(strategy_of(name, population, pool, **options))
            assert [len(one) for one in found] == [min(pool, population)] * population


@each_pooled
def test_pools_differ_from_slot_to_slot_and_from_generation_to_generation_and_with_the_seed(
    name: str, options: dict[str, Any]
) -> None:
    strategy = strategy_of(name, pool=POOL, **options)
    of_a_pair = 2 if options else 1
    assert len(set(map(tuple, pools(strategy)))) == SIZE / of_a_pair
    assert pools(strategy) != pools(strategy, generation=2)
    assert pools(strategy) != pools(strategy_of(name, pool=POOL, seed=1, **options))


@each_pooled
def test_every_other_slot_is_as_likely_in_a_pool(name: str, options: dict[str, Any]) -> None:
    strategy = strategy_of(name, 7, 4, **options)
    own = {0, 1} if options else {0}
    drawn = [slot for generation in range(1, 2001) for slot in strategy.needs(generation, 0) or ()]
    rest = [slot for slot in range(7) if slot not in own]
    expected = 2000 * (4 - len(own)) / len(rest)
    for slot in rest:
        assert abs(drawn.count(slot) - expected) < 4 * expected**0.5


def test_the_two_slots_of_a_pair_have_one_pool_with_both_of_them_where_both_genotypes_are_kept() -> None:
    found = pools(strategy_of("tri_parent", 7, 4, keep="both"))
    for slot in (0, 2, 4):
        assert found[slot] == found[slot + 1]
        assert {slot, slot + 1} <= set(found[slot])
    assert 6 in found[6]  # has no neighbour
    assert len({tuple(found[slot]) for slot in (0, 2, 4, 6)}) == 4


@each_pooled
def test_parents_are_of_the_pool_and_have_a_fom(name: str, options: dict[str, Any]) -> None:
    foms: list[float | None] = [None if slot % 4 == 3 else float(slot * 7 % SIZE) for slot in range(SIZE)]
    strategy = strategy_of(name, pool=POOL, **options)
    (members,) = play(strategy, [foms])
    for slot, birth in enumerate(ask(strategy, 1, members)):
        parents = {slot_of(one) for one in (birth.parent_a, birth.parent_b, birth.parent_params) if one}
        assert parents <= set(pools(strategy)[slot])
        assert all(is_usable(foms[parent]) for parent in parents)


@each_pooled
def test_a_pool_as_large_as_the_population_gives_the_births_of_a_whole_generation(
    name: str, options: dict[str, Any]
) -> None:
    whole, pooled = strategy_of(name, **options), strategy_of(name, pool=SIZE, **options)
    (members,) = play(whole, [[float(slot * 7 % SIZE) for slot in range(SIZE)]])
    assert identical(ask(pooled, 1, members), ask(whole, 1, members))


def test_who_needs_only_its_own_slot_has_no_pools_and_who_starts_from_scratch_has_no_generations() -> None:
    assert {name: tuple(kind.paces) for name, kind in STRATEGIES.items()} == {
        "tri_parent": ("generations", "pools", "steady"),
        "vose2019": ("generations", "pools", "steady"),
        "truncation_pbt": ("generations", "pools", "steady"),
        "natural_selection": ("generations",),
        "truncation_ga": ("generations",),
        "variable_length": ("generations",),
        "random_search": ("generations",),
        "scheduled": ("generations",),
        "mutate_best": ("steady",),
        "replay": ("generations",),
    }
    assert [name for name, kind in STRATEGIES.items() if not kind.inherits] == [
        "mutate_best",
        "natural_selection",
        "truncation_ga",
    ]


@each_name
def test_every_life_continues_to_its_last_leg_unless_a_strategy_says_otherwise(name: str) -> None:
    strategy = strategy_of(name)
    member = Member("g0s0", 0, 0, strategy.founder(0, 0), 1.0)
    assert all(strategy.judge(member, leg) for leg in range(5))
    assert strategy.judge(replace(member, fom=None), 0)


def test_ranks_and_survivors_of_a_population_are_by_position() -> None:
    strategy = strategy_of("tri_parent", 4)
    (members,) = play(strategy, [[3.0, None, 1.0, 2.0]])
    population = strategy.evaluated(members)
    assert [population.rank(at) for at in range(4)] == [2, 3, 0, 1]
    assert [population.survives(at) for at in range(4)] == [True, False, True, True]
    assert population.has_survivors
    failed = [replace(member, fom=None) for member in members]
    assert not strategy.evaluated(failed).has_survivors
    assert not strategy.evaluated([]).has_survivors


def test_a_window_keeps_the_last_members_and_what_is_asked_of_them_as_it_moves() -> None:
    window = Window(3)
    founder = strategy_of("tri_parent", 4).founder(0, 0)
    members = [Member(f"m{at}", 0, at, founder, None if at == 4 else float(at)) for at in range(9)]
    for at, member in enumerate(members):
        window.append(member)
        last = members[max(0, at - 2) : at + 1]
        assert list(window) == last
        assert window.ids == {one.id for one in last}
        assert np.array_equal(
            window.foms, [np.nan if one.fom is None else one.fom for one in last], equal_nan=True
        )
    with pytest.raises(ValueError, match="read-only"):
        window.foms[0] = 1.0
