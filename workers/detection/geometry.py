"""Geometric augmentation: one matrix per image moves its pixels and its boxes.

A matrix maps a point (x, y, 1) of the source to one of the result, in the coordinates of boxes: 0 is the
left edge of the first pixel, whose centre is at 0.5.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from kornia.geometry.linalg import transform_points
from kornia.geometry.transform import warp_perspective
from torch import Tensor

from workers.detection.boxes import areas, clipped

GREY = 114 / 255
LEAST_SIDE = 2.0
"""Minimum side of a box that is kept, in pixels."""
LEAST_VISIBLE = 0.1
"""Minimum fraction of a box that must be inside the image; both are YOLOv5's."""
NEAREST = 0.1
"""A corner that perspective moves nearer to the viewer than this fraction of the distance is behind it."""


def translations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return matrices of translation, float64 (n, 3, 3)."""
    return _matrices(len(x), {(0, 2): x, (1, 2): y})


def drawn(
    rng: np.random.Generator,
    count: int,
    source: tuple[int, int],
    result: tuple[int, int],
    zoom: float,
    recipe: Mapping[str, float],
) -> np.ndarray:
    """Draw matrices float64 (count, 3, 3) from images of height and width `source` to ones of `result`.

    The order follows YOLOv5's random_perspective: perspective, aspect, rotation and scale, shear,
    translation, all around the centre; then cropping and mirroring. zoom: a scale for all. recipe: the names
    of `recipe.GEOMETRIC`.
    """

    def around(name: str, shape: tuple[int, ...] = (count,)) -> np.ndarray:
        return rng.uniform(-1, 1, shape) * recipe[name]

    centred = translations(np.full(count, -source[1] / 2), np.full(count, -source[0] / 2))
    tilt = around("perspective", (2, count))
    perspective = _matrices(count, {(2, 0): tilt[0], (2, 1): tilt[1]})
    angle, scale = np.radians(around("degrees")), zoom * np.maximum(1 + around("scale"), 0.05)
    turned = _matrices(
        count,
        {
            (0, 0): scale * np.cos(angle),
            (0, 1): -scale * np.sin(angle),
            (1, 0): scale * np.sin(angle),
            (1, 1): scale * np.cos(angle),
        },
    )
    slant = np.tan(np.radians(around("shear", (2, count))))
    sheared = _matrices(count, {(0, 1): slant[0], (1, 0): slant[1]})
    shift = (0.5 + around("translate", (2, count))) * np.array([[result[1]], [result[0]]])
    moved = translations(*shift)
    if recipe["aspect"] > 0:
        turned = turned @ stretched(rng.uniform(-1, 1, count), recipe["aspect"])
    placed = moved @ sheared @ turned @ perspective @ centred
    found: np.ndarray = _mirrored(rng, count, result, recipe) @ _cropped(rng, count, result, recipe["crop"])
    found = found @ placed
    return found


def stretched(part: np.ndarray, most: float) -> np.ndarray:
    """Return matrices that multiply width over height by (1 + most)^part and keep the area.

    part: (n,), in [-1, 1].
    """
    wider = (1 + most) ** (part / 2)
    return _matrices(len(part), {(0, 0): wider, (1, 1): 1 / wider})


def _cropped(rng: np.random.Generator, count: int, size: tuple[int, int], most: float) -> np.ndarray:
    """Draw matrices that enlarge a window with a fraction 1 - U(0, most) of the sides to the whole image."""
    cut = rng.uniform(0, min(most, 0.95), count)
    corner = rng.uniform(0, 1, (2, count)) * cut * np.array([[size[1]], [size[0]]])
    grown = 1 / (1 - cut)
    return _matrices(
        count, {(0, 0): grown, (1, 1): grown, (0, 2): -corner[0] * grown, (1, 2): -corner[1] * grown}
    )


def _mirrored(
    rng: np.random.Generator, count: int, size: tuple[int, int], recipe: Mapping[str, float]
) -> np.ndarray:
    across = rng.uniform(0, 1, count) < recipe["fliplr"]
    down = rng.uniform(0, 1, count) < recipe["flipud"]
    return _matrices(
        count,
        {
            (0, 0): np.where(across, -1.0, 1.0),
            (0, 2): np.where(across, size[1], 0.0),
            (1, 1): np.where(down, -1.0, 1.0),
            (1, 2): np.where(down, size[0], 0.0),
        },
    )


def warped(
    images: Tensor, labels: Tensor, matrices: np.ndarray, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Warp images float32 (n, 3, height, width) in [0, 1] and labels (n, most, 5) into images of `size`.

    Areas outside the source are grey. A rotated box becomes the one around its corners. Boxes of which too
    little is left become empty rows.
    """
    if np.array_equal(matrices, np.broadcast_to(np.eye(3), matrices.shape)) and images.shape[2:] == size:
        return images, labels
    half = translations(np.array([0.5]), np.array([0.5]))
    pixels = np.linalg.inv(half) @ matrices @ half  # in kornia the first pixel's centre is at 0
    grey = torch.full((3,), GREY, device=images.device)
    moved = warp_perspective(
        images, _tensor(pixels, images), size, padding_mode="fill", fill_value=grey, align_corners=True
    )
    return moved, warped_labels(labels, matrices, size)


