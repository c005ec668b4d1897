"""Members that are trained together are what each would be alone, within the accuracy of their numbers."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.golden import raises_golden
from tests.workers.made_images import prepared
from tests.workers.static.members import (
    AVERAGED,
    Points,
    Switch,
    alone,
    assert_same,
    made,
    ready,
    together,
)  # fmt: skip
from workers.images import ImageClassifier
from workers.seeding import Randomness
from workers.static.step import Obstructed
from workers.training import Training
from workers.workload import Workload
from workers.workloads.capsnet import CapsNet
from workers.workloads.lenet import LeNet
from workers.workloads.resnet20 import ResNet20


@pytest.fixture
def static(monkeypatch: pytest.MonkeyPatch) -> Switch:
    switch = Switch(monkeypatch)
    switch(True)
    return switch


class Lines(Points):
    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


HPS: list[dict[str, Any]] = [
    {"learning_rate": 0.1, "noise": 0.0, "anneal": 0.0},
    {"learning_rate": 0.3, "noise": 0.5, "anneal": 1.0},
    {"learning_rate": 0.01, "noise": 0.2, "anneal": 0.5},
]


def begun(workload: Workload, hps: list[dict[str, Any]]) -> list[Training]:
    return [workload.begin(hp, seed, None, AVERAGED) for seed, hp in enumerate(hps)]


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_members_with_their_own_hyperparameters_are_what_they_are_alone(
    kind: type[torch.optim.Optimizer], static: Switch
) -> None:
    workload = ready(Lines(kind))
    workload.clip_norm = 0.5
    static(False)
    trainings = begun(workload, HPS)
    expected = [alone(workload, trainings) for _ in range(2)][-1]
    static(True)
    members = begun(workload, HPS)
    assert workload.stackable(members)
    losses = [together(workload, members) for _ in range(2)][-1]
    assert made(workload) == 1
    for mine, its in zip(losses, expected, strict=True):
        assert mine == pytest.approx(its, rel=1e-4)
    for member, training in zip(members, trainings, strict=True):
        assert_same(workload.checkpoint(member), workload.checkpoint(training), atol=1e-5)
        assert member.notes == []


def test_a_member_that_diverges_does_not_touch_the_others(static: Switch) -> None:
    workload = ready(Lines())
    members = begun(workload, HPS)
    expected = together(workload, members)
    wild = [HPS[0], {**HPS[1], "learning_rate": 1e38}, HPS[2]]
    others = begun(workload, wild)
    losses = together(workload, others)
    assert not math.isfinite(losses[1][-1])
    for at in (0, 2):
        assert losses[at] == expected[at]
        assert workload.checkpoint(others[at]) == workload.checkpoint(members[at])
    assert made(workload) == 1


def test_asking_whether_members_can_be_stacked_changes_nothing(static: Switch) -> None:
    workload = ready(Lines())
    members = begun(workload, HPS)
    torch.manual_seed(3)
    before = [workload.checkpoint(one) for one in members], torch.get_rng_state()
    orders = [one.generator.get_state() for one in members]
    for _ in range(2):
        assert workload.stackable(members)
        assert [workload.checkpoint(one) for one in members] == before[0]
        assert torch.equal(torch.get_rng_state(), before[1])
        assert all(
            torch.equal(one.generator.get_state(), own) for one, own in zip(members, orders, strict=True)
        )
    assert made(workload) == 1


def wide(hp: Any) -> nn.Module:
    return nn.Sequential(nn.Linear(4, hp["width"]), nn.Tanh(), nn.Linear(hp["width"], 3))


def test_members_that_differ_in_form_are_not_stacked_nor_one_alone(static: Switch) -> None:
    workload = ready(Lines())
    workload.model_of = wide  # type: ignore[method-assign, assignment]
    members = begun(workload, [{"learning_rate": 0.1, "width": width} for width in (4, 4, 5)])
    assert workload.stackable(members[:2])
    assert not workload.stackable(members[1:])
    assert not workload.stackable(members[:1])
    with raises_golden("together/different-forms", Obstructed):
        together(workload, members)


def test_a_network_without_a_stacked_form_or_criterion_is_not_stacked(static: Switch) -> None:
    class Twice(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            return 2 * super().forward(inputs)

    workload = ready(Points())
    workload.model = lambda: Twice(4, 3)  # type: ignore[method-assign]
    assert not workload.stackable(begun(workload, HPS))

    class Plain(Lines):
        criterion = Workload.criterion

        def loss(self, model: nn.Module, batch: Any, hp: Any) -> Tensor:
            return nn.functional.cross_entropy(model(batch[0]), batch[1])

    plain = ready(Plain())
    assert not plain.stackable(begun(plain, HPS))
    static(False)
    lines = ready(Lines())
    assert not lines.stackable(begun(lines, HPS))


@pytest.mark.parametrize("change", [lambda loss: 2 * loss, lambda loss: loss + 1], ids=["gradient", "value"])
def test_a_criterion_that_is_not_the_loss_is_found_out(
    change: Callable[[Tensor], Tensor], static: Switch
) -> None:
    class Odd(Lines):
        def loss(self, model: nn.Module, batch: Any, hp: Any) -> Tensor:
            return change(super().loss(model, batch, hp))

    workload = ready(Odd())
    members = begun(workload, HPS)
    assert not workload.stackable(members)
    randomness = [Randomness(torch.device("cpu")) for _ in members]
    states = [one.generator.get_state() for one in members]
    with pytest.raises(Obstructed, match="captured steps"):
        next(workload.train_together(members, randomness))
    expected = torch.rand(3)
    for own, member, state in zip(randomness, members, states, strict=True):
        own.restore()
        assert torch.equal(torch.rand(3), expected)
        assert torch.equal(member.generator.get_state(), state)


def images(make: Callable[..., ImageClassifier], **options: Any) -> Callable[[], Workload]:
    return lambda: prepared(make, **options)


REAL: dict[str, tuple[Callable[[], Workload], list[dict[str, Any]]]] = {
    "lenet": (
        lambda: ready(LeNet(train_examples=200)),
        [{"learning_rate": 0.02 * (k + 1), "momentum": 0.9 - 0.1 * k, "max_shift": k} for k in range(3)],
    ),
    "resnet8, adam": (
        images(ResNet20, depth=8),
        [{"learning_rate": 0.001 * (k + 1), "weight_decay": 1e-4 * (k + 1)} for k in range(3)],
    ),
    "resnet8, sgd": (
        images(ResNet20, depth=8, optimizer="sgd", shortcut="projection"),
        [{"learning_rate": 0.01 * (k + 1), "momentum": 0.9 - 0.1 * k, "anneal": 0.2 * k} for k in range(3)],
    ),
    "capsnet": (images(CapsNet), [{"learning_rate": 0.001 * (k + 1), "q": 0.5 + 0.2 * k} for k in range(3)]),
}


def test_dropout_is_each_members_own(static: Switch) -> None:
    workload = ready(Lines())
    workload.model_of = lambda hp: nn.Sequential(nn.Linear(4, 64), nn.Dropout(hp["p"]), nn.Linear(64, 3))  # type: ignore[method-assign]
    rates = [0.0, 0.5, 0.9]
    members = begun(workload, [{"learning_rate": 0.1, "p": p} for p in rates])
    assert workload.stackable(members)
    losses = together(workload, members)
    static(False)
    plain = alone(workload, begun(workload, [{"learning_rate": 0.1, "p": 0.0}] * 3))
    assert losses[0] == pytest.approx(plain[0], rel=1e-4)
    for at in (1, 2):
        assert losses[at] != pytest.approx(plain[at], rel=1e-2)
    assert made(workload) == 1


@pytest.mark.parametrize("name", REAL)
def test_shipped_networks_are_stacked(name: str, static: Switch) -> None:
    make, hps = REAL[name]
    workload = make()
    static(False)
    trainings = begun(workload, hps)
    expected = alone(workload, trainings)
    static(True)
    members = begun(workload, hps)
    assert workload.stackable(members)
    for mine, its in zip(together(workload, members), expected, strict=True):
        assert mine == pytest.approx(its, rel=1e-4)
    for member, training in zip(members, trainings, strict=True):
        assert_same(workload.checkpoint(member), workload.checkpoint(training), atol=1e-4)
