"""Target assignment: worked out by hand on a scale or two, and its edge cases."""

import torch
from torch import Tensor

from workers.detection.assign import Assigned, Rule, assign

ANCHORS = torch.tensor([[[8.0, 8], [16, 16]], [[32, 32], [64, 64]]])
STRIDES, GRIDS = (8, 16), ((4, 4), (2, 2))


def assigned(
    *boxes: list[float], anchor_t: float = 4.0, iou_t: float = 0.2, rule: Rule = "ratio"
) -> list[Assigned]:
    """Of one image."""
    labels = torch.tensor([boxes]).reshape(1, -1, 5)
    return assign(labels, ANCHORS, STRIDES, GRIDS, anchor_t, iou_t, rule)


def places(found: Assigned) -> set[tuple[int, ...]]:
    parts = (found.image, found.anchor, found.row, found.column)
    return set(zip(*(part.tolist() for part in parts), strict=True))


def test_an_object_goes_to_its_cell_and_the_two_nearest_neighbours_of_every_anchor_of_like_shape() -> None:
    """12 x 12 around (19, 10): IoU 64/144 and 144/256 with the first two, 144/1024 with the third."""
    fine, coarse = assigned([13.0, 4, 25, 16, 1])
    cells = {(1, 2), (1, 1), (0, 2)}
    assert places(fine) == {(0, anchor, *cell) for anchor in (0, 1) for cell in cells}
    assert places(coarse) == set()
    assert fine.classes.tolist() == [1] * 6
    assert fine.boxes.tolist() == [[13, 4, 25, 16]] * 6


def test_a_higher_iou_threshold_leaves_fewer_anchors() -> None:
    fine, _ = assigned([13.0, 4, 25, 16, 1], iou_t=0.5)
    assert {place[1] for place in places(fine)} == {1}


def test_a_lower_ratio_threshold_leaves_fewer_anchors() -> None:
    """The ratios are 1.5 and 1.33."""
    fine, _ = assigned([13.0, 4, 25, 16, 1], anchor_t=1.4)
    assert {place[1] for place in places(fine)} == {1}


def test_the_best_anchor_is_responsible_even_below_the_thresholds() -> None:
    found = assigned([0.0, 15, 32, 16, 0], anchor_t=1.1, iou_t=0.9)
    assert sum(len(places(scale)) for scale in found) > 0


def test_a_centre_in_the_corner_has_no_neighbours_outside() -> None:
    fine, _ = assigned([-4.0, -4, 4, 4, 0], iou_t=0.5)
    assert places(fine) == {(0, 0, 0, 0)}


def test_a_centre_on_the_far_border_is_in_the_last_cell() -> None:
    fine, _ = assigned([28.0, 28, 36, 36, 0], iou_t=0.5)
    assert places(fine) == {(0, 0, 3, 3)}


def test_rows_that_are_empty_ignored_or_without_area_are_no_objects() -> None:
    found = assigned([0.0, 0, 8, 8, -1], [0.0, 0, 8, 8, -2], [4.0, 4, 4, 9, 0], [9.0, 9, 3, 3, 0])
    assert [places(scale) for scale in found] == [set(), set()]


def test_images_without_objects_are_possible_alone_and_beside_others() -> None:
    none = assign(torch.zeros(2, 0, 5), ANCHORS, STRIDES, GRIDS, 4.0, 0.2)
    assert [len(scale.image) for scale in none] == [0, 0]
    labels: Tensor = torch.tensor([[[0.0, 0, 0, 0, -1]], [[13.0, 4, 25, 16, 1]]])
    found = assign(labels, ANCHORS, STRIDES, GRIDS, 4.0, 0.2)
    assert {place[0] for scale in found for place in places(scale)} == {1}


def test_by_iou_alone_every_anchor_above_the_threshold_is_responsible_whatever_its_ratio() -> None:
    """16 x 4 around (16, 12): IoU 32/96 with 8 x 8, and 64/256 with 16 x 16, which is 4 times as high."""
    box = [8.0, 10, 24, 14, 0]
    by_ratio, by_iou = (assigned(box, iou_t=0.2, rule=rule)[0] for rule in ("ratio", "iou"))
    assert {place[1] for place in places(by_ratio)} == {0}
    assert {place[1] for place in places(by_iou)} == {0, 1}
    assert {place[1] for place in places(assigned(box, iou_t=0.3, rule="iou")[0])} == {0}


def test_by_iou_alone_too_no_object_is_lost() -> None:
    found = assigned([8.0, 10, 24, 14, 0], iou_t=0.9, rule="iou")
    assert {place[1] for place in places(found[0])} == {0}


def test_weights_go_with_their_objects() -> None:
    labels = torch.tensor([[[13.0, 4, 25, 16, 1, 0.3], [0.0, 15, 32, 16, 0, 0.7]]])
    for scale in assign(labels, ANCHORS, STRIDES, GRIDS, 4.0, 0.2):
        assert scale.weights is not None
        assert torch.allclose(scale.weights, torch.where(scale.classes == 1, 0.3, 0.7))
