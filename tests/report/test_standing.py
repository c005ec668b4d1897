"""Which members a member is compared with: its generation, or in a steady-state run all."""

import math

import pytest

from evodevo.evolution.fitness import DEFAULT_SIGMA
from evodevo.report.standing import fitness_by_member, fom_scale, foms_by_generation
from tests.report.steady import steady
from tests.run.fakes import config_of
from tests.run.handmade import Pen


def test_fitness_is_relative_to_the_generation_once_it_is_complete() -> None:
    pen = Pen(config_of(search__population=2))
    pen.generation(None, None, foms=(1.0, 2.0))
    pen.births(None, None)
    pen.done(g001s000=3.0)
    assert fitness_by_member(pen.history) == {"g000s000": 1.0, "g000s001": math.exp(-DEFAULT_SIGMA)}
    pen.failed("g001s001")
    assert fitness_by_member(pen.history)["g001s000"] == 1.0
    assert fitness_by_member(pen.history)["g001s001"] == 0.0


def test_in_a_steady_run_it_is_relative_to_all_that_are_done() -> None:
    pen = steady(2.0, None, 3.0, 1.0)
    fitness = fitness_by_member(pen.history)
    assert fitness == {
        "g000s000": pytest.approx(math.exp(-DEFAULT_SIGMA / 2)),
        "g002s000": pytest.approx(math.exp(-DEFAULT_SIGMA)),
        "g003s000": 1.0,
    }


def test_foms_are_of_each_generation() -> None:
    pen = Pen()
    pen.generation(None, None, None, None, foms=(4.0, 1.0, 3.0, 2.0))
    pen.births(None, None, None)
    pen.failed("g001s000", "g001s001", "g001s002")
    pen.births(None, None, None)
    pen.done(g002s001=7.0, g002s002=5.0, g002s000=9.0)
    assert foms_by_generation(pen.history) == {
        "generation": [0, 2],
        "best": [1.0, 5.0],
        "median": [2.5, 7.0],
        "low": [1.0, 5.0],
        "high": [4.0, 9.0],
    }


def test_in_a_steady_run_they_are_of_all_members_so_far() -> None:
    assert foms_by_generation(steady(2.0, None, 3.0, 1.0, 4.0, mode="max").history) == {
        "generation": [0, 2, 3, 4],
        "best": [2.0, 3.0, 3.0, 4.0],
        "median": [2.0, 2.5, 2.0, 2.5],
        "low": [2.0, 2.0, 1.0, 1.0],
        "high": [2.0, 3.0, 3.0, 4.0],
    }


@pytest.mark.parametrize(
    ("lows", "highs", "scale"),
    [
        ([1.0, 2.0], [3.0, 11.0], "log"),
        ([1.0, 2.0], [3.0, 9.0], "linear"),
        ([-1.0], [50.0], "linear"),
        ([], [], "linear"),
    ],
)
def test_an_axis_of_foms_is_a_log_one_where_they_are_more_than_a_decade_apart(
    lows: list[float], highs: list[float], scale: str
) -> None:
    assert fom_scale(lows, highs) == scale
