"""Mixed images and soft labels for classifiers: CutMix, Mosaic and label smoothing.

CutMix and Mosaic mix the images of a batch; the label of each class is then the fraction of pixels that come
from images of that class. Label smoothing gives every class a small fraction. Drawing random numbers is
separate from applying them, as in `workers.augment`.

Hyperparameters, 0 by default: `cutmix` and `mosaic`, the probability for each image, and `label_smoothing`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from evodevo.errors import UsageError

NAMES = ("cutmix", "mosaic", "label_smoothing")
NEAREST = 0.2
"""Minimum distance of a mosaic's meeting point from the border, as a fraction of a side (as in darknet)."""


def drawn(shape: Sequence[int], hp: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """Draw for a batch of images of shape (n, channels, height, width) from the global generator of the CPU.

    Return None, and draw nothing, if all hyperparameters are 0. Otherwise return `corners`, int64 (n, 2),
    rows and columns of the first image of a mosaic; `cuts`, int64 (n, 4), top, left, bottom, right of what
    CutMix takes from the next image; `smoothing`, (n,). Raises `UsageError` for invalid values.
    """
    cutmix, mosaic, smoothing = values = [hp.get(name, 0.0) for name in NAMES]
    for name, value in zip(NAMES, values, strict=True):
        if isinstance(value, str) or not 0 <= value <= 1:
            raise UsageError(f"search.loci.{name}: should be from 0 to 1, not {value!r}")
    if not any(values):
        return None
    count, size = shape[0], torch.tensor([shape[-2], shape[-1]])
    meeting = (size * (NEAREST + (1 - 2 * NEAREST) * torch.rand(count, 2))).round().long()
    corners = torch.where((torch.rand(count) < mosaic)[:, None], meeting, size)
    half = torch.rand(count, 1).sqrt() / 2  # so that the fraction of the area is uniform
    middle = torch.rand(count, 2)
    cuts = (torch.cat([middle - half, middle + half], 1).clamp(0, 1) * size.repeat(2)).round().long()
    cuts = torch.where((torch.rand(count) < cutmix)[:, None], cuts, 0)
    return {"corners": corners, "cuts": cuts, "smoothing": torch.full((count,), float(smoothing))}


def softened(
    images: Tensor, labels: Tensor, its: Mapping[str, Tensor], classes: int
) -> tuple[Tensor, Tensor]:
    """Return mixed images (n, channels, height, width) and soft labels float32 (n, classes).

    labels: int64 (n,). its: the result of `drawn`.
    """
    images, soft = mosaic(images, F.one_hot(labels, classes).float(), its["corners"])
    images, soft = cut(images, soft, its["cuts"])
    return images, smoothed(soft, its["smoothing"][:, None])


def mosaic(images: Tensor, labels: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
    """Combine four images of the batch, each keeping its pixels in place (as darknet does for classifiers).

    Each image keeps `corners`, int64 (n, 2), rows and columns from the top left; the next three of the batch
    fill the area to the right, below, and both. labels: float32 (n, classes).
    """
    height, width = images.shape[-2:]
    above = (torch.arange(height, device=images.device) < corners[:, :1])[:, None, :, None]
    left = (torch.arange(width, device=images.device) < corners[:, 1:])[:, None, None, :]
    others = [images.roll(-number, 0) for number in (1, 2, 3)]
    upper = torch.where(left, images, others[0])
    made = torch.where(above, upper, torch.where(left, others[1], others[2]))
    down, across = corners[:, :1].float() / height, corners[:, 1:].float() / width
    shares = [down * across, down * (1 - across), (1 - down) * across, (1 - down) * (1 - across)]
    mixed = shares[0] * labels
    for number, share in enumerate(shares[1:], 1):
        mixed = mixed + share * labels.roll(-number, 0)
    return made, mixed


def cut(images: Tensor, labels: Tensor, cuts: Tensor) -> tuple[Tensor, Tensor]:
    """Paste a rectangle of the next image of the batch (CutMix, Yun et al. 2019, arXiv 1905.04899).

    cuts: int64 (n, 4), top, left, bottom, right. labels: float32 (n, classes).
    """
    height, width = images.shape[-2:]
    top, left, bottom, right = (cuts[:, at : at + 1] for at in range(4))
    rows, columns = (torch.arange(side, device=images.device) for side in (height, width))
    down, across = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    inside = down[:, None, :, None] & across[:, None, None, :]
    share = ((bottom - top) * (right - left)).float() / (height * width)
    mixed = (1 - share) * labels + share * labels.roll(-1, 0)
    return torch.where(inside, images.roll(-1, 0), images), mixed


def smoothed(wanted: Tensor, amount: float | Tensor) -> Tensor:
    """Return smoothed labels y (1 - a) + a / C of targets (n, C) (arXiv 1512.00567, section 7)."""
    return wanted * (1 - amount) + amount / wanted.shape[-1]
