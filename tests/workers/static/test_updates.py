"""Optimizers over an arena beside torch's own, for members that each have their own settings."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.golden import raises_golden
from tests.workers.static.members import Points, ready
from workers.static import updates
from workers.static.arena import Arena
from workers.training import Training

STEPS = 4

SETTINGS: dict[str, tuple[type[torch.optim.Optimizer], list[dict[str, Any]]]] = {
    "sgd": (torch.optim.SGD, [{"lr": 0.1}, {"lr": 0.01}, {"lr": 1.0}]),
    "sgd, momentum": (
        torch.optim.SGD,
        [{"lr": 0.1, "momentum": m, "weight_decay": 0.1} for m in (0.1, 0.5, 0.9)],
    ),
    "sgd, dampening": (
        torch.optim.SGD,
        [{"lr": 0.1, "momentum": 0.9, "dampening": d} for d in (0.1, 0.5, 0.9)],
    ),
    "sgd, nesterov": (
        torch.optim.SGD,
        [{"lr": r, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3} for r in (0.1, 0.2, 0.3)],
    ),
    "adam": (torch.optim.Adam, [{"lr": 0.1}, {"lr": 0.01, "eps": 1e-3}, {"lr": 1.0}]),
    "adam, decay": (
        torch.optim.Adam,
        [{"lr": 0.1, "betas": (b, 0.9 + b / 20), "weight_decay": b} for b in (0.1, 0.5, 0.9)],
    ),
    "adamw": (torch.optim.AdamW, [{"lr": 0.1, "weight_decay": d} for d in (0.01, 0.1, 0.5)]),
    "adamw, fused": (torch.optim.AdamW, [{"lr": 0.1, "weight_decay": d, "fused": True} for d in (0.01, 0.1)]),
}


def members(kind: type[torch.optim.Optimizer], settings: list[dict[str, Any]]) -> list[Training]:
    """Members with two groups, of which the second has neither decay nor momentum."""
    found = []
    for seed, own in enumerate(settings):
        workload = ready(Points())
        plain = {key: 0.0 for key in ("weight_decay", "momentum", "dampening") if key in own}
        plain |= {"nesterov": False} if own.get("nesterov") else {}

        def optimizer(model: Any, hp: Any, own: Any = own, plain: Any = plain) -> torch.optim.Optimizer:
            return kind([{"params": [model[0].weight]}, {"params": [model[0].bias], **plain}], **own)

        workload.optimizer = optimizer  # type: ignore[method-assign]
        workload.model = lambda: nn.Sequential(nn.Linear(3, 2))  # type: ignore[method-assign]
        found.append(workload.begin({}, seed, None))
    return found


def settings_of(update: updates.Update, training: Training, steps: int) -> dict[str, np.ndarray]:
    rows = []
    for group in updates.groups_of(training):
        betas = group.get("betas", (0, 0))
        rows.append({**group, "beta1": betas[0], "beta2": betas[1]})
    return {name: np.array([[float(row[name]) for row in rows]] * steps) for name in update.read}


@pytest.mark.parametrize("case", SETTINGS)
def test_several_steps_are_those_of_torchs_optimizers_and_go_on_from_their_state(case: str) -> None:
    kind, settings = SETTINGS[case]
    trainings, twins = members(kind, settings), members(kind, settings)
    generator = torch.Generator().manual_seed(0)
    gradients = [
        [torch.randn(9 if at == 0 else 2, generator=generator) for at in range(2)] for _ in range(99)
    ]

    def gradient(number: int, member: int, parameter: Tensor) -> Tensor:
        return torch.full_like(parameter, float(gradients[number + member][0][parameter.numel() - 1]))

    for round_ in range(2):  # the second goes on from the state of the first
        update = updates.update_of(trainings[0])
        arena = Arena(trainings[0], len(trainings), update.slots())
        tables = []
        for member, training in enumerate(trainings):
            arena.load(member, training)
            own = updates.update_of(training)
            tables.append(own.rates(settings_of(own, training, STEPS), own.taken(training)))
            assert own.form() == update.form()
        rates = torch.from_numpy(np.stack(tables, 1)).float()
        for number in range(STEPS):
            for member, twin in enumerate(twins):
                for name, parameter in twin.model.named_parameters():
                    parameter.grad = gradient(round_ * STEPS + number, member, parameter)
                    arena.gradients.member(member, name).copy_(parameter.grad)
                twin.optimizer.step()
            update.apply(arena, rates[number])
        for member, (training, twin) in enumerate(zip(trainings, twins, strict=True)):
            updates.update_of(training).count(training, STEPS)
            arena.store(member, training)
            for mine, its in zip(training.model.parameters(), twin.model.parameters(), strict=True):
                torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-6)
                state, expected = training.optimizer.state.get(mine, {}), twin.optimizer.state.get(its, {})
                assert {k: v for k, v in state.items() if v is not None}.keys() == {
                    k: v for k, v in expected.items() if v is not None
                }.keys()
                for key, value in expected.items():
                    if value is not None:
                        torch.testing.assert_close(state[key], value, rtol=1e-5, atol=1e-6)


def test_each_members_gradient_is_clipped_by_its_own_norm() -> None:
    trainings = members(torch.optim.SGD, [{"lr": 0.1}] * 3)
    arena = Arena(trainings[0], 3, {})
    expected = []
    for member, training in enumerate(trainings):
        for name, parameter in training.model.named_parameters():
            parameter.grad = torch.full_like(parameter, 0.01 * 10**member)
            arena.gradients.member(member, name).copy_(parameter.grad)
        nn.utils.clip_grad_norm_(training.model.parameters(), 0.5)
        expected.append([parameter.grad for parameter in training.model.parameters()])
    updates.clip(arena, 0.5)
    for member, (training, own) in enumerate(zip(trainings, expected, strict=True)):
        for (name, _), gradient in zip(training.model.named_parameters(), own, strict=True):
            torch.testing.assert_close(arena.gradients.member(member, name), gradient)


def test_groups_whose_parameters_have_made_different_numbers_of_steps_are_refused() -> None:
    (training,) = members(torch.optim.Adam, [{"lr": 0.1}])
    for parameter in training.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    training.optimizer.step()
    assert updates.update_of(training).taken(training) == [1, 1]
    del training.optimizer.state[training.model[0].weight]
    assert updates.update_of(training).taken(training) == [0, 1]
    training.optimizer.param_groups = [
        {**training.optimizer.param_groups[0], "params": list(training.model.parameters())}
    ]
    with raises_golden("static/steps-differ", ValueError):
        updates.update_of(training).taken(training)
