"""What a run gained over the values that its loci were given."""

from typing import Any

import pytest

from evodevo.report.gain import Gain, gain_facts, gain_of
from evodevo.report.summary import summary_lines
from tests.run.fakes import config_of
from tests.run.handmade import Pen

SPREAD = [{"rate": 0.02, "layers": 3}, {"rate": 0.5, "layers": 1}]
"""The given values, and others."""


def said(metric: str, mode: Any, given: float, best: float) -> str:
    return Gain(metric, mode, given, best).text()


def run_with(*foms: float | None, config: Any = None) -> Pen:
    """Two founders, the first with the given values, of which those without a fom failed; and a child."""
    pen = Pen(config)
    pen.births(None, None, genomes=SPREAD)
    for member, fom in zip(("g000s000", "g000s001"), foms, strict=True):
        pen.failed(member) if fom is None else pen.done(**{member: fom})
    return pen


@pytest.mark.parametrize(
    ("metric", "mode", "given", "best", "text"),
    [
        ("validation_loss", "min", 0.433, 0.101, "0.433 -> 0.101, 4.3 times better"),
        ("validation_loss", "min", 12.0, 0.01, "12 -> 0.01, 1,200 times better"),
        ("validation_loss", "min", 1.02, 1.0, "1.02 -> 1, -0.02"),
        ("validation_loss", "min", 1.0, 0.0, "1 -> 0, -1"),
        ("log_likelihood", "min", 0.5, -2.0, "0.5 -> -2, -2.5"),
        ("log_likelihood", "max", -8.0, -2.0, "-8 -> -2, +6"),
        ("reward", "max", -1.0, 3.0, "-1 -> 3, +4"),
        ("reward", "max", 0.0, 3.0, "0 -> 3, +3"),
        ("reward", "max", 20.0, 50.0, "20 -> 50, 2.5 times better"),
        ("validation_map", "max", 0.1, 0.3, "0.1 -> 0.3, 3.0 times better"),
        ("validation_accuracy", "max", 0.9, 0.98, "0.9 -> 0.98, 5.0 times fewer errors"),
        ("validation_accuracy", "max", 0.1, 0.9, "0.1 -> 0.9, 9.0 times fewer errors"),
        ("validation_accuracy", "max", 0.9, 1.0, "0.9 -> 1, +0.1"),
        ("validation_accuracy", "max", 90.0, 98.0, "90 -> 98, +8"),
        ("accuracy_gap", "min", 0.4, 0.1, "0.4 -> 0.1, 4.0 times better"),
        ("validation_loss", "min", 0.5, 0.5, "none: 0.5 with the given values is the best"),
    ],
)
def test_a_gain_is_a_ratio_where_that_means_something_and_else_a_difference(
    metric: str, mode: str, given: float, best: float, text: str
) -> None:
    assert said(metric, mode, given, best) == text


def test_members_that_were_trained_for_different_lengths_are_shown_without_a_ratio() -> None:
    pen = run_with(0.8, 0.9)
    assert dict(summary_lines(pen.history))["  from the given values"].startswith("none: 0.8")
    pen.births("g000s001", "g000s000")
    pen.done(g001s000=0.2, g001s001=0.5)
    gain = gain_of(pen.history)
    assert gain is not None
    assert gain.text() == "0.8 (first member, after 1 epoch) -> 0.2 (best member, after 2 epochs)"
    assert gain_facts(pen.history) == {"given_fom": 0.8, "times_better": None}
    steps = Pen(config_of(search__steps_per_generation=500))
    steps.records[2:] = pen.records[2:]
    gain = gain_of(steps.history)
    assert gain is not None
    assert gain.text() == "0.8 (first member, after 500 steps) -> 0.2 (best member, after 1,000 steps)"


def test_where_the_member_with_the_given_values_failed_that_is_said() -> None:
    pen = run_with(None, 0.5)
    gain = gain_of(pen.history)
    assert gain is not None
    assert gain.text() == "the member with the given values failed; the best one reached 0.5"
    assert gain_facts(pen.history) == {"given_fom": None, "times_better": None}


def test_there_is_nothing_to_say_before_the_first_founder_is_done_or_without_a_best_member() -> None:
    pen = Pen()
    assert gain_of(pen.history) is None
    pen.births(None, None, genomes=SPREAD)
    pen.done(g000s001=0.5)
    assert gain_of(pen.history) is None
    pen.diverged("g000s000")
    assert gain_of(pen.history) is not None
    assert gain_of(run_with(None, None).history) is None


def test_founders_that_are_drawn_have_no_given_values() -> None:
    pen = Pen()
    pen.births(None, None, genomes=SPREAD[::-1])
    pen.done(g000s000=0.8, g000s001=0.5)
    assert gain_of(pen.history) is None
    assert not any("given" in label for label, _ in summary_lines(pen.history))
    assert gain_facts(pen.history) == {"given_fom": None, "times_better": None}
