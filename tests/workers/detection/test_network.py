"""The network: its shapes and sizes, what its predictions mean, and every switch on its own."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from workers.detection.blocks import (
    CrossStage,
    PyramidPooling,
    SpatialAttention,
    Style,
    WeightedSum,
)
from workers.detection.network import STRIDES, Detector, Plan, decoded
from workers.detection.norm import CrossIterationNorm, CrossMiniBatchNorm, end_batch
from workers.dropblock import DropBlock

ANCHORS = torch.tensor([[10.0, 12], [20, 16], [30, 30]]).repeat(3, 1).view(3, 3, 2)
TINY = Plan(classes=2, width=0.125)


def network(plan: Plan = TINY) -> Detector:
    torch.manual_seed(0)
    return Detector(plan, ANCHORS)


def size(plan: Plan) -> int:
    return sum(parameter.numel() for parameter in network(plan).parameters())


def test_the_small_one_has_a_million_parameters_and_the_largest_is_yolov5s() -> None:
    assert size(Plan(classes=3)) == pytest.approx(1.0e6, rel=0.1)
    yolov5s = 7_235_389  # with 80 classes; published
    assert size(Plan(classes=80, width=0.5, depth=0.33)) == pytest.approx(yolov5s, rel=0.03)


def test_three_scales_predict_for_every_cell_and_anchor() -> None:
    outputs = network()(torch.rand(2, 3, 64, 96))
    assert [tuple(scale.shape) for scale in outputs] == [
        (2, 3, 8, 12, 7),
        (2, 3, 4, 6, 7),
        (2, 3, 2, 3, 7),
    ]


def test_a_prediction_of_zeros_is_its_anchor_in_the_middle_of_its_cell() -> None:
    boxes = decoded(torch.zeros(1, 3, 4, 4, 7), ANCHORS[0], 8)
    # column 2, row 1: the centre is at 20, 12
    assert boxes[0, 0, 1, 2].tolist() == [15, 6, 25, 18]


def test_a_prediction_reaches_half_a_cell_beyond_its_own_and_four_times_its_anchor() -> None:
    outputs = torch.full((1, 3, 2, 2, 5), 100.0)
    outputs[..., 1] = -100
    left, top, right, bottom = decoded(outputs, ANCHORS[0], 8)[0, 0, 1, 0].tolist()
    assert ((left + right) / 2, (top + bottom) / 2) == (12, 4)
    assert (right - left, bottom - top) == (40, 48)


def test_a_new_network_expects_few_objects() -> None:
    for scale, stride in zip(network().eval()(torch.rand(1, 3, 64, 64)), STRIDES, strict=True):
        assert float(scale[..., 4].detach().sigmoid().mean()) == pytest.approx(
            8 / (640 / stride) ** 2, rel=0.5
        )


@pytest.mark.parametrize(
    "change",
    [
        {"sam": True},
        {"weighted_residual": True},
        {"spp": False},
        {"activation": "leaky_relu"},
        {"dropblock": 0.9},
        {"cross_iterations": 3},
        {"weighted_residual": True, "residual_inputs": 3, "depth": 0.67},
    ],
)
def test_each_switch_changes_the_network_and_still_trains(change: dict[str, Any]) -> None:
    plain, changed = network(), network(replace(TINY, **change))
    for _ in range(2):
        images = torch.rand(2, 3, 64, 64)
        outputs = changed(images)
    assert any(not torch.equal(a, b) for a, b in zip(plain(images), outputs, strict=True))
    sum(scale.square().mean() for scale in outputs).backward()
    assert all(parameter.grad is not None for parameter in changed.parameters())


def test_pooling_over_9_and_13_is_what_three_windows_of_5_make() -> None:
    pool = PyramidPooling(4, 8, Style()).eval()
    seen: list[torch.Tensor] = []
    pool.join.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    pool(torch.rand(1, 4, 16, 16))
    reduced, *pooled = seen[0].split(2, 1)
    for window, found in zip((5, 9, 13), pooled, strict=True):
        assert torch.equal(found, nn.functional.max_pool2d(reduced, window, 1, window // 2))


def test_half_of_a_stage_goes_past_the_bottlenecks() -> None:
    stage = CrossStage(8, 16, 2, Style()).eval()
    for block in stage.blocks:
        nn.init.zeros_(block.second.norm.weight)  # type: ignore[union-attr, arg-type]
    inputs = torch.rand(1, 8, 4, 4)
    expected = stage.join(torch.cat([stage.through(inputs), stage.past(inputs)], 1))
    assert torch.allclose(stage(inputs), expected)


def test_weighted_residuals_begin_as_a_mean_and_never_weigh_below_zero() -> None:
    total = WeightedSum()
    one, three = torch.ones(1), torch.full((1,), 3.0)
    assert float(total(one, three).detach()) == pytest.approx(2.0, rel=1e-3)
    with torch.no_grad():
        total.weights.copy_(torch.tensor([-5.0, 2.0]))
    assert float(total(one, three).detach()) == pytest.approx(3.0, rel=1e-3)


def test_attention_multiplies_each_value_by_a_sigmoid() -> None:
    block = SpatialAttention(2)
    nn.init.zeros_(block.attention.weight)
    nn.init.constant_(block.attention.bias, 0.0)  # type: ignore[arg-type]
    inputs = torch.rand(1, 2, 3, 3)
    assert torch.allclose(block(inputs), inputs / 2)


def test_dropblock_drops_squares_of_its_size_a_part_of_its_rate_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    drop = DropBlock(0.1, 3)
    outputs = drop(torch.ones(400, 2, 20, 20))
    dropped = outputs == 0
    assert torch.equal(dropped[:, 0], dropped[:, 1])
    assert float(dropped.float().mean()) == pytest.approx(0.1, abs=0.01)
    assert float(outputs.mean()) == pytest.approx(1.0, rel=1e-4)
    holes = dropped[:, :1].float()
    eroded = 1 - nn.functional.max_pool2d(1 - holes, 3, 1)
    rebuilt = nn.functional.max_pool2d(nn.functional.pad(eroded, (2,) * 4), 3, 1)
    assert torch.equal(rebuilt, holes)


def test_dropblock_does_nothing_in_evaluation_or_at_zero_and_fits_small_images() -> None:
    inputs = torch.ones(1, 1, 2, 2)
    assert torch.equal(DropBlock(0.5, 3).eval()(inputs), inputs)
    assert torch.equal(DropBlock(0.0, 3)(inputs), inputs)
    assert DropBlock(0.5, 3)(inputs).shape == inputs.shape


def test_cross_iteration_norm_with_an_empty_past_is_batch_norm() -> None:
    convolution, inputs = nn.Conv2d(3, 4, 1, bias=False), torch.rand(8, 3, 5, 5)
    across, ordinary = CrossIterationNorm(4, window=3), nn.BatchNorm2d(4, eps=1e-3)
    outputs = convolution(inputs)
    assert torch.allclose(across.across(outputs, convolution.weight), ordinary(outputs), atol=1e-5)
    assert torch.allclose(across.running_var, ordinary.running_var)  # type: ignore[arg-type]
    assert torch.allclose(across.eval().across(outputs, convolution.weight), ordinary.eval()(outputs))


def test_cross_iteration_norm_of_an_unchanged_kernel_is_that_of_all_batches_together() -> None:
    convolution, inputs = nn.Conv2d(3, 4, 1, bias=False), torch.rand(8, 3, 5, 5)
    across, ordinary = CrossIterationNorm(4, window=2), nn.BatchNorm2d(4, eps=1e-3)
    for half in inputs.split(4):
        found = across.across(convolution(half), convolution.weight)
    assert torch.allclose(found, ordinary(convolution(inputs))[4:], atol=1e-5)


def test_cross_iteration_norm_carries_the_mean_over_to_a_changed_kernel() -> None:
    """A convolution is linear, so that a mean carried over is exact."""
    convolution, first, second = (
        nn.Conv2d(3, 4, 1, bias=False),
        torch.rand(4, 3, 5, 5),
        torch.rand(4, 3, 5, 5),
    )
    across = CrossIterationNorm(4, window=2)
    across.across(convolution(first), convolution.weight)
    with torch.no_grad():
        convolution.weight.add_(0.01 * torch.randn(4, 3, 1, 1))
    across.momentum = 1.0
    across.across(convolution(second), convolution.weight)
    expected = convolution(torch.cat([first, second])).mean((0, 2, 3))
    assert torch.allclose(across.running_mean, expected, atol=1e-5)  # type: ignore[arg-type]


def test_a_sum_of_three_inputs_begins_as_their_mean() -> None:
    total = WeightedSum(3)
    values = [torch.full((1,), float(value)) for value in (1, 2, 6)]
    assert float(total(*values).detach()) == pytest.approx(3.0, rel=1e-3)
    with torch.no_grad():
        total.weights.copy_(torch.tensor([1.0, 0.0, 3.0]))
    assert float(total(*values).detach()) == pytest.approx((1 + 18) / 4, rel=1e-3)


def test_residuals_of_several_inputs_reach_back_over_bottlenecks() -> None:
    """Convolutions make nothing: x1 = x0 / 2, x2 = (x0 + x1) / 3 = x0 / 2, x3 = (x1 + x2) / 3 = x0 / 3."""
    stage = CrossStage(8, 16, 3, Style(weighted_residual=True, residual_inputs=3)).eval()
    assert [len(block.sum.weights) for block in stage.blocks] == [2, 3, 3]  # type: ignore[union-attr, arg-type]
    for block in stage.blocks:
        nn.init.zeros_(block.second.norm.weight)  # type: ignore[union-attr, arg-type]
    inputs = torch.rand(1, 8, 4, 4)
    expected = stage.join(torch.cat([stage.through(inputs) / 3, stage.past(inputs)], 1))
    assert torch.allclose(stage(inputs), expected, atol=1e-3)


def test_statistics_over_mini_batches_are_those_of_the_whole_batch_in_one_go() -> None:
    inputs = 3 * torch.rand(12, 4, 5, 5) - 1
    across, ordinary = CrossMiniBatchNorm(4), nn.BatchNorm2d(4, eps=1e-3)
    parts = [across(part) for part in inputs.split([5, 4, 3])]
    assert torch.allclose(parts[-1], ordinary(inputs)[9:], atol=1e-5)
    end_batch(across)
    assert torch.allclose(across.running_mean, ordinary.running_mean, atol=1e-6)  # type: ignore[arg-type]
    assert torch.allclose(across.running_var, ordinary.running_var, atol=1e-6)  # type: ignore[arg-type]
    assert int(across.num_batches_tracked) == 1  # type: ignore[arg-type]
    assert torch.allclose(across.eval()(inputs), ordinary.eval()(inputs), atol=1e-5)


def test_by_hand_the_second_mini_batch_is_normalised_by_both() -> None:
    """Values 1, 3 and then 5, 7: their mean is 4 and their variance 5."""
    across = CrossMiniBatchNorm(1, eps=0.0)
    first = across(torch.tensor([1.0, 3.0]).view(2, 1, 1, 1))
    assert first.flatten().tolist() == pytest.approx([-1, 1])
    second = across(torch.tensor([5.0, 7.0]).view(2, 1, 1, 1))
    assert second.flatten().tolist() == pytest.approx([1 / 5**0.5, 3 / 5**0.5])


def test_one_mini_batch_is_batch_norm_and_a_new_batch_forgets_the_old_one() -> None:
    across, ordinary = CrossMiniBatchNorm(4), nn.BatchNorm2d(4, eps=1e-3)
    for seed in range(3):
        inputs = torch.rand(6, 4, 5, 5, generator=torch.Generator().manual_seed(seed), requires_grad=True)
        found, expected = across(inputs), ordinary(inputs)
        assert torch.allclose(found, expected, atol=1e-5)
        slopes = [torch.autograd.grad(out.pow(3).sum(), inputs)[0] for out in (found, expected)]
        assert torch.allclose(*slopes, atol=1e-4)
        end_batch(across)
    assert torch.allclose(across.running_var, ordinary.running_var)  # type: ignore[arg-type]
