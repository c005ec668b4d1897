"""Outlines: which pixels lie in them, and that copy-paste takes these, wherever objects have gone."""

import numpy as np
import pytest
import torch

from tests.workers.detection.painted import HEIGHT, WIDTH, colour, paint
from workers.data.detection import padded
from workers.detection import recipe
from workers.detection.augmenter import augmented
from workers.detection.mixing import pasted
from workers.detection.outlines import filled, numbered

OFF = dict.fromkeys({**recipe.GEOMETRIC, **recipe.MIXING, **recipe.PHOTOMETRIC, **recipe.OCCLUSION}, 0.0)
TRIANGLE = np.array([[80.0, 60], [100, 60], [80, 80]])
CHOSEN = np.array([0, 1])


def test_a_pixel_is_inside_if_its_middle_is() -> None:
    square = filled(np.array([[1.0, 1], [3, 1], [3, 4], [1, 4]]), (5, 6))
    assert square.nonzero()[0].tolist() == [1, 1, 2, 2, 3, 3]
    assert square.nonzero()[1].tolist() == [1, 2] * 3
    triangle = filled(np.array([[0.0, 0], [4, 0], [0, 4]]), (4, 4))
    assert triangle.sum(1).tolist() == [3, 2, 1, 0] or triangle.sum(1).tolist() == [4, 3, 2, 1]


def test_what_an_outline_goes_around_twice_is_outside_and_what_lies_beyond_the_image_is_cut() -> None:
    ring = np.array([[0, 0], [6, 0], [6, 6], [0, 6], [0, 0], [2, 2], [4, 2], [4, 4], [2, 4], [2, 2]], float)
    assert int(filled(ring, (6, 6)).sum()) == 36 - 4
    assert filled(np.array([[-9.0, -9], [99, -9], [99, 99], [-9, 99]]), (3, 4)).all()
    assert not filled(np.array([[-9.0, -9], [-1, -9], [-1, -1], [-9, -1]]), (3, 4)).any()


def two_images(outline: np.ndarray | None) -> tuple[torch.Tensor, torch.Tensor, list[np.ndarray]]:
    """The second has an object of class 2 with an outline, and one of class 3 with a box alone."""
    objects = [[80.0, 60, 100, 80, 2], [10, 60, 30, 80, 3]]
    images, _ = paint([[40, 10, 60, 30, 0]], objects)
    labels = padded([torch.tensor([[40.0, 10, 60, 30, 0]]), torch.tensor(objects)])
    return images, *numbered(labels, [[None], [outline, None]])


def test_copy_paste_takes_what_is_in_the_outline_and_of_others_the_whole_box() -> None:
    images, labels, outlines = two_images(TRIANGLE)
    still = np.tile(np.eye(3), (2, 1, 1))
    batch, found = pasted(images.float() / 255, labels, np.random.default_rng(0), 1.0, outlines, still)
    blue = (batch[0] == colour(2)[:, None, None]).all(0)
    assert torch.equal(blue, torch.from_numpy(filled(TRIANGLE, (HEIGHT, WIDTH))))
    assert 190 <= int(blue.sum()) <= 210, "half of the box of 20 x 20"
    assert int((batch[0] == colour(3)[:, None, None]).all(0).sum()) == 20 * 20
    assert found[0, :, 4].tolist() == [0, 2, 3]


@pytest.mark.parametrize("seed", range(6))
def test_the_outline_goes_where_mosaics_and_warps_take_the_object(seed: int) -> None:
    """The whole object is painted, and its outline is its box: so what is pasted is what would be without."""
    corners = np.array([[80.0, 60], [100, 60], [100, 80], [80, 80]])
    values = {**OFF, "mosaic": 0.5, "copy_paste": 1.0, "translate": 0.1, "scale": 0.3, "fliplr": 0.5}
    made = []
    for outline in (corners, None):
        images, labels, outlines = two_images(outline)
        batch, found = augmented(
            images, labels, CHOSEN, (HEIGHT, WIDTH), np.random.default_rng(seed), values, outlines
        )
        assert found.shape[-1] == 5
        made.append((batch, found))
    (one, ours), (other, theirs) = made
    assert torch.equal(ours, theirs)
    assert float((one != other).float().mean()) < 0.002, "but for pixels on an edge"


def test_a_turned_outline_is_pasted_turned() -> None:
    values = {**OFF, "copy_paste": 1.0, "degrees": 45.0}
    images, labels, outlines = two_images(np.array([[80.0, 60], [100, 60], [100, 80], [80, 80]]))
    images[0] = 114  # grey, as what comes from beyond the other image
    batch, _ = augmented(images, labels, CHOSEN, (HEIGHT, WIDTH), np.random.default_rng(3), values, outlines)
    blue = (batch[0] - colour(2)[:, None, None]).abs().amax(0) < 0.3
    black = batch[0].amax(0) < 0.1
    assert 300 < int(blue.sum()) < 420
    assert int(black.sum()) < 60, "nothing of the background around it but pixels on its edge"


def test_labels_without_outlines_are_augmented_as_before() -> None:
    images, labels, _ = two_images(None)
    values = {**OFF, "mosaic": 0.5, "copy_paste": 1.0, "mixup": 0.5, "degrees": 10.0}
    made = [
        augmented(images, own, CHOSEN, (HEIGHT, WIDTH), np.random.default_rng(1), values)
        for own in (labels, labels[..., :5])
    ]
    assert torch.equal(made[0][0], made[1][0])
    assert torch.equal(made[0][1], made[1][1])
