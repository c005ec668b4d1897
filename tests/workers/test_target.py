"""The cost to reach a target: what is lacking, evaluations in a row, the figure of merit."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.golden import raises_golden
from workers.target import Standing, gap, shortfall_of

ACCURATE = {"metric": "validation_accuracy", "at_least": 0.9}
LOW = {"metric": "validation_loss", "at_most": 0.5}


def target(*goals: dict[str, Any], evaluations: int = 1, limit: float = 100.0) -> dict[str, Any]:
    about = {"evaluations": evaluations, "every_steps": 10, "cost": "steps", "limit": limit}
    return {"goals": goals or (ACCURATE,), **about}


@pytest.mark.parametrize(
    "goal, value, expected",
    [
        (ACCURATE, 0.9, 0.0),
        (ACCURATE, 1.0, 0.0),
        (ACCURATE, 0.45, 0.5),
        (ACCURATE, 0.0, 1.0),
        (ACCURATE, -5.0, 1.0),
        (LOW, 0.5, 0.0),
        (LOW, 0.1, 0.0),
        (LOW, 1.0, 0.5),
        (LOW, 5.0, 0.9),
        (LOW, math.inf, 1.0),
        (LOW, math.nan, 1.0),
        (ACCURATE, math.nan, 1.0),
        ({"metric": "x", "at_least": 0.0}, -1e-9, 1.0),
    ],
)
def test_a_gap_is_relative_and_at_most_1(goal: dict[str, Any], value: float, expected: float) -> None:
    assert gap(goal, value) == pytest.approx(expected)


def test_the_shortfall_of_several_goals_is_the_mean_and_0_only_if_all_are_reached() -> None:
    assert shortfall_of([ACCURATE, LOW], {"validation_accuracy": 0.95, "validation_loss": 1.0}) == 0.25
    assert shortfall_of([ACCURATE, LOW], {"validation_accuracy": 0.95, "validation_loss": 0.5}) == 0
    with raises_golden("target/metric-missing", KeyError):
        shortfall_of([ACCURATE, LOW], {"validation_accuracy": 0.95})


def test_evaluations_have_to_reach_it_in_a_row() -> None:
    standing = Standing(target(evaluations=2), {})
    for cost, accuracy in [(10, 0.95), (20, 0.8), (30, 0.9), (40, 0.91), (50, 0.99)]:
        standing.take({"validation_accuracy": accuracy}, cost)
    assert standing.reached_at == standing.fom() == 40


def test_a_row_goes_on_over_legs() -> None:
    first = Standing(target(evaluations=2), {})
    first.take({"validation_accuracy": 0.95}, 10)
    second = Standing(target(evaluations=2), {"in_a_row": first.in_a_row, "shortfall": first.shortfall})
    second.take({"validation_accuracy": 0.95}, 20)
    assert (first.reached_at, second.reached_at) == (None, 20)


def test_what_is_reached_above_the_limit_is_not_reached() -> None:
    standing = Standing(target(limit=15), {})
    standing.take({"validation_accuracy": 0.95}, 20)
    assert standing.reached_at is None
    assert standing.fom() == pytest.approx(15 * 1.001)


def test_an_evaluation_that_was_not_due_says_how_far_it_came_and_does_not_count_in_a_row() -> None:
    standing = Standing(target(evaluations=2), {})
    standing.see({"validation_accuracy": 0.45})
    assert (standing.in_a_row, standing.shortfall, standing.fom()) == (0, 0.5, 150)
    standing.see({"validation_accuracy": 0.95})
    assert (standing.in_a_row, standing.shortfall) == (0, 0)


values = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(values, max_size=8), st.lists(values, max_size=8), st.integers(1, 3))
def test_who_reached_it_is_better_than_who_did_not_and_those_are_ordered_by_their_closest_evaluation(
    one: list[float], other: list[float], evaluations: int
) -> None:
    found = []
    for accuracies in (one, other):
        standing = Standing(target(evaluations=evaluations), {})
        for number, accuracy in enumerate(accuracies, 1):
            standing.take({"validation_accuracy": accuracy}, 10 * number)
        found.append(standing)
        assert (standing.fom() <= 100) == (standing.reached_at is not None)
        assert math.isfinite(standing.fom())
    first, second = found
    if first.reached_at is None and second.reached_at is None and first.shortfall < second.shortfall:
        assert first.fom() <= second.fom()
