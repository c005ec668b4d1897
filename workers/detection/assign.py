"""Assign objects to the predictions that are responsible for them.

As in YOLOv5, an object is assigned to every anchor of similar shape, in its own cell and in the two
neighbours that its centre is nearest to. Shapes are similar if neither width nor height differs by a factor
of `anchor_t` or more, and the IoU of the sizes is above `iou_t`. The anchor with the highest IoU is always
responsible, so that no object is lost. With the rule `iou` the IoU alone decides, as in YOLOv4 (arXiv
2004.10934, section 3.4: "using multiple anchors for a single ground truth").
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from workers.detection.boxes import size_iou, to_centres

Rule = Literal["ratio", "iou"]


@dataclass(frozen=True)
class Assigned:
    """The responsible predictions of one scale; n may be 0."""

    image: Tensor
    """int64 (n,), like the next three: the index of the prediction in (images, anchors, rows, columns)."""
    anchor: Tensor
    row: Tensor
    column: Tensor
    boxes: Tensor
    """float32 (n, 4): the objects' boxes."""
    classes: Tensor
    """int64 (n,)"""
    weights: Tensor | None
    """float32 (n,): the objects' weights in the loss; None if they are all equal."""


def assign(
    labels: Tensor,
    anchors: Tensor,
    strides: Sequence[int],
    grids: Sequence[tuple[int, int]],
    anchor_t: float,
    iou_t: float,
    rule: Rule = "ratio",
) -> list[Assigned]:
    """Return the responsible predictions of each scale.

    labels: (images, most, 5), or 6 with weights. Rows with a negative class or a box without area are not
    objects. anchors: (scales, per_scale, 2), in pixels. grids: rows and columns of each scale's cells.
    """
    real = (labels[..., 4] >= 0) & ((labels[..., 2:4] - labels[..., :2]) > 0).all(-1)
    image, place = real.nonzero(as_tuple=True)
    boxes = labels[image, place, :4]
    classes = labels[image, place, 4].long()
    weights = labels[image, place, 5] if labels.shape[-1] > 5 else None
    centres = to_centres(boxes)
    ratio = anchor_t if rule == "ratio" else math.inf
    responsible = _responsible(centres[:, 2:], anchors.flatten(0, 1), ratio, iou_t)
    per_scale = anchors.shape[1]
    return [
        _of_scale(image, boxes, classes, weights, centres[:, :2] / stride, of_scale, grid)
        for stride, grid, of_scale in zip(strides, grids, torch.split(responsible, per_scale, 1), strict=True)
    ]


def _responsible(sizes: Tensor, anchors: Tensor, anchor_t: float, iou_t: float) -> Tensor:
    """Return bool (objects, anchors) for sizes (objects, 2) and anchors (anchors, 2)."""
    ratio = sizes[:, None] / anchors
    overlap = size_iou(sizes[:, None], anchors)
    near = (torch.maximum(ratio, 1 / ratio).amax(-1) < anchor_t) & (overlap > iou_t)
    return near.scatter(1, overlap.argmax(1, keepdim=True), True)


def _of_scale(
    image: Tensor,
    boxes: Tensor,
    classes: Tensor,
    weights: Tensor | None,
    centres: Tensor,
    near: Tensor,
    grid: tuple[int, int],
) -> Assigned:
    """Return the responsible predictions of a scale.

    centres: (objects, 2), x and y in cells. near: bool (objects, per_scale).
    """
    rows, columns = grid
    limits = torch.tensor([columns, rows], device=boxes.device)
    # a centre on the right or bottom border is in the last cell
    own = centres.floor().long().clamp(min=0).minimum(limits - 1)
    towards = torch.where(centres - own < 0.5, -1, 1)
    beside = own + towards * torch.tensor([1, 0], device=own.device)
    below = own + towards * torch.tensor([0, 1], device=own.device)
    cells = torch.stack([own, beside, below], 1)
    inside = ((cells >= 0) & (cells < limits)).all(-1)
    thing, anchor, which = (near[:, :, None] & inside[:, None]).nonzero(as_tuple=True)
    cell = cells[thing, which]
    weighing = None if weights is None else weights[thing]
    return Assigned(image[thing], anchor, cell[:, 1], cell[:, 0], boxes[thing], classes[thing], weighing)
