"""Warm restarts of the learning rate in any workload, step by step and from leg to leg."""

from typing import Any

import pytest
from torch import Tensor

from evodevo.errors import UsageError
from tests.golden import raises_golden
from tests.workers.static.members import Points, Switch, made, ready, trained
from workers.training import Leg, Training
from workers.workload import Batch

SLIDES = {"learning_rate": 0.1, "restart_steps": 10, "restart_decay": 0.7, "restart_min": 0.001}


class Watched(Points):
    """Six batches an epoch; notes the learning rate of each step."""

    capture = "never"

    def __init__(self) -> None:
        super().__init__()
        self.rates: list[float] = []

    def step(self, training: Training, batch: Batch) -> Tensor:
        self.rates.append(training.optimizer.param_groups[0]["lr"])
        return super().step(training, batch)


def rates(hp: dict[str, Any], leg: Leg = Leg(), epochs: int = 1, parent: bytes | None = None) -> list[float]:  # noqa: B008
    workload = ready(Watched())
    trained(workload, hp, 1, parent, leg, epochs)
    return workload.rates


def test_the_rate_restarts_from_07_of_its_last_peak_every_ten_steps_over_epochs() -> None:
    found = rates(SLIDES, epochs=5)
    assert len(found) == 30
    assert found[::10] == pytest.approx([0.1, 0.07, 0.049])
    assert found[5::10] == pytest.approx([0.0505, 0.0355, 0.025])


def test_cycles_may_be_of_epochs() -> None:
    hp = {"learning_rate": 0.1, "restart_epochs": 1, "restart_decay": 0.5}
    assert rates(hp, epochs=2)[::3] == pytest.approx([0.1, 0.05, 0.05, 0.025])


def test_a_child_goes_on_in_the_cycle_that_its_parent_was_in() -> None:
    assert rates(SLIDES, Leg(before=2)) == pytest.approx(rates(SLIDES, epochs=3)[12:])


def test_legs_of_steps_count_their_steps() -> None:
    assert rates(SLIDES, Leg(steps=4, before=2))[:2] == pytest.approx(
        [rates(SLIDES, epochs=2)[8], rates(SLIDES, epochs=2)[9]]
    )


def test_afterwards_the_rate_is_the_members_own_again() -> None:
    training, _ = trained(ready(Watched()), SLIDES)
    assert training.optimizer.param_groups[0]["lr"] == 0.1


def test_a_member_without_restarts_trains_as_ever() -> None:
    assert rates({"learning_rate": 0.1}) == [0.1] * 6


def test_captured_steps_have_the_same_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    static = Switch(monkeypatch)
    workload = ready(Points())
    losses = []
    for on in (False, True):
        static(on)
        losses.append(trained(workload, SLIDES)[1])
    assert made(workload) == 1
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert trained(workload, {"learning_rate": 0.1})[1] != pytest.approx(losses[0], rel=1e-3)


def test_restarts_and_anneal_or_an_impossible_value_are_refused() -> None:
    with raises_golden("restarts/and-anneal", UsageError):
        ready(Points()).begin({**SLIDES, "anneal": 0.5}, 0, None)
    with raises_golden("restarts/steps-of-a-workload", UsageError):
        ready(Points()).begin({**SLIDES, "restart_steps": -1}, 0, None)
