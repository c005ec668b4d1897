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
