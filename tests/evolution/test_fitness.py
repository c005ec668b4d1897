"""Figures of merit become relative fitness: the paper's rule, and NaN, failure and ties."""

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evodevo.evolution.fitness import Mode, Shape, best_first, is_usable
from evodevo.evolution.fitness import relative_fitness as fitness_array

MODES: list[Mode] = ["min", "max"]
UNUSABLE = [None, math.nan, math.inf, -math.inf]

finite = st.floats(allow_nan=False, allow_infinity=False)
foms_of_a_generation = st.lists(finite | st.sampled_from(UNUSABLE), max_size=8)
modes, sigmas = st.sampled_from(MODES), st.floats(0, 700)


def relative_fitness(foms: list[float | None], mode: Mode, sigma: float = 5.0) -> list[float]:
    return fitness_array(foms, mode, sigma).tolist()  # type: ignore[no-any-return]


def negated(foms: list[float | None]) -> list[float | None]:
    return [None if fom is None else -fom for fom in foms]


def test_fitness_is_the_rule_of_the_paper_for_a_fom_that_is_minimised() -> None:
    expected = [math.exp(-2 * (fom - 1) / (5 - 1)) for fom in (3, 1, 5, 1.5)]
    assert relative_fitness([3.0, 1.0, 5.0, 1.5], "min", sigma=2.0) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("squared", [1.0, math.exp(-0.3125), math.exp(-1.25), math.exp(-5)]),  # 0.7316, 0.2865, 0.0067
        ("linear", [1.0, math.exp(-1.25), math.exp(-2.5), math.exp(-5)]),
    ],
)
def test_squared_fitness_falls_with_the_square_of_the_distance(shape: Shape, expected: list[float]) -> None:
    found = fitness_array([1.0, 1.25, 1.5, 2.0], "min", 5.0, shape)
    assert found == pytest.approx(expected, rel=1e-12)


def test_fitness_is_the_mirrored_rule_for_a_fom_that_is_maximised() -> None:
    expected = [math.exp(-2 * (5 - fom) / (5 - 1)) for fom in (3, 1, 5, 1.5)]
    assert relative_fitness([3.0, 1.0, 5.0, 1.5], "max", sigma=2.0) == pytest.approx(expected, rel=1e-12)


def test_a_failed_member_has_fitness_zero_and_does_not_move_that_of_the_others() -> None:
    with_failures = relative_fitness([2.0, None, 1.0, math.nan, math.inf, -math.inf, 4.0], "min")
    without = relative_fitness([2.0, 1.0, 4.0], "min")
    assert with_failures == [without[0], 0.0, without[1], 0.0, 0.0, 0.0, without[2]]


@pytest.mark.parametrize("mode", MODES)
def test_equal_foms_are_all_fittest(mode: Mode) -> None:
    assert relative_fitness([0.3, 0.3, None, 0.3], mode) == [1.0, 1.0, 0.0, 1.0]
    assert relative_fitness([-7.0], mode) == [1.0]


@pytest.mark.parametrize("mode", MODES)
def test_a_generation_of_failures_has_no_fitness_and_an_empty_one_none_at_all(mode: Mode) -> None:
    assert relative_fitness(UNUSABLE, mode) == [0.0] * 4
    assert relative_fitness([], mode) == []


@pytest.mark.parametrize("huge", [1e308, sys.float_info.max])
def test_foms_further_apart_than_the_largest_float_do_not_overflow(huge: float) -> None:
    expected = pytest.approx([math.exp(-3), math.exp(-1.5), 1.0], rel=1e-12)
    assert relative_fitness([huge, 0.0, -huge], "min", sigma=3.0) == expected
    assert relative_fitness([-huge, 0.0, huge], "max", sigma=3.0) == expected


def test_without_selection_pressure_all_that_survived_are_equally_fit() -> None:
    assert relative_fitness([1.0, 2.0, None, 9.0], "min", sigma=0.0) == [1.0, 1.0, 0.0, 1.0]


@given(foms_of_a_generation, modes, sigmas)
def test_fitness_is_in_0_to_1_for_the_usable_and_0_for_the_rest(
    foms: list[float | None], mode: Mode, sigma: float
) -> None:
    fitness = relative_fitness(foms, mode, sigma)
    assert [0 < f <= 1 for f in fitness] == [is_usable(fom) for fom in foms]
    assert max(fitness, default=1.0) == 1.0 or not any(map(is_usable, foms))


@given(foms_of_a_generation, modes, sigmas)
def test_a_better_fom_never_has_a_lower_fitness(foms: list[float | None], mode: Mode, sigma: float) -> None:
    fitness = relative_fitness(foms, mode, sigma)
    ordered = [fitness[at] for at in best_first(foms, mode)]
    assert ordered == sorted(fitness, reverse=True)


@given(foms_of_a_generation, sigmas)
def test_max_is_min_in_the_mirror(foms: list[float | None], sigma: float) -> None:
    assert relative_fitness(foms, "max", sigma) == relative_fitness(negated(foms), "min", sigma)
    assert best_first(foms, "max") == best_first(negated(foms), "min")


@pytest.mark.parametrize("fom", UNUSABLE)
def test_what_cannot_be_compared_is_not_usable(fom: float | None) -> None:
    assert not is_usable(fom)


def test_any_finite_fom_is_usable() -> None:
    assert all(map(is_usable, [0.0, -1.0, 1e308, 5e-324, 3]))


def test_ties_keep_their_order_and_failures_come_last() -> None:
    foms = [2.0, None, 1.0, 2.0, math.nan, 1.0, -math.inf, math.inf]
    assert best_first(foms, "min") == [2, 5, 0, 3, 1, 4, 6, 7]
    assert best_first(foms, "max") == [0, 3, 2, 5, 1, 4, 6, 7]
