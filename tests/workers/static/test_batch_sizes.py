"""A batch size that is a hyperparameter: static steps keep to each member's own."""

import pytest

from tests.workers.static.members import Points, Switch, assert_same, made, ready, trained
from workers.hyperparameters import Hyperparameters

SIZES = (8, 20)


class Sized(Points):
    def batch_size_of(self, hp: Hyperparameters) -> int:
        return int(hp["batch_size"])


def hyperparameters(size: int) -> dict[str, float]:
    return {"learning_rate": 0.1, "batch_size": size, "anneal": 0.5}


@pytest.fixture
def static(monkeypatch: pytest.MonkeyPatch) -> Switch:
    return Switch(monkeypatch)


def test_a_member_of_any_batch_size_is_what_it_is_without_static_steps(static: Switch) -> None:
    workload = ready(Sized())
    for size in SIZES:
        static(False)
        eager, expected = trained(workload, hyperparameters(size))
        static(True)
        member, losses = trained(workload, hyperparameters(size))
        assert len(losses) == 2 * (100 // size)
        assert losses == pytest.approx(expected, rel=1e-5)
        assert_same(workload.checkpoint(member), workload.checkpoint(eager), atol=1e-6)
        assert member.notes == []
    assert made(workload) == len(SIZES)


def test_members_of_different_batch_sizes_are_not_trained_together(static: Switch) -> None:
    static(True)
    workload = ready(Sized())
    different = [workload.begin(hyperparameters(size), 0, None) for size in SIZES]
    assert not workload.stackable(different)
    assert made(workload) == 0


def test_data_that_are_less_than_a_members_batch_are_trained_as_ever(static: Switch) -> None:
    static(True)
    workload = ready(Sized())
    _, losses = trained(workload, hyperparameters(200))
    assert len(losses) == 2
    assert made(workload) == 0
