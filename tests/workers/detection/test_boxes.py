"""Boxes: overlaps worked out by hand, and DIoU-NMS against the greedy loop that it stands for."""

import math

import pytest
import torch
from torch import Tensor

from workers.detection import boxes


def box(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


SQUARE = box(0, 0, 2, 2)


@pytest.mark.parametrize(
    ("other", "iou", "diou"),
    [
        (box(0, 0, 2, 2), 1.0, 1.0),
        # 1 inside, 4 + 4 - 1 in all; centres sqrt 2 apart, corners of the enclosing box 3 sqrt 2
        (box(1, 1, 3, 3), 1 / 7, 1 / 7 - 2 / 18),
        # side by side: nothing inside, centres 2 apart, a box of 4 x 2 around both
        (box(2, 0, 4, 2), 0.0, -4 / 20),
        # inside, with the same centre
        (box(0.5, 0.5, 1.5, 1.5), 1 / 4, 1 / 4),
        # without an area, at the corner: centres sqrt 2 apart, corners 2 sqrt 2
        (box(0, 0, 0, 0), 0.0, -2 / 8),
    ],
)
def test_iou_and_diou_are_what_a_hand_works_out(other: Tensor, iou: float, diou: float) -> None:
    assert float(boxes.iou(SQUARE, other)) == pytest.approx(iou, abs=1e-6)
    assert float(boxes.iou(other, SQUARE)) == pytest.approx(iou, abs=1e-6)
    assert float(boxes.diou(SQUARE, other)) == pytest.approx(diou, abs=1e-6)


def test_ciou_takes_away_what_a_hand_works_out_for_an_unlike_aspect_ratio() -> None:
    other = box(0, 0, 4, 2)
    overlap = 4 / 8
    distance = 1 / (16 + 4)
    v = 4 / math.pi**2 * (math.atan(1) - math.atan(2)) ** 2
    expected = overlap - distance - v**2 / (1 - overlap + v)
    assert float(boxes.ciou(SQUARE, other)) == pytest.approx(expected, abs=1e-6)


def test_ciou_is_diou_where_the_aspect_ratio_is_the_same() -> None:
    other = box(1, 1, 7, 7)
    assert float(boxes.ciou(SQUARE, other)) == pytest.approx(float(boxes.diou(SQUARE, other)), abs=1e-6)


@pytest.mark.parametrize("other", [box(0, 0, 0, 0), box(1, 1, 1, 3), box(3, 3, 1, 1), box(9, 9, 10, 10)])
def test_ciou_of_degenerate_or_distant_boxes_has_a_finite_gradient(other: Tensor) -> None:
    moving = other.clone().requires_grad_()
    found = boxes.ciou(moving, SQUARE)
    found.backward()  # type: ignore[no-untyped-call]
    assert moving.grad is not None
    assert torch.isfinite(found)
    assert torch.isfinite(moving.grad).all()


def test_a_gradient_step_on_ciou_brings_two_distant_boxes_nearer() -> None:
    moving = box(10, 10, 12, 12).requires_grad_()
    boxes.ciou(moving, SQUARE).backward()  # type: ignore[no-untyped-call]
    assert moving.grad is not None
    assert (moving.grad[:2] < 0).all()


def test_centres_and_corners_are_two_ways_to_say_the_same() -> None:
    assert boxes.to_centres(box(1, 2, 5, 4)).tolist() == [3, 3, 4, 2]
    assert boxes.from_centres(box(3, 3, 4, 2)).tolist() == [1, 2, 5, 4]


def test_clipping_keeps_the_part_inside_the_image() -> None:
    assert boxes.clipped(box(-3, 1, 30, 9), height=8, width=20).tolist() == [0, 1, 20, 8]


def test_an_area_turned_inside_out_is_none() -> None:
    assert boxes.areas(torch.stack([box(0, 0, 2, 3), box(2, 2, 0, 0)])).tolist() == [6, 0]


def test_sizes_overlap_as_boxes_of_one_centre() -> None:
    assert float(boxes.size_iou(box(2, 4), box(4, 2))) == pytest.approx(4 / 12)


def greedy(own: Tensor, scores: Tensor, classes: Tensor, threshold: float) -> list[bool]:
    kept: list[int] = []
    for number in range(len(own)):
        rivals = [one for one in kept if classes[one] == classes[number]]
        if scores[number] > 0 and all(boxes.diou(own[number], own[one]) <= threshold for one in rivals):
            kept.append(number)
    return [number in kept for number in range(len(own))]


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.6])
def test_suppression_of_a_batch_is_the_greedy_one_of_each_image(threshold: float) -> None:
    generator = torch.Generator().manual_seed(1)
    corners = torch.rand(3, 60, 2, generator=generator) * 20
    own = torch.cat([corners, corners + 1 + torch.rand(3, 60, 2, generator=generator) * 20], -1)
    scores = torch.rand(3, 60, generator=generator).sort(descending=True).values
    scores[0, 50:] = 0
    classes = torch.randint(0, 2, (3, 60), generator=generator)
    found = boxes.suppressed(own, scores, classes, threshold)
    expected = [greedy(*one, threshold) for one in zip(own, scores, classes, strict=True)]
    assert found.tolist() == expected
    assert 0 < found.sum() < found.numel() - 10


def test_one_that_is_suppressed_suppresses_none() -> None:
    """A chain: the second goes for the first; the third overlaps only the second, and stays."""
    chain = torch.tensor([[[0.0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]]])
    kept = boxes.suppressed(chain, torch.tensor([[0.9, 0.8, 0.7]]), torch.zeros(1, 3), 0.3)
    assert kept.tolist() == [[True, False, True]]


def test_diou_keeps_a_box_that_plain_iou_would_drop_when_its_centre_is_far() -> None:
    """IoU 1/2; the centres are 2.5 apart, and the corners of the enclosing box 10 sqrt 2."""
    pair = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 5, 10]]])
    distance = 2.5**2 / 200
    just_between = 0.5 - distance / 2
    scores, classes = torch.tensor([[0.9, 0.8]]), torch.zeros(1, 2)
    assert float(boxes.iou(pair[0, 0], pair[0, 1])) > just_between
    assert boxes.suppressed(pair, scores, classes, just_between).tolist() == [[True, True]]


def test_suppression_of_nothing_is_nothing() -> None:
    assert boxes.suppressed(torch.zeros(2, 0, 4), torch.zeros(2, 0), torch.zeros(2, 0), 0.5).shape == (2, 0)
