"""Mutation of the best: who is a parent, how values change, and what never does."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from evodevo.evolution.fitness import Mode
from evodevo.evolution.space import Space
from evodevo.evolution.strategies import Birth, Member, find
from evodevo.evolution.strategies.mutate_best import MutateBest
from tests.evolution.spaces import assert_legal, assert_rate, identical, line, space_of
from tests.golden import raises_golden

SPACE = line(4, high=1e6)


def strategy(space: Space = SPACE, mode: Mode = "max", seed: int = 0, **options: Any) -> MutateBest:
    made = find("mutate_best")(space, 1, mode, seed, MutateBest.Options.model_validate(options))
    assert isinstance(made, MutateBest)
    return made


def members(foms: Sequence[float | None], space: Space = SPACE) -> list[Member]:
    """Evaluated ones; member i has 100 (i + 1) everywhere."""
    genomes = [dict.fromkeys(space.loci, 100.0 * (i + 1)) for i in range(len(foms))]
    return [Member(f"g{i:03}s000", i, 0, Birth(genomes[i]), fom) for i, fom in enumerate(foms)]


def born(asked: MutateBest, generation: int) -> Birth:
    """The birth of that generation; its population is one."""
    return asked.founder(generation, 0)


def parents(foms: Sequence[float | None], times: int = 2000, **options: Any) -> list[int]:
    """The generations of the parents of so many children."""
    asked = strategy(**options)
    asked.tell(members(foms))
    births = [born(asked, generation) for generation in range(10, 10 + times)]
    assert all(birth.parent_b is birth.parent_params is None for birth in births)
    return [int(str(birth.parent_a)[1:4]) for birth in births]


def test_the_first_member_has_the_given_values_and_others_that_know_nobody_are_its_mutants() -> None:
    asked = strategy()
    assert born(asked, 0).genome == SPACE.given()
    early = [born(asked, generation) for generation in (1, 2)]
    assert early[0].genome != early[1].genome
    assert all(birth.genome != SPACE.given() and birth.parent_a is None for birth in early)


def test_a_parent_is_one_of_the_five_best_by_how_much_better_it_is_than_the_worst_of_them() -> None:
    foms = [0.1, 0.5, None, 0.3, 0.2, 0.45, 0.4, 0.25]  # best: 1, 5, 6, 3, 7
    drawn = parents(foms)
    weights = {1: 0.25, 5: 0.20, 6: 0.15, 3: 0.05, 7: 0.0}
    assert set(drawn) == {1, 5, 6, 3}
    for place in set(drawn):
        assert_rate(drawn.count(place), len(drawn), weights[place] / sum(weights.values()))


def test_where_the_fom_is_minimised_the_least_are_the_best() -> None:
    assert set(parents([9.0, 5.0, 1.0, 7.0], mode="min", parents=2)) == {2}


def test_equal_parents_are_equally_likely_and_of_equals_the_first_born_are_kept() -> None:
    drawn = parents([0.5, 0.5, 0.5, 0.5], parents=2)
    assert set(drawn) == {0, 1}
    assert_rate(drawn.count(0), len(drawn), 0.5)


def test_the_best_are_the_same_in_whatever_order_members_are_told() -> None:
    told = members([0.1, 0.5, None, 0.3, 0.5, 0.45, 0.4, 0.25, 0.5])
    expected = strategy()
    expected.tell(told)
    for order in ([8, 1, 4, 0, 7, 2, 3, 6, 5], [4, 8, 1, 6, 5, 3, 7, 0, 2]):
        one_by_one = strategy()
        for place in order:
            one_by_one.tell([told[place]])
        assert born(one_by_one, 20) == born(expected, 20)


def test_the_mean_of_the_parents_is_weighted_and_names_the_two_best() -> None:
    asked = strategy(parent="weighted_mean", mutation_step=1e-9, parents=3)
    asked.tell(members([1.0, 2.0, 4.0]))  # weights 0, 1, 3 of the values 100, 200, 300
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MutateBest, "_mutated", lambda self, genome, draw: dict(genome))
        birth = born(asked, 3)
    assert (birth.parent_a, birth.parent_b, birth.parent_params) == ("g002s000", "g001s000", None)
    assert birth.genome == dict.fromkeys(SPACE.loci, 275.0)


def test_values_are_multiplied_by_normal_factors_with_one_strength_for_each_child() -> None:
    asked = strategy(line(50, high=1e6, initial=100.0), mutation_rate=1.0)
    factors = np.array([[value / 100 for value in born(asked, g).genome.values()] for g in range(1, 401)])
    strengths = (factors - 1).std(axis=1) / 0.2
    assert abs(factors.mean() - 1) < 0.005
    assert 0.45 < strengths.mean() < 0.55
    assert strengths.min() < 0.05 < 0.95 < strengths.max() < 1.4
    assert factors.min() >= 0.3


def test_eight_of_ten_loci_change_and_at_least_one() -> None:
    asked = strategy(line(50, high=1e6, initial=123.456))
    changed = [sum(v != 123.456 for v in born(asked, g).genome.values()) for g in range(1, 201)]
    assert 0.77 < sum(changed) / (50 * 200) <= 0.801
    lonely = strategy(line(1), mutation_rate=0.01)
    assert all(born(lonely, g).genome["0"] != 1.0 for g in range(1, 50))


def test_a_gain_scales_the_change_and_zero_fixes_the_value() -> None:
    space = line(3, high=1e6, initial=100.0)
    asked = strategy(space, gains={"0": 0.0, "1": 0.1}, mutation_rate=1.0)
    values = np.array([list(born(asked, g).genome.values()) for g in range(1, 501)])
    assert set(values[:, 0]) == {100.0}
    assert 7 < values[:, 2].std() / values[:, 1].std() < 14


def test_values_have_five_digits_and_stay_within_the_bounds() -> None:
    space = space_of(
        near={"type": "float", "low": 0.99, "high": 1.00008, "initial": 1.0},
        rate={"type": "float", "low": 1e-9, "high": 1.0, "initial": 1.23456789e-5},
    )
    genomes = [born(strategy(space), generation).genome for generation in range(1, 300)]
    for genome in genomes:
        assert_legal(space, genome)
        assert genome["rate"] in (float(f"{genome['rate']:.5g}"), 1.23456789e-5)
    assert max(genome["near"] for genome in genomes) > 1.0 > min(genome["near"] for genome in genomes)  # type: ignore[type-var]


def test_whole_numbers_drift_and_choices_change_now_and_then() -> None:
    space = space_of(
        layers={"type": "int", "low": 1, "high": 9, "initial": 4},
        kind={"type": "choice", "choices": ["a", "b", "c"], "initial": "a"},
        flag={"type": "bool", "initial": False},
        constant={"type": "fixed", "value": 7},
    )
    asked = strategy(space)
    genomes = [born(asked, generation).genome for generation in range(1, 301)]
    for genome in genomes:
        assert_legal(space, genome)
    assert {genome["layers"] for genome in genomes} >= {3, 4, 5}
    assert {genome["kind"] for genome in genomes} == {"a", "b", "c"}
    assert {genome["flag"] for genome in genomes} == {False, True}


@pytest.mark.parametrize(
    ("loci", "options"),
    [
        ({"n": {"type": "int", "low": 0, "high": 1, "initial": 1}}, {}),
        ({"n": {"type": "int", "low": 0, "high": 9, "initial": 1}}, {"parent": "weighted_mean"}),
        ({"n": {"type": "int", "low": 1, "high": 3, "initial": 2}}, {"gains": {"n": 0.01}}),
        ({"x": {"type": "float", "low": 0.9999991, "high": 0.9999999, "initial": 0.9999999}}, {}),
        ({"x": {"type": "float", "low": 1000.01, "high": 1000.02, "initial": 1000.01}}, {}),
        ({"x": {"type": "float", "low": 0.0, "high": 1.0, "initial": 0.5}}, {"mutation_step": 1e-7}),
        ({"x": {"type": "float", "low": 0.0, "high": 1.0, "initial": 0.5}}, {"mutation_rate": 1e-9}),
        ({"c": {"type": "choice", "choices": [1, True], "initial": 1}}, {}),
    ],
)
def test_a_child_differs_however_little_room_there_is(loci: dict[str, Any], options: dict[str, Any]) -> None:
    space = space_of(**loci)
    asked = strategy(space, mode="min", **options)
    for generation in range(1, 30):
        birth = born(asked, generation)
        assert_legal(space, birth.genome)
        (value,) = birth.genome.values()
        given = asked.space.given() if generation == 1 else None
        assert given is None or not identical(birth.genome, given)
        fom = float(value)  # type: ignore[arg-type]
        asked.tell([Member(f"g{generation:03}s000", generation, 0, birth, fom)])


@pytest.mark.parametrize("rate", [0.3, 1e-9])
def test_what_changes_in_a_child_counts(rate: float) -> None:
    space = space_of(
        gate={"type": "choice", "choices": ["off", "on"], "initial": "off"},
        behind={"type": "float", "low": 0.1, "high": 9.0, "initial": 1.0, "when": {"gate": "on"}},
        rate={"type": "float", "low": 0.1, "high": 9.0, "initial": 1.0},
    )
    asked = strategy(space, mutation_rate=rate, gains={"gate": 0.01})
    for generation in range(1, 100):
        birth = born(asked, generation)
        assert space.express(birth.genome) != space.express(space.given())


def test_foms_at_the_ends_of_what_a_float_can_be_still_have_weights() -> None:
    assert set(parents([-1.5e308, 1.5e308, 0.0], times=200)) == {1, 2}
    assert set(parents([1e-320, 0.0], times=200)) == {0, 1}


def test_all_members_are_trained_from_scratch_with_the_same_seed() -> None:
    asked = strategy()
    asked.tell(members([0.5, 0.6]))
    births = [born(asked, generation) for generation in range(5)]
    assert {birth.parent_params for birth in births} == {None}
    assert len({birth.training_seed for birth in births}) == 1
    assert born(strategy(seed=1), 0).training_seed != births[0].training_seed


@pytest.mark.parametrize(
    ("name", "gains"),
    [
        ("no-locus", {"lr0": 1.0}),
        ("too-small", {"0": 0.001}),
        ("all-zero", dict.fromkeys(SPACE.loci, 0.0)),
    ],
)
def test_gains_that_make_no_sense_are_refused(name: str, gains: dict[str, float]) -> None:
    with raises_golden(f"mutate-best/gains/{name}", ValueError):
        strategy(gains=gains)


def test_a_search_in_which_all_is_zero_is_refused() -> None:
    with raises_golden("mutate-best/all-zero", ValueError):
        strategy(space_of(mixup={"type": "float", "low": 0.0, "high": 1.0, "initial": 0.0}))


def test_options_out_of_range_are_refused() -> None:
    for options in ({"parents": 0}, {"mutation_rate": 0.0}, {"gains": {"0": -1.0}}, {"parent": "both"}):
        with pytest.raises(ValidationError):
            strategy(**options)


def test_a_child_is_the_same_whoever_were_done_last_as_the_best_of_all_are_its_parents() -> None:
    asked = strategy()
    asked.tell(members([0.1, 0.5, None, 0.3]))
    for told in ([0.1], [None, 0.9, 0.2]):
        assert asked.birth(4, 0, asked.evaluated(members(told)), 0) == born(asked, 4)
