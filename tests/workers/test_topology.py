"""Convolutions that keep the size, and parameters drawn as TensorFlow and Keras draw them."""

import math

import pytest
import torch
from torch import nn

from workers.topology import draw_as_keras, draw_as_tutorial, same_convolution


@pytest.mark.parametrize("kernel", range(1, 10))
def test_a_convolution_of_any_kernel_keeps_the_size(kernel: int) -> None:
    model = nn.Sequential(*same_convolution(2, 3, kernel))
    assert model(torch.zeros(1, 2, 7, 8)).shape == (1, 3, 7, 8)
    assert sum(parameter.numel() for parameter in model.parameters()) == 2 * 3 * kernel * kernel + 3


def test_an_even_kernel_has_its_larger_half_behind_as_in_tensorflow() -> None:
    """With `SAME` TensorFlow pads (k - 1) // 2 before: a kernel of 2 sees its own pixel and the next."""
    model = nn.Sequential(*same_convolution(1, 1, 2))
    with torch.no_grad():
        model[-1].weight.copy_(torch.tensor([[[[1.0, 10.0], [100.0, 1000.0]]]]))  # type: ignore[operator]
        model[-1].bias.zero_()  # type: ignore[operator, union-attr]
    image = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert model(image)[0, 0].tolist() == [[4321.0, 402.0], [43.0, 4.0]]


@pytest.mark.parametrize(
    "layer", [nn.Linear(300, 200), nn.Conv2d(8, 64, 5)], ids=lambda layer: type(layer).__name__
)
def test_keras_draws_from_glorots_uniform_distribution(layer: nn.Linear | nn.Conv2d) -> None:
    torch.manual_seed(0)
    draw_as_keras(layer)
    field = layer.weight[0, 0].numel() if layer.weight.ndim > 2 else 1
    bound = math.sqrt(6 / (sum(layer.weight.shape[:2]) * field))
    assert 0.98 * bound < layer.weight.abs().max().item() <= bound
    assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)
    assert layer.bias is not None and not layer.bias.any()


def test_the_tutorial_draws_weights_within_two_deviations_of_a_tenth_and_biases_of_a_tenth() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(300, 200)
    draw_as_tutorial(layer)
    assert 0.19 < layer.weight.abs().max().item() <= 0.2
    assert layer.weight.std().item() == pytest.approx(0.088, rel=0.03)  # of the distribution that is cut off
    assert torch.equal(layer.bias, torch.full((200,), 0.1))
