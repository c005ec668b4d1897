"""The schedule of a whole training, at positions that a hand can work out."""

import pytest

from workers.detection import recipe
from workers.detection.schedule import factor, settings

PLAIN = {**recipe.OPTIMISER, **recipe.SCHEDULE, "lrf": 0.1, "warmup_epochs": 0.0}
RESTARTS = {**PLAIN, "restart_epochs": 2.0, "restart_multiplier": 2.0, "restart_decay": 0.5}


@pytest.mark.parametrize(("epoch", "value"), [(0, 1.0), (2.5, 0.8682), (5, 0.55), (10, 0.1), (12, 0.1)])
def test_a_cosine_falls_from_one_to_lrf(epoch: float, value: float) -> None:
    assert factor(epoch, 10, "cosine", PLAIN) == pytest.approx(value, abs=1e-4)


def test_a_line_falls_evenly() -> None:
    assert [factor(epoch, 10, "linear", PLAIN) for epoch in (0, 5, 10)] == pytest.approx([1.0, 0.55, 0.1])


@pytest.mark.parametrize(
    ("epoch", "value"),
    [(0, 1.0), (1, 0.55), (2, 0.5), (4, 0.275), (6, 0.25), (10, 0.1375), (14, 0.125)],
)
def test_cycles_get_longer_and_lower(epoch: float, value: float) -> None:
    """Of 2, 4, 8 epochs, from 1, 0.5 and 0.25; half way through one is 0.55 of its peak."""
    assert factor(epoch, 20, "cosine", RESTARTS) == pytest.approx(value)


def test_warm_up_goes_from_its_values_to_those_of_the_schedule() -> None:
    warm = {**PLAIN, "lr0": 0.02, "lrf": 1.0, "warmup_epochs": 2.0, "warmup_bias_lr": 0.1, "momentum": 0.9}
    assert settings(0, 10, "cosine", warm) == pytest.approx((0.0, 0.1, 0.8))
    assert settings(1, 10, "cosine", warm) == pytest.approx((0.01, 0.06, 0.85))
    assert settings(2, 10, "cosine", warm) == pytest.approx((0.02, 0.02, 0.9))
    assert settings(9, 10, "cosine", warm) == pytest.approx((0.02, 0.02, 0.9))


def test_without_warm_up_the_schedule_holds_from_the_first_batch() -> None:
    assert settings(0, 10, "cosine", PLAIN) == pytest.approx((0.01, 0.01, 0.937))


SLIDES = {**PLAIN, "lr0": 0.1, "restart_steps": 10.0, "restart_decay": 0.7, "restart_min": 0.001}


@pytest.mark.parametrize(
    ("step", "rate"), [(0, 0.1), (5, 0.0505), (10, 0.07), (15, 0.0355), (20, 0.049), (25, 0.025)]
)
def test_with_a_minimum_each_cycle_falls_to_it_and_begins_lower(step: int, rate: float) -> None:
    """Half way through a cycle the rate is half way between its peak and 0.001."""
    assert settings(0.5, 20, "cosine", SLIDES, step).rate == pytest.approx(rate)


def test_a_minimum_holds_for_cycles_of_epochs_and_for_one_alone() -> None:
    of_epochs = {**SLIDES, "restart_steps": 0.0, "restart_epochs": 2.0, "restart_multiplier": 2.0}
    assert settings(4, 20, "cosine", of_epochs).rate == pytest.approx((0.07 + 0.001) / 2)
    one = {**of_epochs, "restart_epochs": 0.0}
    assert settings(10, 20, "cosine", one).rate == pytest.approx(0.0505)
