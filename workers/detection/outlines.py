"""Outlines of objects, tracked through mosaics and warps so that copy-paste can cut the objects out.

Labels with outlines have three more columns: the index of the object's outline in a list, or -1, and the
offsets added to its x and y since. A matrix then maps the outline to the object's present place.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

OWN, COLUMNS = 5, 8
"""Numbers of columns of labels without and with outlines."""


def numbered(
    labels: Tensor, outlines: Sequence[Sequence[np.ndarray | None]]
) -> tuple[Tensor, list[np.ndarray]]:
    """Return labels (images, most, 8) for labels (images, most, 5), and a flat list of all outlines.

    outlines: for each image and each of its rows a float (points, 2), or None.
    """
    more = torch.zeros(*labels.shape[:2], COLUMNS - OWN)
    more[..., 0] = -1
    flat: list[np.ndarray] = []
    for image, own in enumerate(outlines):
        for row, outline in enumerate(own):
            if outline is not None:
                more[image, row, 0] = len(flat)
                flat.append(outline)
    return torch.cat([labels, more.to(labels)], -1), flat


def outlined(labels: Tensor) -> Tensor:
    """Return which rows of labels (n, most, 5 or 8) have an outline: bool (n, most)."""
    if labels.shape[-1] == OWN:
        return torch.zeros_like(labels[..., 4], dtype=torch.bool)
    return labels[..., OWN] >= 0


def cut_out(
    labels: Tensor,
    wanted: Tensor,
    outlines: Sequence[np.ndarray],
    matrices: np.ndarray,
    size: tuple[int, int],
) -> Tensor:
    """Return which pixels of images of `size` lie in outlines of the objects `wanted`: bool (n, 1, *size).

    labels: (n, most, 8). wanted: bool (n, most), rows with an outline. matrices: (n, 3, 3), see `geometry`.
    """
    found = np.zeros((len(labels), 1, *size), bool)
    rows = labels.cpu().double().numpy()
    for image, row in wanted.nonzero().tolist():
        number, *moved = rows[image, row, OWN:]
        corners = outlines[int(number)] + moved
        mapped = np.concatenate([corners, np.ones((len(corners), 1))], 1) @ matrices[image].T
        found[image, 0] |= filled(mapped[:, :2] / mapped[:, 2:], size)
    return torch.from_numpy(found).to(labels.device)


def filled(corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return which pixels have their centre in a polygon (points, 2), by the even-odd rule: bool `size`.

    Along each row of pixels, inside and outside alternate where the row's centre line crosses an edge.
    """
    height, width = size
    (x, y), (next_x, next_y) = corners.T, np.roll(corners, -1, 0).T
    middles = np.arange(height)[:, None] + 0.5
    crossed = (y <= middles) != (next_y <= middles)
    row, edge = crossed.nonzero()
    along = (row + 0.5 - y[edge]) / (next_y - y)[edge]
    at = np.ceil(x[edge] + along * (next_x - x)[edge] - 0.5).clip(0, width).astype(int)
    turns = np.zeros((height, width + 1), int)
    np.add.at(turns, (row, at), 1)
    inside: np.ndarray = turns.cumsum(1)[:, :width] % 2 == 1
    return inside
