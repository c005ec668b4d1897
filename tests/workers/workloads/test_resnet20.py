"""ResNet-20: its parts as in He et al. 2015, section 4.2."""

from typing import Any

import pytest
import torch
from torch import nn

from evodevo.errors import UsageError
from tests.golden import assert_golden
from tests.workers.made_images import RECIPE, prepared
from workers.hyperparameters import Hyperparameters
from workers.workloads.resnet20 import Block, ResNet20


def layers(model: nn.Module, kind: type[nn.Module]) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, kind)]


@pytest.mark.parametrize(("shortcut", "count"), [("identity", 269_722), ("projection", 272_474)])
def test_it_has_the_number_of_parameters_that_its_docstring_says(shortcut: Any, count: int) -> None:
    model = ResNet20(shortcut=shortcut).model()
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    assert f"{count:,}" in str(ResNet20.__doc__)


def test_it_has_20_layers_of_weights_of_which_three_times_six_have_widths_16_32_and_64() -> None:
    model = ResNet20().model()
    convolutions = layers(model, nn.Conv2d)
    assert len(convolutions) + len(layers(model, nn.Linear)) == 20
    assert [layer.out_channels for layer in convolutions] == [16] * 7 + [32] * 6 + [64] * 6
    assert [number for number, layer in enumerate(convolutions) if layer.stride == (2, 2)] == [7, 13]


@pytest.mark.parametrize(("pixels", "last"), [(32, 8), (16, 4)])
def test_the_image_is_halved_twice(pixels: int, last: int) -> None:
    model = ResNet20().model()
    seen = []
    layers(model, Block)[-1].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    model(torch.zeros(2, 3, pixels, pixels))
    assert seen == [(2, 64, last, last)]


def silent(block: Block) -> Block:
    """Its convolutions give 0, so that what is left is the shortcut."""
    nn.init.zeros_(block.second_norm.weight)
    return block.eval()


def test_an_identity_shortcut_takes_every_other_pixel_and_adds_channels_of_zeros() -> None:
    images = torch.rand(2, 16, 8, 8)
    outputs = silent(Block(16, 32, "identity"))(images)
    assert torch.equal(outputs[:, :16], images[:, :, ::2, ::2])
    assert torch.equal(outputs[:, 16:], torch.zeros(2, 16, 4, 4))


def test_a_projection_shortcut_is_a_convolution_of_one_pixel_and_its_norm() -> None:
    block = silent(Block(16, 32, "projection"))
    assert block.projection is not None
    images = torch.rand(2, 16, 8, 8)
    kernel = block.projection[0].weight[:, :, 0, 0]
    expected = torch.einsum("oi,nihw->nohw", kernel, images[:, :, ::2, ::2]).relu()
    torch.testing.assert_close(block(images), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shortcut", ["identity", "projection"])
def test_where_the_width_stays_a_block_passes_its_input_on(shortcut: Any) -> None:
    images = torch.rand(2, 16, 8, 8)
    assert torch.equal(silent(Block(16, 16, shortcut))(images), images)


def test_weights_are_drawn_with_a_variance_of_two_over_the_inputs_and_the_bias_is_zero() -> None:
    torch.manual_seed(0)
    model = ResNet20(shortcut="projection").model()
    for layer in layers(model, nn.Conv2d):
        inputs = layer.in_channels * layer.kernel_size[0] ** 2
        assert float(layer.weight.detach().std()) == pytest.approx((2 / inputs) ** 0.5, rel=0.12)
    (linear,) = layers(model, nn.Linear)
    assert float(linear.weight.detach().std()) == pytest.approx((2 / 64) ** 0.5, rel=0.12)
    assert float(linear.bias.detach().abs().max()) == 0


@pytest.mark.parametrize(("given", "momentum"), [({}, 0.9), ({"momentum": 0.5}, 0.5)])
def test_sgd_has_the_members_momentum_or_else_0_9(given: dict[str, float], momentum: float) -> None:
    workload = ResNet20(optimizer="sgd")
    optimizer = workload.optimizer(workload.model(), Hyperparameters({"learning_rate": 0.1, **given}))
    assert isinstance(optimizer, torch.optim.SGD)
    assert [(group["lr"], group["momentum"]) for group in optimizer.param_groups] == [(0.1, momentum)] * 2


def test_adam_is_the_default_and_reads_no_momentum() -> None:
    workload, hp = ResNet20(), Hyperparameters({"learning_rate": 0.1, "momentum": 0.5})
    assert isinstance(workload.optimizer(workload.model(), hp), torch.optim.Adam)
    assert "momentum" not in hp.read


def test_a_rehearsal_reads_the_hyperparameters_and_reports_loss_and_error() -> None:
    given = {"learning_rate": 0.1, "weight_decay": 0.0, "momentum": 0.9}
    metrics, read = prepared(ResNet20, optimizer="sgd").rehearse(given)
    assert metrics == ["validation_loss", "validation_error"]
    assert read == {*given, "anneal", "width", "blocks", *RECIPE}


@pytest.mark.parametrize(("depth", "count"), [(8, 75_290), (14, 172_506), (20, 269_722)])
def test_a_depth_of_6_n_plus_2_has_n_blocks_of_each_width(depth: int, count: int) -> None:
    model = ResNet20(depth=depth).model()
    assert len(layers(model, nn.Conv2d)) + len(layers(model, nn.Linear)) == depth
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize("depth", [2, 18, 21, -4])
def test_another_depth_is_refused_with_those_there_are(depth: int) -> None:
    with pytest.raises(UsageError) as caught:
        ResNet20(depth=depth)
    assert str(caught.value).startswith("workload.options.depth: ")
    assert_golden("resnet20/depth", str(caught.value).removesuffix(str(depth)))
