"""Single loci: bounds, types, sampling, neighbourhoods and steps."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evodevo.evolution.space import FloatLocus, same
from tests.evolution.spaces import (
    assert_mean,
    assert_rate,
    factors,
    identical,
    is_legal,
    legal_values,
    loci,
    locus,
    rngs,
)

DRAWS = 8000
ONES = [1, True, 1.0]


@given(data=st.data(), a_locus=loci(), factor=factors, spread=st.floats(0, 3), rng=rngs)
def test_no_operator_leaves_the_bounds_or_the_type_of_a_locus(
    data: st.DataObject, a_locus: Any, factor: float, spread: float, rng: np.random.Generator
) -> None:
    value = data.draw(legal_values(a_locus))
    for _ in range(5):
        assert is_legal(a_locus, a_locus.sample(rng))
        assert is_legal(a_locus, a_locus.near(value, spread, rng))
        assert is_legal(a_locus, a_locus.step(value, factor, rng))


@given(data=st.data(), a_locus=loci().filter(lambda made: made.type == "float"))
def test_from_unit_takes_back_what_to_unit_did(data: st.DataObject, a_locus: FloatLocus) -> None:
    value = data.draw(legal_values(a_locus))
    place = a_locus.to_unit(value)
    assert -1e-12 <= place <= 1 + 1e-12
    # Some roundings: of the wider bound on a linear scale, of a logarithm below 700 on the other.
    wider = max(abs(a_locus.low), abs(a_locus.high))
    tolerance = 1e-12 * abs(value) if a_locus.scale == "log" else 4e-16 * 4 * wider
    assert abs(a_locus.from_unit(place) - value) <= tolerance


@pytest.mark.parametrize("scale, middle", [("linear", 50.005), ("log", 1.0)])
def test_the_unit_runs_from_bound_to_bound_on_the_scale(scale: str, middle: float) -> None:
    made = locus("float", low=0.01, high=100.0, scale=scale)
    assert [made.to_unit(v) for v in (0.01, middle, 100.0)] == pytest.approx([0.0, 0.5, 1.0], abs=1e-12)
    assert [made.from_unit(p) for p in (0.0, 0.5, 1.0)] == pytest.approx([0.01, middle, 100.0], rel=1e-12)


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_float_is_sampled_evenly_on_its_scale(scale: str) -> None:
    made, rng = locus("float", low=1e-4, high=10.0, scale=scale), np.random.default_rng(0)
    places = np.array([made.to_unit(made.sample(rng)) for _ in range(DRAWS)])
    for decile in range(10):
        assert_rate(((places * 10).astype(int) == decile).sum(), DRAWS, 0.1)  # 4 standard deviations


def test_an_int_is_sampled_evenly_up_to_both_bounds() -> None:
    rng = np.random.default_rng(0)
    drawn = [locus("int", low=-2, high=2).sample(rng) for _ in range(DRAWS)]
    for value in range(-2, 3):
        assert_rate(drawn.count(value), DRAWS, 1 / 5)


def test_an_int_on_a_log_scale_is_drawn_by_the_logarithm_of_the_room_around_it() -> None:
    made, rng = locus("int", low=1, high=4, scale="log"), np.random.default_rng(0)
    drawn = [made.sample(rng) for _ in range(DRAWS)]
    for value in range(1, 5):
        assert_rate(drawn.count(value), DRAWS, math.log((value + 0.5) / (value - 0.5)) / math.log(4.5 / 0.5))


def test_choices_and_bools_are_sampled_evenly() -> None:
    rng = np.random.default_rng(0)
    drawn = [locus("choice", choices=ONES).sample(rng) for _ in range(DRAWS)]
    for choice in ONES:
        assert_rate(sum(same(value, choice) for value in drawn), DRAWS, 1 / 3)
    assert_rate(sum(locus("bool").sample(rng) for _ in range(DRAWS)), DRAWS, 1 / 2)


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("start, mean", [(0.5, 0.5), (0.0, 0.1 * math.sqrt(2 / math.pi))])
def test_near_spreads_by_a_part_of_the_range_and_reflects_at_the_bounds(
    scale: str, start: float, mean: float
) -> None:
    made, rng = locus("float", low=1e-4, high=10.0, scale=scale), np.random.default_rng(0)
    value = made.from_unit(start)
    places = np.array([made.to_unit(made.near(value, 0.1, rng)) for _ in range(DRAWS)])
    assert_mean(places, mean, deviation=0.1)
    assert_mean((places - start) ** 2, 0.01, deviation=0.01 * math.sqrt(2))


@given(value=st.integers(1, 10**6), rng=rngs)
def test_near_without_a_spread_is_the_value_itself(value: int, rng: np.random.Generator) -> None:
    for scale in ("linear", "log"):
        assert locus("int", low=1, high=10**6, scale=scale).near(value, 0.0, rng) == value


def test_choices_and_bools_stay_near_half_the_time_and_are_drawn_anew_the_other_half() -> None:
    rng = np.random.default_rng(0)
    drawn = [locus("choice", choices=["a", "b", "c"]).near("b", 0.1, rng) for _ in range(DRAWS)]
    for choice, expected in (("a", 1 / 6), ("b", 4 / 6), ("c", 1 / 6)):
        assert_rate(drawn.count(choice), DRAWS, expected)
    assert_rate(sum(locus("bool").near(True, 0.1, rng) for _ in range(DRAWS)), DRAWS, 3 / 4)


@given(data=st.data(), a_locus=loci().filter(lambda made: made.type in ("int", "choice", "bool")), rng=rngs)
def test_a_step_always_moves_what_is_not_a_real_number(
    data: st.DataObject, a_locus: Any, rng: np.random.Generator
) -> None:
    value = data.draw(legal_values(a_locus))
    for factor in (0.8, 0.9999, 1.0, 1.0001, 1.2):
        assert not same(a_locus.step(value, factor, rng), value)


@pytest.mark.parametrize(
    "low, high, value, factor, stepped",
    [
        (0, 100, 50, 1.2, 60),
        (0, 100, 50, 0.8, 40),
        (0, 100, 50, 1.001, 51),
        (0, 100, 50, 0.999, 49),
        (-100, 0, -50, 1.2, -40),
        (-100, 0, -50, 0.8, -60),
        (-5, 5, 0, 1.01, 1),
        (-5, 5, 0, 0.99, -1),
        (0, 5, 0, 0.8, 1),
        (-5, 0, 0, 1.2, -1),
        (0, 100, 90, 1.2, 100),
        (1, 6, 6, 1.2, 5),
        (1, 6, 1, 0.8, 2),
        (3, 4, 3, 0.8, 4),
        (3, 4, 4, 1.2, 3),
    ],
)
def test_an_int_steps_by_its_part_and_by_one_at_least_and_turns_back_at_a_bound(
    low: int, high: int, value: int, factor: float, stepped: int
) -> None:
    assert locus("int", low=low, high=high).step(value, factor, np.random.default_rng(0)) == stepped


@pytest.mark.parametrize(
    "low, high, value, factor, stepped",
    [
        (0.0, 1.0, 0.5, 1.2, 0.6),
        (0.0, 1.0, 0.5, 0.9, 0.45),
        (-1.0, 0.0, -0.5, 1.2, -0.4),
        (-1.0, 0.0, -0.5, 0.8, -0.6),
        (0.0, 1.0, 0.9, 1.2, 1.0),
        (0.4, 1.0, 0.45, 0.8, 0.4),
        (0.0, 2.0, 0.0, 1.2, 0.1),
        (0.0, 2.0, 0.0, 0.8, 0.1),
        (-2.0, 0.0, 0.0, 1.2, -0.1),
        (-2.0, 0.0, 0.0, 0.8, -0.1),
        (-1.0, 1.0, 0.0, 1.2, 0.1),
        (-1.0, 1.0, 0.0, 0.8, -0.1),
        (0.0, 2.0, 0.01, 1.2, 0.11),
        (0.0, 2.0, 0.2, 0.8, 0.1),
        (0.0, 2.0, 0.05, 0.8, 0.0),
        (0.0, 1.0, 1.0, 1.2, 0.8),
        (0.5, 1.0, 0.5, 0.8, 0.6),
    ],
)
def test_a_float_steps_by_its_part_or_a_quarter_of_the_ranges_and_turns_back_from_a_bound(
    low: float, high: float, value: float, factor: float, stepped: float
) -> None:
    made = locus("float", low=low, high=high)
    assert made.step(value, factor, np.random.default_rng(0)) == pytest.approx(stepped, rel=1e-12)


def test_a_choice_steps_to_each_other_choice_equally_often() -> None:
    made, rng = locus("choice", choices=[*ONES, "1"]), np.random.default_rng(0)
    drawn = [made.step(True, 1.2, rng) for _ in range(DRAWS)]
    for choice in (1, 1.0, "1"):
        assert_rate(sum(same(value, choice) for value in drawn), DRAWS, 1 / 3)
    assert not any(value is True for value in drawn)


def test_a_bool_steps_to_the_other() -> None:
    rng = np.random.default_rng(0)
    assert [locus("bool").step(value, 1.2, rng) for value in (True, False)] == [False, True]


@given(a_locus=loci().filter(lambda made: made.type == "fixed"), factor=factors, rng=rngs)
def test_a_constant_never_changes(a_locus: Any, factor: float, rng: np.random.Generator) -> None:
    changed = [
        a_locus.sample(rng),
        a_locus.near(a_locus.value, 1.0, rng),
        a_locus.step(a_locus.value, factor, rng),
    ]
    assert all(identical(value, a_locus.value) for value in (*changed, a_locus.initial))
    assert not a_locus.evolves


def test_1_and_true_and_1_0_are_three_values() -> None:
    assert [[same(one, other) for other in ONES] for one in ONES] == np.eye(3, dtype=bool).tolist()
    assert identical(locus("choice", choices=ONES).choices, ONES)
    for kind, fields, own in (("int", {"low": 0, "high": 9}, 1), ("float", {"low": 0.0, "high": 9.0}, 1.0)):
        assert [locus(kind, **fields).contains(value) for value in ONES] == [same(own, v) for v in ONES]
    assert [locus("bool").contains(value) for value in ONES] == [False, True, False]
    assert [locus("fixed", value=1.0).contains(value) for value in ONES] == [False, False, True]
    assert [locus("choice", choices=[True, 1.0]).contains(value) for value in ONES] == [False, True, True]


def test_lists_are_the_same_by_the_types_and_values_in_them() -> None:
    lists: list[Any] = [[1], [1.0], [True], [[1]], [], [1, 1], 1, None]
    assert [[same(one, other) for other in lists] for one in lists] == np.eye(len(lists), dtype=bool).tolist()
    made = locus("choice", choices=lists, initial=[True])
    assert identical(made.choices, lists)
    assert made.contains([[1]])
    assert not made.contains([[1.0]])


@pytest.mark.parametrize("value", [{"a": 1}, [{"a": 1}], [math.nan], [[math.inf]], (64, 64)])
def test_a_choice_that_is_neither_a_plain_value_nor_a_list_of_them_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"choices\.0|choices\.1"):
        locus("choice", choices=["x", value])


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, None, "0.5"])
def test_a_number_outside_its_bounds_is_not_contained(value: Any) -> None:
    assert not locus("float", low=0.0, high=1.0).contains(value)
    assert not locus("int", low=0, high=1).contains(value)


def test_a_real_number_drifts_by_a_log_normal_factor() -> None:
    made, rng = locus("float", low=1e-9, high=1e9, scale="log"), np.random.default_rng(0)
    found = np.log([made.drift(2.0, 0.3, rng) / 2.0 for _ in range(DRAWS)])
    assert_mean(found, 0.0, deviation=0.3)
    assert found.std() == pytest.approx(0.3, rel=0.05)


@given(data=st.data(), a_locus=loci(), deviation=st.floats(0.01, 2.0), rng=rngs)
def test_a_drift_never_leaves_the_legal_values(
    data: st.DataObject, a_locus: Any, deviation: float, rng: np.random.Generator
) -> None:
    value = data.draw(legal_values(a_locus))
    assert is_legal(a_locus, a_locus.drift(value, deviation, rng))


def test_a_whole_number_drifts_both_ways_as_far_as_a_real_one_and_often_stays() -> None:
    made, rng = locus("int", low=0, high=100), np.random.default_rng(0)
    found = np.array([made.drift(50, 0.1, rng) for _ in range(DRAWS)])
    assert found.std() == pytest.approx(5.0, rel=0.05)
    small = [locus("int", low=0, high=6).drift(0, 0.3, rng) for _ in range(DRAWS)]
    assert set(small) >= {0, 1}
    assert 0.5 < small.count(0) / DRAWS < 0.9


def test_a_choice_and_a_bool_drift_as_often_as_the_deviation_says() -> None:
    rng = np.random.default_rng(0)
    choice, flag = locus("choice", choices=["a", "b", "c"]), locus("bool")
    drawn = [choice.drift("b", 0.3, rng) for _ in range(DRAWS)]
    for value, expected in (("a", 0.15), ("b", 0.7), ("c", 0.15)):
        assert_rate(drawn.count(value), DRAWS, expected)
    assert_rate(sum(flag.drift(False, 0.3, rng) for _ in range(DRAWS)), DRAWS, 0.3)


def test_the_values_of_a_choice_have_labels_that_tell_them_apart() -> None:
    choices = [None, True, 1, 1.0, "1", "on"]
    made = locus(type="choice", choices=choices)
    assert made.labels == ("None", "True", "1", "1.0", "'1'", "on")
    assert [made.index(choice) for choice in choices] == list(range(6))
    lists = [[64, 64], "[64, 64]", [], [["é", None], True]]
    made = locus(type="choice", choices=lists)
    assert made.labels == ("[64, 64]", "'[64, 64]'", "[]", '[["é", null], true]')
    assert [made.index(choice) for choice in lists] == list(range(4))
    flag = locus(type="bool")
    assert [flag.labels[flag.index(value)] for value in (False, True)] == ["False", "True"]
    assert locus(type="float", low=0.0, high=1.0).labels == ()
