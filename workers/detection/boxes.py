"""Overlaps of boxes: IoU, DIoU and CIoU (Zheng et al. 2020, arXiv 1911.08287), and DIoU-NMS."""

import math

import torch
from torch import Tensor

EPSILON = 1e-7


def from_centres(boxes: Tensor) -> Tensor:
    """Convert (..., 4) centre x, centre y, width, height to left, top, right, bottom."""
    half = boxes[..., 2:] / 2
    return torch.cat([boxes[..., :2] - half, boxes[..., :2] + half], -1)


def to_centres(boxes: Tensor) -> Tensor:
    """Convert (..., 4) left, top, right, bottom to centre x, centre y, width, height."""
    return torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], -1)


def areas(boxes: Tensor) -> Tensor:
    """Return the areas (...) of boxes (..., 4), 0 where right or bottom is not beyond left or top."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def clipped(boxes: Tensor, height: float, width: float) -> Tensor:
    """Return the part of each box (..., 4) that is inside the image."""
    limits = boxes.new_tensor([width, height, width, height])
    return boxes.clamp(min=0).minimum(limits)


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersection over union of boxes (..., 4), broadcast; 0 where either has no area."""
    corner = torch.maximum(first[..., :2], second[..., :2])
    opposite = torch.minimum(first[..., 2:], second[..., 2:])
    inside = (opposite - corner).clamp(min=0).prod(-1)
    return inside / (areas(first) + areas(second) - inside + EPSILON)


def diou(first: Tensor, second: Tensor) -> Tensor:
    """Return IoU minus the centres' squared distance over the enclosing box's squared diagonal: [-1, 1]."""
    return iou(first, second) - _centre_distance(first, second)


def ciou(first: Tensor, second: Tensor) -> Tensor:
    """Return DIoU minus a penalty alpha * v for different aspect ratios; the loss is 1 minus this.

    v is 4 / pi^2 times the squared difference of arctan(width / height), and alpha is v / (1 - IoU + v),
    without a gradient.
    """
    overlap = iou(first, second)
    sizes = [(boxes[..., 2:] - boxes[..., :2]).clamp(min=0) for boxes in (first, second)]
    angles = [torch.atan(size[..., 0] / (size[..., 1] + EPSILON)) for size in sizes]
    unlike = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
    with torch.no_grad():
        weight = unlike / (1 - overlap + unlike + EPSILON)
    return overlap - _centre_distance(first, second) - weight * unlike


def size_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the IoU of sizes (..., 2), width and height, of boxes with the same centre; broadcast."""
    inside = torch.minimum(first, second).prod(-1)
    return inside / (first.prod(-1) + second.prod(-1) - inside + EPSILON)


def suppressed(boxes: Tensor, scores: Tensor, classes: Tensor, threshold: float) -> Tensor:
    """Return which detections DIoU-NMS keeps, bool (images, n), for a whole batch at once.

    boxes: (images, n, 4). scores: (images, n), from high to low in each image; scores of 0 or less are not
    detections. classes: (images, n); only equal ones compete. A detection is dropped if its DIoU with a kept
    one of higher score is above the threshold. The greedy choice is the only fixed point of "keep each that
    no earlier kept one suppresses", so iterating that rule for all at once finds it.
    """
    count = boxes.shape[1]
    above = diou(boxes[:, :, None], boxes[:, None]) > threshold
    rivals = above & (classes[:, :, None] == classes[:, None])
    earlier = torch.ones(count, count, dtype=torch.bool, device=boxes.device).tril(-1)
    rivals &= earlier
    valid = scores > 0
    kept = valid
    for _ in range(count):
        now = valid & ~(rivals & kept[:, None]).any(-1)
        if torch.equal(now, kept):
            break
        kept = now
    return kept


def _centre_distance(first: Tensor, second: Tensor) -> Tensor:
    """Return the squared distance of the centres over the squared diagonal of the enclosing box."""
    corner = torch.minimum(first[..., :2], second[..., :2])
    opposite = torch.maximum(first[..., 2:], second[..., 2:])
    apart = (first[..., :2] + first[..., 2:] - second[..., :2] - second[..., 2:]) / 2
    return (apart**2).sum(-1) / (((opposite - corner) ** 2).sum(-1) + EPSILON)
