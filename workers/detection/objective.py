"""The detector's loss: CIoU of boxes, and cross entropies of objectness and classes."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.detection.assign import Assigned, Rule, assign
from workers.detection.boxes import ciou
from workers.detection.network import STRIDES, grids, placed
from workers.soft_labels import smoothed

BALANCE = (4.0, 1.0, 0.4)
"""Weights of the scales' objectness losses, from fine to coarse, as finer ones have more cells (YOLOv5)."""
FOCAL_ALPHA = 0.25


class Losses(NamedTuple):
    """The terms of the loss, scalars multiplied by their gains."""

    box: Tensor
    obj: Tensor
    cls: Tensor

    def total(self) -> Tensor:
        return self.box + self.obj + self.cls


def losses(
    outputs: Sequence[Tensor],
    labels: Tensor,
    anchors: Tensor,
    pixels: int,
    recipe: Mapping[str, float],
    rule: Rule = "ratio",
) -> Losses:
    """Return YOLOv5's losses with its gains, means over the images of a batch.

    outputs: see `Detector.forward`. labels: (images, most, 5), or 6 with weights: the losses of boxes and
    classes are then weighted means over the objects, and the targets of objectness are multiplied by the
    weights. So the loss of a mixture of two images with equally many predictions each is r times that with
    the first one's objects plus 1 - r times that with the other's.

    recipe: the names of `recipe.LOSS`. As in YOLOv5, `obj` is multiplied by (pixels / 640)^2, with pixels the
    longer side of the images, and `cls` by classes / 80, so that a value has the same effect for any size and
    number of classes.
    """
    classes = outputs[0].shape[-1] - 5
    targets = assign(labels, anchors, STRIDES, grids(outputs), recipe["anchor_t"], recipe["iou_t"], rule)
    parts = [
        _scale_losses(scale, target, own, stride, recipe)
        for scale, target, own, stride in zip(outputs, targets, anchors, STRIDES, strict=True)
    ]
    box, obj, cls = (torch.stack(part) for part in zip(*parts, strict=True))
    balance = obj.new_tensor(BALANCE)
    return Losses(
        box.sum() * recipe["box"],
        (obj * balance).sum() * recipe["obj"] * (pixels / 640) ** 2,
        cls.sum() * recipe["cls"] * classes / 80,
    )


def _scale_losses(
    outputs: Tensor, target: Assigned, anchors: Tensor, stride: int, recipe: Mapping[str, float]
) -> tuple[Tensor, Tensor, Tensor]:
    places = (target.image, target.anchor, target.row, target.column)
    chosen = outputs[places]
    cells = torch.stack([target.column, target.row], -1)
    overlap = ciou(placed(chosen[:, :4], cells, anchors[target.anchor], stride), target.boxes)
    none, weights = outputs.new_zeros(()), target.weights
    box = _mean(1 - overlap, weights) if len(chosen) else none
    present = overlap if weights is None else overlap * weights
    obj = cross_entropy(outputs[..., 4], _objectness(outputs, places, present), recipe["obj_pw"], recipe)
    classes = outputs.shape[-1] - 5
    if classes == 1 or not len(chosen):
        return box, obj, none
    wanted = smoothed(F.one_hot(target.classes, classes).to(outputs), recipe["label_smoothing"])
    return box, obj, cross_entropy(chosen[:, 5:], wanted, recipe["cls_pw"], recipe, weights)


def _mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean of values (n,), weighted if weights (n,) are given."""
    return values.mean() if weights is None else (values * weights).sum() / weights.sum().clamp(min=1e-7)


def _objectness(outputs: Tensor, places: tuple[Tensor, ...], overlap: Tensor) -> Tensor:
    """Return the targets of objectness: the best CIoU of a prediction with an object assigned to it, or 0."""
    shape = outputs.shape[:-1]
    flat = torch.zeros(shape, device=outputs.device).view(-1)
    image, anchor, row, column = places
    index = ((image * shape[1] + anchor) * shape[2] + row) * shape[3] + column
    return flat.scatter_reduce(0, index, overlap.detach().clamp(min=0), "amax").view(shape)


def cross_entropy(
    logits: Tensor,
    wanted: Tensor,
    positive_weight: float,
    recipe: Mapping[str, float],
    weights: Tensor | None = None,
) -> Tensor:
    """Return the mean binary cross entropy, focal if `fl_gamma` is above 0 (arXiv 1708.02002).

    logits, wanted: of any shape, or (n, classes) with weights (n,).
    """
    each = F.binary_cross_entropy_with_logits(
        logits, wanted, reduction="none", pos_weight=logits.new_tensor(positive_weight)
    )
    if recipe["fl_gamma"] > 0:
        found = logits.sigmoid()
        right = wanted * found + (1 - wanted) * (1 - found)
        alpha = wanted * FOCAL_ALPHA + (1 - wanted) * (1 - FOCAL_ALPHA)
        each = each * alpha * (1 - right) ** recipe["fl_gamma"]
    return each.mean() if weights is None else _mean(each.mean(1), weights)
