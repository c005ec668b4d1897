"""The detector's network: a CSP backbone with spatial pyramid pooling, a PAN neck, and three scales.

The architecture is that of YOLOv5 6.0 (Jocher et al. 2020, doi 10.5281/zenodo.3908559) with YOLOv4's Mish;
`width` 0.5 and `depth` 0.33 give the widths and depths of YOLOv5s.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workers.detection.blocks import (
    Activation,
    Convolution,
    CrossStage,
    PyramidPooling,
    SpatialAttention,
    Style,
)
from workers.detection.boxes import from_centres
from workers.dropblock import DropBlock

STRIDES = (8, 16, 32)
WIDTHS = (64, 128, 256, 512, 1024)
DEPTHS = (3, 6, 9, 3)


@dataclass(frozen=True)
class Plan:
    """The architecture of a network.

    width, depth: factors of the channels and of the bottlenecks of each stage. dropblock: the fraction of
    cells that DropBlock sets to zero after the last two stages, in squares of dropblock_size cells.
    cross_iterations: see `Style.window`. sam: attention before each scale's predictions.
    residual_inputs: see `Style`. cross_mini_batches: see `norm.CrossMiniBatchNorm`.
    """

    classes: int
    width: float = 0.1875
    depth: float = 0.33
    activation: Activation = "mish"
    spp: bool = True
    sam: bool = False
    weighted_residual: bool = False
    dropblock: float = 0.0
    dropblock_size: int = 5
    cross_iterations: int = 1
    residual_inputs: int = 2
    cross_mini_batches: bool = False


class Detector(nn.Module):
    """A network from images to raw predictions; `anchors`, (3, per_scale, 2) in pixels, are a buffer."""

    anchors: Tensor

    def __init__(self, plan: Plan, anchors: Tensor) -> None:
        super().__init__()
        self.plan = plan
        self.register_buffer("anchors", anchors.clone())
        style = Style(
            plan.activation,
            plan.weighted_residual,
            plan.cross_iterations,
            plan.cross_mini_batches,
            plan.residual_inputs,
        )
        stem, *widths = (max(8, 4 * round(width * plan.width / 4)) for width in WIDTHS)
        depths = [max(1, round(depth * plan.depth)) for depth in DEPTHS]
        w3, w4, w5 = widths[1:]
        self.stem = Convolution(3, stem, 6, style, 2)
        self.stages = nn.ModuleList(
            nn.Sequential(Convolution(before, width, 3, style, 2), CrossStage(width, width, depth, style))
            for before, width, depth in zip((stem, *widths), widths, depths, strict=False)
        )
        self.drop = DropBlock(plan.dropblock, plan.dropblock_size)
        self.pool = PyramidPooling(w5, w5, style) if plan.spp else Convolution(w5, w5, 1, style)
        depth = depths[0]
        self.lateral5, self.lateral4 = Convolution(w5, w4, 1, style), Convolution(w4, w3, 1, style)
        self.down4 = CrossStage(2 * w4, w4, depth, style, shortcut=False)
        self.down3 = CrossStage(2 * w3, w3, depth, style, shortcut=False)
        self.shrink3, self.shrink4 = Convolution(w3, w3, 3, style, 2), Convolution(w4, w4, 3, style, 2)
        self.up4 = CrossStage(2 * w3, w4, depth, style, shortcut=False)
        self.up5 = CrossStage(2 * w4, w5, depth, style, shortcut=False)
        outputs = anchors.shape[1] * (5 + plan.classes)
        self.attention = nn.ModuleList(
            SpatialAttention(width) if plan.sam else nn.Identity() for width in (w3, w4, w5)
        )
        self.heads = nn.ModuleList(nn.Conv2d(width, outputs, 1) for width in (w3, w4, w5))
        self._expect_little()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the predictions of three scales for images float32 (n, 3, height, width) in [0, 1].

        Both sides are multiples of 32. Predictions are (n, per_scale, height / stride, width / stride, 5 +
        classes): raw x, y, width and height, to be `decoded`, and the logits of an object and of each class.
        """
        features = self.stem(images)
        levels = []
        for number, stage in enumerate(self.stages):
            features = stage(features)
            if number >= len(self.stages) - 2:
                features = self.drop(features)
            levels.append(features)
        c3, c4, c5 = levels[-3:]
        lateral5 = self.lateral5(self.pool(c5))
        lateral4 = self.lateral4(self.down4(torch.cat([_doubled(lateral5), c4], 1)))
        p3 = self.down3(torch.cat([_doubled(lateral4), c3], 1))
        p4 = self.up4(torch.cat([self.shrink3(p3), lateral4], 1))
        p5 = self.up5(torch.cat([self.shrink4(p4), lateral5], 1))
        scales = zip(self.heads, self.attention, (p3, p4, p5), strict=True)
        return [self._shaped(head(attention(level))) for head, attention, level in scales]

    def _shaped(self, outputs: Tensor) -> Tensor:
        count, _, rows, columns = outputs.shape
        return outputs.view(count, self.anchors.shape[1], -1, rows, columns).permute(0, 1, 3, 4, 2).float()

    @torch.no_grad()
    def _expect_little(self) -> None:
        """Initialise biases to expect few objects (arXiv 1708.02002, section 3.3): 8 per 640 x 640 pixels."""
        for head, stride in zip(self.heads, STRIDES, strict=True):
            assert isinstance(head, nn.Conv2d) and head.bias is not None
            bias = head.bias.view(self.anchors.shape[1], -1)
            bias[:, 4] += math.log(8 / (640 / stride) ** 2)
            bias[:, 5:] += math.log(0.6 / (self.plan.classes - 0.99))


def decoded(outputs: Tensor, anchors: Tensor, stride: int) -> Tensor:
    """Return boxes in pixels for one scale's predictions (n, per_scale, rows, columns, 4 or more).

    A centre is (2 sigmoid - 0.5) cells from its cell's corner, a size (2 sigmoid)^2 times its anchor's. In
    this form, YOLOv5's, a centre may lie on the border and sizes are bounded.
    """
    rows, columns = outputs.shape[2:4]
    down, across = torch.meshgrid(
        torch.arange(rows, device=outputs.device), torch.arange(columns, device=outputs.device), indexing="ij"
    )
    return placed(outputs[..., :4], torch.stack([across, down], -1), anchors[:, None, None], stride)


def placed(raw: Tensor, cells: Tensor, anchors: Tensor, stride: int) -> Tensor:
    """Return boxes for raw x, y, width, height (..., 4), with their cells (column, row) and anchors."""
    share = raw.sigmoid()
    centres = (2 * share[..., :2] - 0.5 + cells) * stride
    return from_centres(torch.cat([centres, (2 * share[..., 2:]) ** 2 * anchors], -1))


def grids(outputs: Sequence[Tensor]) -> list[tuple[int, int]]:
    return [(scale.shape[2], scale.shape[3]) for scale in outputs]


def _doubled(features: Tensor) -> Tensor:
    return F.interpolate(features, scale_factor=2.0, mode="nearest")
