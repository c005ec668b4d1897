"""What a child has of its α: parameters, momentum and step counts; its hyperparameters are its own.

The next step of training is compared with the optimizer's formula, computed by hand.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.workers import states

START = [1.0, -2.0, 0.5]
GRADIENTS = [[0.3, -0.1, 0.2], [0.1, 0.4, -0.6], [-0.2, 0.5, 0.9]]
LAST = [0.7, -0.3, 0.05]


class Weights(torch.nn.Module):
    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.values = torch.nn.Parameter(torch.tensor(values, dtype=torch.float64))


def step(model: Weights, optimizer: torch.optim.Optimizer, gradient: list[float]) -> None:
    model.values.grad = torch.tensor(gradient, dtype=torch.float64)
    optimizer.step()


def child_of(
    alpha: Weights, alphas: torch.optim.Optimizer, kind: type[torch.optim.Optimizer], **own: Any
) -> tuple[Weights, torch.optim.Optimizer]:
    child = Weights([9.0, 9.0, 9.0])
    optimizer = kind(child.parameters(), **own)
    states.restore(states.encode(alpha, alphas), child, optimizer)
    return child, optimizer


def assert_step(model: Weights, optimizer: torch.optim.Optimizer, expected: Tensor) -> None:
    step(model, optimizer, LAST)
    torch.testing.assert_close(model.values.data, expected, rtol=1e-12, atol=1e-14)


def test_a_child_steps_with_its_alphas_sgd_momentum_and_its_own_rate_momentum_and_decay() -> None:
    alpha = Weights(START)
    alphas = torch.optim.SGD(alpha.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    for gradient in GRADIENTS:
        step(alpha, alphas, gradient)
    weights, velocity = torch.tensor(START, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for gradient in GRADIENTS:
        velocity = 0.9 * velocity + torch.tensor(gradient, dtype=torch.float64) + 0.01 * weights
        weights = weights - 0.1 * velocity
    torch.testing.assert_close(alpha.values.data, weights)

    child, optimizer = child_of(alpha, alphas, torch.optim.SGD, lr=0.5, momentum=0.8, weight_decay=0.2)
    velocity = 0.8 * velocity + torch.tensor(LAST, dtype=torch.float64) + 0.2 * weights
    assert_step(child, optimizer, weights - 0.5 * velocity)


def adam_moments(beta1: float, beta2: float) -> tuple[Tensor, Tensor]:
    first = second = torch.zeros(3, dtype=torch.float64)
    for gradient in GRADIENTS:
        g = torch.tensor(gradient, dtype=torch.float64)
        first, second = beta1 * first + (1 - beta1) * g, beta2 * second + (1 - beta2) * g**2
    return first, second


def adam_step(first: Tensor, second: Tensor, g: Tensor, beta1: float, beta2: float) -> Tensor:
    """The fourth step's direction, with its bias corrections."""
    first, second = beta1 * first + (1 - beta1) * g, beta2 * second + (1 - beta2) * g**2
    return (first / (1 - beta1**4)) / ((second / (1 - beta2**4)).sqrt() + 1e-8)


def test_a_child_steps_with_its_alphas_adam_moments_and_step_count_and_its_own_rate_betas_and_decay() -> None:
    alpha = Weights(START)
    alphas = torch.optim.Adam(alpha.parameters(), lr=0.01, betas=(0.9, 0.99))
    for gradient in GRADIENTS:
        step(alpha, alphas, gradient)
    weights = alpha.values.data.clone()
    child, optimizer = child_of(
        alpha, alphas, torch.optim.Adam, lr=0.3, betas=(0.7, 0.95), weight_decay=0.1, eps=1e-8
    )
    decayed = torch.tensor(LAST, dtype=torch.float64) + 0.1 * weights
    assert_step(child, optimizer, weights - 0.3 * adam_step(*adam_moments(0.9, 0.99), decayed, 0.7, 0.95))


def test_a_child_steps_with_its_alphas_adamw_moments_and_its_own_decoupled_decay() -> None:
    alpha = Weights(START)
    alphas = torch.optim.AdamW(alpha.parameters(), lr=0.01, betas=(0.9, 0.99), weight_decay=0.5)
    for gradient in GRADIENTS:
        step(alpha, alphas, gradient)
    weights = alpha.values.data.clone()
    child, optimizer = child_of(
        alpha, alphas, torch.optim.AdamW, lr=0.2, betas=(0.9, 0.99), weight_decay=0.05
    )
    direction = adam_step(*adam_moments(0.9, 0.99), torch.tensor(LAST, dtype=torch.float64), 0.9, 0.99)
    assert_step(child, optimizer, weights * (1 - 0.2 * 0.05) - 0.2 * direction)


def test_a_child_without_momentum_of_an_alpha_with_it_takes_plain_steps() -> None:
    alpha = Weights(START)
    alphas = torch.optim.SGD(alpha.parameters(), lr=0.1, momentum=0.9)
    step(alpha, alphas, GRADIENTS[0])
    child, optimizer = child_of(alpha, alphas, torch.optim.SGD, lr=0.5, momentum=0.0)
    assert_step(child, optimizer, alpha.values.data - 0.5 * torch.tensor(LAST, dtype=torch.float64))


def test_a_child_with_momentum_of_an_alpha_without_it_starts_its_own() -> None:
    alpha = Weights(START)
    alphas = torch.optim.SGD(alpha.parameters(), lr=0.1)
    step(alpha, alphas, GRADIENTS[0])
    child, optimizer = child_of(alpha, alphas, torch.optim.SGD, lr=0.5, momentum=0.9)
    assert_step(child, optimizer, alpha.values.data - 0.5 * torch.tensor(LAST, dtype=torch.float64))


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_a_child_with_another_kind_of_optimizer_keeps_the_weights_and_starts_with_no_state(
    kind: type[torch.optim.Optimizer],
) -> None:
    alpha = Weights(START)
    alphas = torch.optim.SGD(alpha.parameters(), lr=0.1, momentum=0.9)
    step(alpha, alphas, GRADIENTS[0])
    child, optimizer = child_of(alpha, alphas, kind, lr=0.5, eps=0.0, weight_decay=0.0)
    assert torch.equal(child.values, alpha.values)
    assert optimizer.state_dict()["state"] == {}
    # with their bias corrections, the first step of both is the gradient's sign
    assert_step(child, optimizer, alpha.values.data - 0.5 * torch.tensor(LAST, dtype=torch.float64).sign())


def test_what_the_child_was_given_stays_in_its_optimizers_groups() -> None:
    alpha = Weights(START)
    alphas = torch.optim.SGD(alpha.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    step(alpha, alphas, GRADIENTS[0])
    own = {"lr": 0.5, "momentum": 0.8, "weight_decay": 0.2, "nesterov": True}
    _, optimizer = child_of(alpha, alphas, torch.optim.SGD, **own)
    assert {name: optimizer.param_groups[0][name] for name in own} == own