def warped_labels(labels: Tensor, matrices: np.ndarray, size: tuple[int, int]) -> Tensor:
    boxes = labels[..., :4]
    corners = torch.stack([boxes[..., [0, 1]], boxes[..., [2, 1]], boxes[..., [2, 3]], boxes[..., [0, 3]]], 2)
    matrix = _tensor(matrices, labels)
    found = transform_points(matrix, corners.flatten(1, 2)).view(corners.shape)
    moved = torch.cat([found.amin(2), found.amax(2)], -1)
    distance = (corners * matrix[:, None, None, 2, :2]).sum(-1) + matrix[:, None, None, 2, 2]
    labels = emptied(labels, distance.amin(2) < NEAREST)
    return visible(torch.cat([moved, labels[..., 4:]], -1), size)


def visible(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Return labels with boxes clipped at the border, and empty rows if too little of a box is left."""
    inside = clipped(labels[..., :4], *size)
    enough = ((inside[..., 2:] - inside[..., :2]) >= LEAST_SIDE).all(-1)
    enough &= areas(inside) >= LEAST_VISIBLE * areas(labels[..., :4])
    return emptied(torch.cat([inside, labels[..., 4:]], -1), ~enough)


def emptied(labels: Tensor, which: Tensor) -> Tensor:
    """Return labels with empty rows where `which`, bool (n, most), is true; further columns are unchanged."""
    kind = torch.where(which, -1.0, labels[..., 4])
    return torch.cat([labels[..., :4], kind[..., None], labels[..., 5:]], -1)


def compact(labels: Tensor) -> Tensor:
    """Return the same objects in the same order, without superfluous empty rows and without regions."""
    real = labels[..., 4] >= 0
    order = (~real).byte().argsort(dim=1, stable=True)
    most = max(1, int(real.sum(1).max())) if len(labels) else 1
    found = labels.gather(1, order[..., None].expand(-1, -1, labels.shape[-1]))[:, :most]
    return emptied(found, found[..., 4] < 0)


def shape_for(longest: int, canvas: tuple[int, int], multiple: int = 32) -> tuple[int, int]:
    """Return height and width of a canvas scaled to a longer side, rounded to positive multiples."""
    factor = longest / max(canvas)
    height, width = (multiple * max(1, math.floor(side * factor / multiple + 0.5)) for side in canvas)
    return height, width


def _matrices(count: int, values: Mapping[tuple[int, int], np.ndarray]) -> np.ndarray:
    """Return identity matrices with values replaced at the given rows and columns."""
    found = np.tile(np.eye(3), (count, 1, 1))
    for (row, column), value in values.items():
        found[:, row, column] = value
    return found


def _tensor(matrices: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(matrices)).to(like)
