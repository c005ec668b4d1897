"""What is made of several images: whose objects count, and where their pixels are."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.workers.detection.painted import HEIGHT, WIDTH, paint, seen
from workers.detection.mixing import covered, cut, hidden, mixed, pasted, rectangle

BYTES, LABELS = paint([[40, 30, 60, 50, 0]], [[44, 32, 64, 52, 1], [80, 60, 100, 90, 2]])
IMAGES = BYTES.float() / 255


def kinds(labels: Tensor) -> list[set[float]]:
    return [set(own[own >= 0].tolist()) for own in labels[..., 4]]


def test_mixup_is_near_the_mean_of_two_and_has_the_objects_of_both() -> None:
    images, labels = mixed(IMAGES, LABELS, np.random.default_rng(0), 1.0)
    assert kinds(labels) == [{0, 1, 2}, {0, 1, 2}]
    weight = float(images[0, 0, 31, 41])  # red there in the first, black in the second
    assert 0.2 < weight < 0.8
    assert torch.allclose(images[0], weight * IMAGES[0] + (1 - weight) * IMAGES[1], atol=1e-6)


def test_copy_paste_brings_an_object_with_its_pixels_unless_it_would_hide_another() -> None:
    images, labels = pasted(IMAGES, LABELS, np.random.default_rng(0), 1.0)
    # the second image's class 1 hides most of the first's class 0, and the other way round
    assert kinds(labels) == [{0, 2}, {1, 2}]
    assert seen(images[0], 2) == [80, 60, 100, 90]
    assert seen(images[0], 0) == [40, 30, 60, 50]
    assert torch.equal(images[1], IMAGES[1])


@pytest.mark.parametrize("operation", [mixed, pasted, cut])
def test_a_probability_of_zero_changes_nothing(operation: object) -> None:
    images, labels = operation(IMAGES, LABELS, np.random.default_rng(0), 0.0)  # type: ignore[operator]
    assert torch.equal(images, IMAGES)
    assert torch.equal(labels, LABELS)


@pytest.mark.parametrize("seed", range(20))
def test_cutmix_has_the_pixels_of_every_object_that_counts(seed: int) -> None:
    images, labels = cut(IMAGES, LABELS, np.random.default_rng(seed), 1.0)
    for image, own in zip(images, labels, strict=True):
        for left, top, right, bottom, kind in own[own[:, 4] >= 0].tolist():
            found = seen(image, int(kind))
            assert found is not None
            inside = (found[2] - found[0]) * (found[3] - found[1])
            assert inside >= 0.35 * (right - left) * (bottom - top)
            assert left <= found[0] and top <= found[1] and right >= found[2] and bottom >= found[3]


def test_cutmix_takes_over_objects_and_hides_others() -> None:
    seen_kinds = set()
    for seed in range(20):
        _, labels = cut(IMAGES, LABELS, np.random.default_rng(seed), 1.0)
        seen_kinds.add(tuple(sorted(kinds(labels)[0])))
    assert {(0.0,), (0.0, 2.0), (1.0, 2.0)} <= seen_kinds


def test_covered_is_a_part_of_the_first_box() -> None:
    first = torch.tensor([[0.0, 0, 10, 10], [0, 0, 0, 0]])
    assert covered(first, torch.tensor([[5.0, 0, 30, 30]])).tolist() == [0.5, 0]


def test_what_a_rectangle_hides_is_not_an_object_any_more() -> None:
    half, most = torch.tensor([[40.0, 30, 50, 50]]), torch.tensor([[40.0, 30, 53, 50]])
    which = torch.tensor([True])
    assert kinds(hidden(LABELS[:1], half, which)) == [{0}]
    assert kinds(hidden(LABELS[:1], most, which)) == [set()]
    assert kinds(hidden(LABELS[:1], most, ~which)) == [{0}]


def test_a_rectangle_is_exactly_the_pixels_of_its_box() -> None:
    inside = rectangle(torch.tensor([[3.0, 2, 5, 6], [-9, -9, 999, 999]]), IMAGES)
    assert inside[0, 0].nonzero().tolist() == [[row, column] for row in range(2, 6) for column in (3, 4)]
    assert int(inside[1].sum()) == HEIGHT * WIDTH


def test_a_uniform_mixup_weighs_objects_by_their_images_parts() -> None:
    """r x_i + (1 - r) x_j, of which the pixels of images of one value each tell r."""
    images = torch.stack([torch.full((3, 8, 8), float(value)) for value in (0, 1)])
    labels = torch.tensor([[[0.0, 0, 4, 4, 0]], [[4.0, 4, 8, 8, 1]]])
    parts = []
    for seed in range(200):
        found, objects = mixed(images, labels, np.random.default_rng(seed), 1.0, "uniform")
        r = 1 - float(found[0, 0, 0, 0])
        assert objects[0, :, 4].tolist() == [0, 1]
        assert objects[0, :, 5].tolist() == pytest.approx([r, 1 - r], abs=1e-6)
        parts.append(r)
    assert np.mean(parts) == pytest.approx(0.5, abs=0.07)
    assert min(parts) < 0.05
    assert max(parts) > 0.95


def test_without_mixup_by_chance_an_object_weighs_1() -> None:
    found, objects = mixed(IMAGES, LABELS, np.random.default_rng(0), 0.0, "uniform")
    assert torch.equal(found, IMAGES)
    assert torch.equal(objects[..., :5][objects[..., 4] >= 0], LABELS[LABELS[..., 4] >= 0])
    assert (objects[..., 5] == 1).all()
