"""Boxes and pixels stay together: painted boxes are found again after every transformation."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.workers.detection.painted import HEIGHT, WIDTH, colour, paint, seen
from workers.detection import recipe
from workers.detection.augmenter import augmented
from workers.detection.geometry import (
    GREY,
    compact,
    drawn,
    shape_for,
    stretched,
    visible,
    warped,
    warped_labels,
)
from workers.detection.mixing import scenes

OFF = {**recipe.GEOMETRIC, **recipe.MIXING, **recipe.PHOTOMETRIC, **recipe.OCCLUSION}
IMAGES, LABELS = paint(
    [[40, 30, 60, 50, 0], [70, 20, 100, 34, 1], [0, 80, 20, 96, 2]],
    [[50, 40, 80, 60, 3]],
    [[8, 8, 30, 40, 4], [90, 60, 128, 90, 5]],
    [],
)


def apply(seed: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH), **changes: float) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    return augmented(IMAGES, LABELS, np.arange(4), size, rng, {**OFF, **changes})


def check(images: Tensor, labels: Tensor, tolerance: float = 1.6) -> int:
    """Every object that is seen has its box and every box its object; returns how many there are.

    A box that the border cuts may be wider than what is seen of a turned object: then it only has to hold it.
    """
    height, width = images.shape[2:]
    found = 0
    for image, own in zip(images, labels, strict=True):
        for left, top, right, bottom, kind in own[own[:, 4] >= 0].tolist():
            painted = seen(image, int(kind))
            assert painted is not None, f"there is no object of class {kind} at {left, top, right, bottom}"
            within = np.array([painted[0] - left, painted[1] - top, right - painted[2], bottom - painted[3]])
            assert (within > -tolerance).all()
            if left > 0 and top > 0 and right < width and bottom < height:
                assert (np.abs(within) < tolerance).all()
            found += 1
        for kind in range(6):
            painted = seen(image, kind)
            if painted is not None and (painted[2] - painted[0]) * (painted[3] - painted[1]) > 60:
                assert kind in own[:, 4].tolist()
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "changes",
    [
        {"fliplr": 1.0},
        {"flipud": 1.0},
        {"fliplr": 0.5, "flipud": 0.5},
        {"degrees": 45.0},
        {"translate": 0.2},
        {"scale": 0.5},
        {"crop": 0.4},
        {"aspect": 1.0},
        {"shear": 15.0},
        {"perspective": 0.001},
        {"size": (64, 96)},
        {"size": (128, 160)},
        {"degrees": 20.0, "translate": 0.1, "scale": 0.3, "shear": 5.0, "perspective": 0.0005, "fliplr": 0.5},
    ],
    ids=str,
)
def test_painted_boxes_are_found_again(changes: dict[str, Any], seed: int) -> None:
    images, labels = apply(seed, **changes)
    assert images.shape == (4, 3, *changes.get("size", (HEIGHT, WIDTH)))
    assert check(images, labels) >= 3
    assert (labels[3, :, 4] == -1).all()


@pytest.mark.parametrize("seed", range(4))
def test_painted_boxes_are_found_again_in_a_mosaic(seed: int) -> None:
    rng = np.random.default_rng(seed)
    others = np.array([[1, 2, 3]])
    images, labels = scenes(IMAGES, LABELS, np.array([0]), others, np.array([True]), rng.uniform(size=(1, 2)))
    assert images.shape == (1, 3, 2 * HEIGHT, 2 * WIDTH)
    assert check(images, labels) >= 3
    moved = drawn(rng, 1, (2 * HEIGHT, 2 * WIDTH), (64, 96), 0.5, {**OFF, "scale": 0.2, "degrees": 10.0})
    assert check(*warped(images, labels, moved, (64, 96))) >= 2


def test_without_a_mosaic_a_scene_shows_the_image_as_it_is() -> None:
    images, labels = apply(mosaic=1e-9)
    assert torch.allclose(images, IMAGES.float() / 255, atol=1e-5)
    assert check(images, labels, 0.01) == 6


def test_nothing_asked_for_is_nothing_done() -> None:
    images, labels = apply()
    assert torch.equal(images, IMAGES.float() / 255)
    assert torch.equal(labels, LABELS)


def test_a_mirror_image_is_exact_to_the_pixel() -> None:
    images, labels = apply(fliplr=1.0)
    assert torch.allclose(images, IMAGES.flip(3).float() / 255, atol=1e-4)
    assert labels[1, 0].tolist() == [WIDTH - 80, 40, WIDTH - 50, 60, 3]


def test_the_same_seed_makes_the_same_batch_and_another_one_another() -> None:
    every = dict.fromkeys(OFF, 0.5) | {"perspective": 0.0005, "degrees": 10.0, "shear": 3.0}
    first, again, other = apply(1, **every), apply(1, **every), apply(2, **every)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_what_comes_from_beyond_the_image_is_grey() -> None:
    images, _ = apply(size=(HEIGHT, 2 * WIDTH))
    assert float(images[:, :, :, 5].sub(GREY).abs().max()) < 1e-5


def test_a_box_of_which_little_is_left_becomes_an_empty_row() -> None:
    rows = torch.tensor(
        [
            [[-90.0, 10, 9, 20, 0], [-80, 10, 20, 20, 0], [5, 5, 6.5, 50, 0], [10, 10, 10, 10, 0]],
        ]
    )
    left = visible(rows, (HEIGHT, WIDTH))
    assert left[0, :, 4].tolist() == [-1, 0, -1, -1]
    assert left[0, 1, :4].tolist() == [0, 10, 20, 20]


def test_a_box_that_perspective_brings_behind_the_eye_becomes_an_empty_row() -> None:
    matrix = np.eye(3)[None].copy()
    matrix[0, 2, 0] = -0.01  # the eye is at x = 100
    rows = torch.tensor([[[10.0, 10, 20, 20, 0], [80, 10, 120, 20, 0]]])
    assert warped_labels(rows, matrix, (HEIGHT, WIDTH))[0, :, 4].tolist() == [0, -1]


def test_compact_keeps_objects_in_order_and_drops_empty_rows_and_regions() -> None:
    kinds = torch.tensor([[-1.0, 2, -2, 1], [0, -1, -1, -1]])
    rows = torch.cat([torch.arange(8.0).view(2, 4, 1).expand(-1, -1, 4), kinds[..., None]], -1)
    found = compact(rows)
    assert found[..., 4].tolist() == [[2, 1], [0, -1]]
    assert found[0, :, 0].tolist() == [1, 3]
    assert compact(rows[:, :0]).shape == (2, 0, 5)


@pytest.mark.parametrize(
    ("longest", "shape"), [(224, (192, 224)), (160, (128, 160)), (320, (288, 320)), (8, (32, 32))]
)
def test_a_training_shape_is_the_nearest_of_multiples_of_32(longest: int, shape: tuple[int, int]) -> None:
    assert shape_for(longest, (192, 224)) == shape


def test_the_colours_are_those_of_the_test() -> None:
    assert [seen(colour(kind)[:, None, None], kind) for kind in range(6)] == [[0, 0, 1, 1]] * 6


def test_aspect_changes_width_over_height_by_up_to_its_factor_at_equal_area() -> None:
    """With 3 the ratio is 4 at the most: twice as wide and half as high, or the other way round."""
    found = stretched(np.array([1.0, 0.0, -1.0]), 3.0)
    assert found[:, 0, 0].tolist() == pytest.approx([2, 1, 0.5])
    assert found[:, 1, 1].tolist() == pytest.approx([0.5, 1, 2])
