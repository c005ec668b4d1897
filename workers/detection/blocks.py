"""Blocks of the detector's network, all from and to (n, channels, height, width)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workers.detection.norm import CrossIterationNorm, CrossMiniBatchNorm

Activation = Literal["mish", "silu", "leaky_relu", "relu"]
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "mish": lambda: nn.Mish(inplace=True),
    "silu": lambda: nn.SiLU(inplace=True),
    "leaky_relu": lambda: nn.LeakyReLU(0.1, inplace=True),
    "relu": lambda: nn.ReLU(inplace=True),
}
POOLS = (5, 9, 13)


@dataclass(frozen=True)
class Style:
    """Settings that all blocks share.

    activation: Mish is x * tanh(ln(1 + e^x)) (Misra 2019, arXiv 1908.08681).
    window: number of iterations of cross-iteration batch normalisation; with 1 it is the ordinary one.
    mini_batches: whether normalisation is across the mini-batches of a batch. residual_inputs: maximum number
    of inputs of a weighted residual connection: a bottleneck's output, its input, and inputs of those before.
    """

    activation: Activation = "mish"
    weighted_residual: bool = False
    window: int = 1
    mini_batches: bool = False
    residual_inputs: int = 2

    def norm(self, width: int) -> nn.Module:
        if self.mini_batches:
            return CrossMiniBatchNorm(width)
        return CrossIterationNorm(width, self.window) if self.window > 1 else nn.BatchNorm2d(width, eps=1e-3)


class Convolution(nn.Module):
    """A convolution with a norm and an activation."""

    def __init__(self, width_in: int, width: int, kernel: int, style: Style, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width_in, width, kernel, stride, (kernel - 1) // 2, bias=False)
        self.norm = style.norm(width)
        self.activation = ACTIVATIONS[style.activation]()

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = self.convolution(inputs)
        if isinstance(self.norm, CrossIterationNorm):
            outputs = self.norm.across(outputs, self.convolution.weight)
        else:
            outputs = self.norm(outputs)
        activated: Tensor = self.activation(outputs)
        return activated


class WeightedSum(nn.Module):
    """A weighted sum of two or more inputs of the same shape, with learnt weights normalised to sum to 1.

    YOLOv4's multi-input weighted residual connection, in the form of EfficientDet's fast normalised fusion
    (Tan et al. 2020, arXiv 1911.09070, section 3.3).
    """

    def __init__(self, count: int = 2) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(count))

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        weights = self.weights.relu()
        weights = weights / (weights.sum() + 1e-4)
        total = weights[0] * first
        for weight, one in zip(weights[1:], others, strict=True):
            total = total + weight * one
        return total


class Bottleneck(nn.Module):
    """A 1 x 1 and a 3 x 3 convolution, and with `shortcut` the input added.

    summands: number of terms of a weighted sum: the convolutions' output, the input, and inputs of earlier
    bottlenecks.
    """

    def __init__(self, width: int, style: Style, shortcut: bool, summands: int = 2) -> None:
        super().__init__()
        self.first = Convolution(width, width, 1, style)
        self.second = Convolution(width, width, 3, style)
        self.shortcut = shortcut
        self.sum = WeightedSum(summands) if shortcut and style.weighted_residual else None

    def forward(self, *earlier: Tensor) -> Tensor:
        """Return the output for the inputs of earlier bottlenecks, oldest first, and its own, the last."""
        inputs = earlier[-1]
        outputs: Tensor = self.second(self.first(inputs))
        if self.sum is not None:
            summed: Tensor = self.sum(*earlier, outputs)
            return summed
        return inputs + outputs if self.shortcut else outputs


class CrossStage(nn.Module):
    """A stage with half of the channels through bottlenecks, half past them (CSPNet, arXiv 1911.11929)."""

    def __init__(self, width_in: int, width: int, depth: int, style: Style, shortcut: bool = True) -> None:
        super().__init__()
        half = width // 2
        self.through, self.past = Convolution(width_in, half, 1, style), Convolution(width_in, half, 1, style)
        self.kept = style.residual_inputs - 1
        self.blocks = nn.ModuleList(
            Bottleneck(half, style, shortcut, min(style.residual_inputs, number + 2))
            for number in range(depth)
        )
        self.join = Convolution(2 * half, width, 1, style)

    def forward(self, inputs: Tensor) -> Tensor:
        values = [self.through(inputs)]
        for block in self.blocks:
            values = [*values, block(*values)][-self.kept :]
        joined: Tensor = self.join(torch.cat([values[-1], self.past(inputs)], 1))
        return joined


class PyramidPooling(nn.Module):
    """Max pooling over windows of several sizes, beside the inputs (SPP, He et al. 2015, arXiv 1406.4729)."""

    def __init__(self, width_in: int, width: int, style: Style) -> None:
        super().__init__()
        half = width_in // 2
        self.reduce = Convolution(width_in, half, 1, style)
        self.join = Convolution(half * (1 + len(POOLS)), width, 1, style)

    def forward(self, inputs: Tensor) -> Tensor:
        parts = [self.reduce(inputs)]
        # windows of 9 and 13 as repeated windows of 5: the same maxima at a lower cost
        for before, now in zip((1, *POOLS), POOLS, strict=False):
            parts.append(F.max_pool2d(parts[-1], now - before + 1, 1, (now - before) // 2))
        joined: Tensor = self.join(torch.cat(parts, 1))
        return joined


class SpatialAttention(nn.Module):
    """YOLOv4's SAM block: each value is multiplied by a factor from 0 to 1, computed by a convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.Conv2d(width, width, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        attention: Tensor = self.attention(inputs)
        return inputs * attention.sigmoid()
