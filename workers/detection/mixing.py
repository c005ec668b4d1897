"""Mix several images: mosaic, copy-paste, mixup and cutmix. Pixels are float32 in [0, 1]."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from workers.detection.boxes import areas
from workers.detection.geometry import GREY, compact, emptied, visible
from workers.detection.outlines import OWN, cut_out, outlined

MOST_COVERED = 0.6
"""Maximum fraction of a box that may be hidden before the object is dropped (from YOLOv5's cutout)."""
MOST_PASTED_OVER = 0.3
"""Maximum fraction of an object that a pasted one may hide."""
MIXUP_BETA = 32.0
Ratio = Literal["beta", "uniform"]
"""Distribution of mixup's ratio: Beta(32, 32), without weights of objects, or uniform, with weights."""


def scenes(
    images: Tensor, labels: Tensor, chosen: np.ndarray, others: np.ndarray, mosaic: np.ndarray,
    centres: np.ndarray,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return scenes of twice the size: mosaics of four images (Bochkovskiy et al. 2020), or one centred.

    images: uint8 (all, 3, height, width), labels (all, most, 5). chosen: (n,), the scenes' first images;
    others: (n, 3), the rest of each mosaic; mosaic: bool (n,). centres: (n, 2), in [0, 1]: x and y of the
    point where the four meet, scaled to between a quarter and three quarters of the scene.
    Returns float32 (n, 3, 2 height, 2 width) in [0, 1] and labels (n, 4 most, 5). Labels may also have the
    columns of outlines.
    """
    height, width = images.shape[2:]
    size = (2 * height, 2 * width)
    made = torch.full((len(chosen), 3, *size), round(255 * GREY), dtype=torch.uint8, device=images.device)
    most = labels.shape[1]
    boxes = labels.new_full((len(chosen), 4 * most, labels.shape[-1]), -1)
    for number, first in enumerate(chosen):
        if mosaic[number]:
            x, y = (centres[number] + 0.5) * (width, height)
            corners = [(y - height, x - width), (y - height, x), (y, x - width), (y, x)]
            parts = zip((first, *others[number]), corners, strict=True)
        else:
            parts = zip((first,), ((height / 2, width / 2),), strict=True)
        for place, (which, (top, left)) in enumerate(parts):
            top, left = int(top), int(left)
            rows = slice(max(0, top), min(size[0], top + height))
            columns = slice(max(0, left), min(size[1], left + width))
            made[number, :, rows, columns] = images[
                which, :, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
            ]
            own = labels[which].clone()
            own[:, :4] += torch.tensor([left, top, left, top], device=own.device)
            if own.shape[1] > OWN:
                own[:, OWN + 1 :] += torch.tensor([left, top], device=own.device)
            boxes[number, place * most : (place + 1) * most] = own
    return made.float() / 255, compact(visible(boxes, size))


def pasted(
    images: Tensor,
    labels: Tensor,
    rng: np.random.Generator,
    probability: float,
    outlines: Sequence[np.ndarray] = (),
    matrices: np.ndarray | None = None,
) -> tuple[Tensor, Tensor]:
    """Paste objects of the next image of the batch, each with a probability, in place (arXiv 2012.07177).

    Of an object with an outline only the inside is pasted: `labels` then has further columns, and `matrices`
    are those that moved the images (see `outlines`). Of other objects the whole box is pasted. An object that
    would hide much of another is not pasted.
    """
    from_images, from_labels = images.roll(1, 0), labels.roll(1, 0)
    wanted = torch.from_numpy(rng.uniform(size=from_labels.shape[:2]) < probability).to(images.device)
    real = labels[:, None, :, 4] >= 0
    hidden = (covered(labels[:, None, :, :4], from_labels[:, :, None, :4]) * real).amax(2)
    wanted &= (from_labels[..., 4] >= 0) & (hidden <= MOST_PASTED_OVER)
    inside = torch.zeros_like(images[:, :1], dtype=torch.bool)
    has_outline = outlined(from_labels)
    if matrices is not None and has_outline.any():
        size = (images.shape[2], images.shape[3])
        inside |= cut_out(from_labels, wanted & has_outline, outlines, np.roll(matrices, 1, 0), size)
    for place in range(wanted.shape[1]):
        whole = wanted[:, place] & ~has_outline[:, place]
        if whole.any():
            inside |= rectangle(from_labels[:, place, :4], images) & whole[:, None, None, None]
    both = torch.cat([labels, emptied(from_labels, ~wanted)], 1)
    return torch.where(inside, from_images, images), compact(both)


def mixed(
    images: Tensor,
    labels: Tensor,
    rng: np.random.Generator,
    probability: float,
    ratio: Ratio = "beta",
) -> tuple[Tensor, Tensor]:
    """Mix each image, weighted by r, with the next, by 1 - r, with a probability (mixup, arXiv 1710.09412).

    With r from Beta(32, 32) both images' objects have full weight, as in YOLOv5. With a uniform r the labels
    get one more column, (n, most, 6): the weight of an object in the loss, which is its image's r or 1 - r.
    """
    which = torch.from_numpy(rng.uniform(size=len(images)) < probability).to(images.device)
    if ratio == "uniform":
        ratios = rng.uniform(size=len(images))
    else:
        ratios = rng.beta(MIXUP_BETA, MIXUP_BETA, len(images))
    share = torch.where(which, torch.from_numpy(ratios).to(images), 1.0)
    theirs = emptied(labels.roll(1, 0), ~which[:, None])
    if ratio == "uniform":
        labels, theirs = _weighted(labels, share), _weighted(theirs, 1 - share)
    share = share[:, None, None, None]
    mean = images * share + images.roll(1, 0) * (1 - share)
    return mean, compact(torch.cat([labels, theirs], 1))


def _weighted(labels: Tensor, weights: Tensor) -> Tensor:
    """Return labels (n, most, 5) with a sixth column, the weights (n,) of their images."""
    return torch.cat([labels, weights[:, None, None].to(labels).expand(-1, labels.shape[1], 1)], -1)


def cut(
    images: Tensor, labels: Tensor, rng: np.random.Generator, probability: float
) -> tuple[Tensor, Tensor]:
    """Paste a rectangle of the next image into each, with a probability (CutMix, arXiv 1905.04899).

    Its fraction of the area is uniform. Objects of the other image are clipped to it; objects of which too
    little is left are dropped, in both.
    """
    height, width = images.shape[2:]
    which = torch.from_numpy(rng.uniform(size=len(images)) < probability).to(images.device)
    side = np.sqrt(rng.uniform(0, 1, len(images)))
    middle = rng.uniform(0, 1, (2, len(images)))
    edges = [middle[0] - side / 2, middle[1] - side / 2, middle[0] + side / 2, middle[1] + side / 2]
    rectangles = torch.from_numpy(np.stack(edges, -1).clip(0, 1) * (width, height, width, height)).round()
    rectangles = rectangles.to(labels)
    inside = rectangle(rectangles, images) & which[:, None, None, None]
    own = hidden(labels, rectangles, which)
    theirs = labels.roll(1, 0)
    corners = torch.maximum(theirs[..., :2], rectangles[:, None, :2])
    opposites = torch.minimum(theirs[..., 2:4], rectangles[:, None, 2:])
    part = torch.cat([corners, opposites], -1)
    little = covered(theirs[..., :4], rectangles[:, None]) < 1 - MOST_COVERED
    theirs = emptied(torch.cat([part, theirs[..., 4:]], -1), little | ~which[:, None])
    return torch.where(inside, images.roll(1, 0), images), compact(torch.cat([own, theirs], 1))


def hidden(labels: Tensor, rectangles: Tensor, which: Tensor) -> Tensor:
    """Return labels (n, most, 5) without those hidden by rectangles (n, 4) in images `which`, bool (n,)."""
    return emptied(labels, (covered(labels[..., :4], rectangles[:, None]) > MOST_COVERED) & which[:, None])


def covered(boxes: Tensor, by: Tensor) -> Tensor:
    """Return the fraction of boxes (..., 4) that others cover, broadcast; 0 for a box without area."""
    corner = torch.maximum(boxes[..., :2], by[..., :2])
    opposite = torch.minimum(boxes[..., 2:], by[..., 2:])
    return (opposite - corner).clamp(min=0).prod(-1) / areas(boxes).clamp(min=1e-7)


def rectangle(boxes: Tensor, images: Tensor) -> Tensor:
    """Return which pixels of images (n, 3, h, w) have their centre in boxes (n, 4): bool (n, 1, h, w)."""
    height, width = images.shape[2:]
    left, top, right, bottom = boxes[:, :, None].unbind(1)
    x = torch.arange(width, device=boxes.device) + 0.5
    y = torch.arange(height, device=boxes.device) + 0.5
    across, down = (x > left) & (x < right), (y > top) & (y < bottom)
    return (down[:, :, None] & across[:, None])[:, None]
