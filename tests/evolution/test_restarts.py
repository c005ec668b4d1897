"""Cosine annealing with warm restarts, against values worked out by hand."""

from typing import Any

import pytest

from evodevo.evolution.restarts import Restarts, of
from tests.golden import raises_golden

SLIDES = Restarts(10, 1, 0.7, 0.001)  # of the slides on YOLOv4: T 10, T_mult 1, max 0.1, min 0.001, gamma 0.7


def test_peaks_fall_by_gamma_and_each_cycle_falls_to_the_same_minimum() -> None:
    assert [SLIDES.value(t, 0.1) for t in (0, 10, 20)] == pytest.approx([0.1, 0.07, 0.049])
    assert [SLIDES.value(t - 1e-6, 0.1) for t in (10, 20, 30)] == pytest.approx([0.001] * 3)
    assert [SLIDES.value(t, 0.1) for t in (5, 15, 25)] == pytest.approx([0.0505, 0.0355, 0.025])


@pytest.mark.parametrize(
    ("position", "cycle"),
    [(0, (0, 0.0)), (1, (0, 0.5)), (2, (1, 0.0)), (4, (1, 0.5)), (6, (2, 0.0)), (10, (2, 0.5))],
)
def test_cycles_get_longer_by_the_multiplier(position: float, cycle: tuple[int, float]) -> None:
    assert Restarts(2, 2).cycle(position) == cycle


def test_a_peak_below_the_minimum_stays_what_it_is() -> None:
    assert [SLIDES.value(t, 0.1) for t in (130, 135)] == pytest.approx([0.001] * 2)  # 0.1 * 0.7^13 is less
    assert [SLIDES.value(t, 1e-5) for t in (0, 5, 25)] == pytest.approx([1e-5] * 3)


def test_a_million_short_cycles_take_no_time() -> None:
    assert Restarts(1.0).cycle(1_000_000.25) == (1_000_000, 0.25)


def test_hyperparameters_give_the_cycles_in_steps_or_in_epochs() -> None:
    given = {"restart_decay": 0.7, "restart_min": 0.001}
    assert of({"restart_steps": 10, **given}) == (SLIDES, True)
    assert of({"restart_epochs": 10, **given}) == (SLIDES, False)
    assert of({**given, "restart_steps": 0}) is None
    assert of({}) is None


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("steps-and-epochs", {"restart_steps": 1, "restart_epochs": 1}),
        ("steps-negative", {"restart_steps": -1}),
        ("epochs-text", {"restart_epochs": "2"}),
        ("multiplier", {"restart_steps": 1, "restart_multiplier": 0.5}),
    ],
)
def test_what_cannot_be_is_named(name: str, wrong: dict[str, Any]) -> None:
    with raises_golden(f"restarts/{name}", ValueError) as raised:
        of(wrong)
    assert list(wrong)[-1] in str(raised.value)
