"""Evaluation: pycocotools' figures from its own entrance, and cases worked out by hand."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from workers.data.detection import padded
from workers.detection.evaluation import Detections, detections, judge

SQUARE = [10.0, 10, 20, 20]


def labels(*images: list[list[float]]) -> Tensor:
    return padded([torch.tensor(own).reshape(-1, 5) for own in images])


def found(*images: list[list[float]]) -> Detections:
    """Rows of a box, a score and a class."""
    most = max(1, *(len(own) for own in images))
    rows = torch.zeros(len(images), most, 6)
    for number, own in enumerate(images):
        for place, row in enumerate(sorted(own, key=lambda row: -row[4])):
            rows[number, place] = torch.tensor(row)
    return Detections(rows[..., :4], rows[..., 4], rows[..., 5].long())


def test_a_perfect_detector_has_ones_everywhere() -> None:
    judged = judge(
        [labels([[*SQUARE, 0]], [[*SQUARE, 1]])], [found([[*SQUARE, 0.9, 0]], [[*SQUARE, 0.8, 1]])], 2
    )
    assert (judged.precision, judged.recall) == (1, 1)
    assert (judged.map50, judged.map) == pytest.approx((1, 1))


def test_half_the_objects_found_is_half_the_recall_and_nearly_half_the_precision_points() -> None:
    """Precision is 1 at the recalls 0 to 0.5, 51 of 101, and 0 beyond."""
    judged = judge([labels([[*SQUARE, 0], [40, 40, 50, 50, 0]])], [found([[*SQUARE, 0.9, 0]])], 1)
    assert (judged.precision, judged.recall) == (1, 0.5)
    assert judged.map50 == pytest.approx(51 / 101)


def test_a_box_that_overlaps_by_two_thirds_counts_up_to_an_iou_of_0_65() -> None:
    """IoUs 0.5, 0.55, 0.6 and 0.65: 4 of the 10 thresholds."""
    judged = judge([labels([[0.0, 0, 30, 10, 0]])], [found([[0.0, 0, 20, 10, 0.5, 0]])], 1)
    assert judged.map50 == pytest.approx(1.0)
    assert judged.map == pytest.approx(0.4)


def test_precision_and_recall_are_taken_where_f1_is_highest() -> None:
    """Two right ones above 0.8, then ten wrong ones below 0.3."""
    wrong = [[60.0 + n, 60, 62 + n, 62, 0.3 - n / 100, 0] for n in range(10)]
    right = [[*SQUARE, 0.9, 0], [40, 40, 50, 50, 0.8, 0]]
    judged = judge([labels([[*SQUARE, 0], [40, 40, 50, 50, 0]])], [found(right + wrong)], 1)
    assert (judged.precision, judged.recall) == (1, 1)
    assert 0.3 < judged.confidence < 0.8


@pytest.mark.parametrize("truth", [[], [[*SQUARE, -2]]])
def test_without_objects_figures_are_zero_whatever_is_detected(truth: list[list[float]]) -> None:
    for guess in (found([]), found([[*SQUARE, 0.9, 0]])):
        judged = judge([labels(truth)], [guess], 1)
        assert (judged.precision, judged.recall, judged.map50, judged.map) == (0, 0, 0, 0)


def test_no_detections_are_zero() -> None:
    judged = judge([labels([[*SQUARE, 0]])], [found([])], 1)
    assert (judged.precision, judged.recall, judged.map50, judged.map) == (0, 0, 0, 0)


def test_an_image_without_objects_can_only_lower_the_precision() -> None:
    truth, empty = labels([[*SQUARE, 0]]), labels([])
    guess, wrong = found([[*SQUARE, 0.5, 0]]), found([[*SQUARE, 0.9, 0]])
    assert judge([truth, empty], [guess, found([])], 1).map50 == pytest.approx(1.0)
    assert judge([truth, empty], [guess, wrong], 1).map50 == pytest.approx(0.5)


def test_detections_in_an_ignored_region_are_neither_right_nor_wrong() -> None:
    truth = labels([[*SQUARE, 0], [60, 60, 90, 90, -2]])
    judged = judge([truth], [found([[*SQUARE, 0.5, 0], [65.0, 65, 80, 80, 0.9, 0]])], 1)
    assert (judged.precision, judged.recall) == (1, 1)
    assert judged.map50 == pytest.approx(1.0)


def made(seed: int, images: int, most: int) -> tuple[Tensor, Detections]:
    """Objects, some of them ignored, and detections that are near some of them."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(images, most, 2, generator=generator) * 100
    boxes = torch.cat([corners, corners + 5 + 60 * torch.rand(images, most, 2, generator=generator)], -1)
    classes = torch.randint(0, 3, (images, most, 1), generator=generator).float()
    truth = torch.cat(
        [boxes, torch.where(torch.rand(classes.shape, generator=generator) < 0.1, -2 - classes, classes)], -1
    )
    shifted = boxes + 6 * torch.randn(boxes.shape, generator=generator)
    shifted[..., 2:] = torch.maximum(shifted[..., 2:], shifted[..., :2] + 1)
    scores = torch.rand(images, most, generator=generator).sort(descending=True).values
    confused = torch.rand(images, most, generator=generator) < 0.2
    return truth, Detections(shifted, scores, torch.where(confused, 0, classes[..., 0].long()))


def by_pycocotools(folder: Path, truth: Tensor, guess: Detections) -> np.ndarray:
    """Its statistics in the way of its demo: files of both, loadRes and summarize."""
    size = truth.shape[1]
    annotations = [
        {
            "id": image * size + place + 1,
            "image_id": image + 1,
            "category_id": int(kind if kind >= 0 else -2 - kind) + 1,
            "bbox": [left, top, right - left, bottom - top],
            "area": (right - left) * (bottom - top),
            "iscrowd": int(kind < 0),
        }
        for image, own in enumerate(truth.tolist())
        for place, (left, top, right, bottom, kind) in enumerate(own)
    ]
    results = [
        {
            "image_id": image + 1,
            "category_id": int(guess.classes[image, place]) + 1,
            "bbox": [left, top, right - left, bottom - top],
            "score": float(guess.scores[image, place]),
        }
        for image, own in enumerate(guess.boxes.tolist())
        for place, (left, top, right, bottom) in enumerate(own)
    ]
    whole = {
        "images": [{"id": number + 1} for number in range(len(truth))],
        "categories": [{"id": number} for number in (1, 2, 3)],
        "annotations": annotations,
    }
    (folder / "truth.json").write_text(json.dumps(whole))
    (folder / "guess.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(folder / "truth.json"))
        evaluator = COCOeval(coco, coco.loadRes(str(folder / "guess.json")), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return np.asarray(evaluator.stats)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_map_is_that_of_pycocotools_on_the_same_detections(tmp_path: Path, seed: int) -> None:
    truth, guess = made(seed, images=8, most=12)
    judged = judge([truth], [guess], 3)
    expected = by_pycocotools(tmp_path, truth, guess)
    assert judged.map == pytest.approx(expected[0], abs=1e-12)
    assert judged.map50 == pytest.approx(expected[1], abs=1e-12)
    assert 0.05 < judged.map < judged.map50 < 0.95


def test_figures_do_not_depend_on_how_the_images_are_batched() -> None:
    truth, guess = made(3, images=6, most=8)
    parts = [
        Detections(guess.boxes[part], guess.scores[part], guess.classes[part])
        for part in (slice(0, 4), slice(4, 6))
    ]
    assert judge([truth], [guess], 3).map == judge([truth[:4], truth[4:]], parts, 3).map


def test_predictions_become_detections_with_scores_from_high_to_low_and_without_doubles() -> None:
    outputs = [torch.full((1, 1, size, size, 7), -20.0) for size in (8, 4, 2)]
    anchors = torch.tensor([[[10.0, 10]], [[20.0, 20]], [[30.0, 30]]])
    for column, confidence in ((1, 3.0), (2, 2.0)):  # the second as near as two cells are, and lower
        outputs[0][0, 0, 1, column, :4] = 0.0
        outputs[0][0, 0, 1, column, 4:6] = confidence
    outputs[0][0, 0, 1, 2, :4] = torch.tensor([-20.0, 0, 0, 0])  # its centre at 12, that of the first
    outputs[1][0, 0, 3, 3, :4] = 0.0
    outputs[1][0, 0, 3, 3, [4, 6]] = 1.0
    result = detections(outputs, anchors, 0.45)
    real = result.scores[0] > 0
    assert result.boxes[0, real].tolist() == [
        [7, 7, 17, 17],
        [46, 46, 64, 64],
    ]  # the second cut at the border
    assert result.classes[0, real].tolist() == [0, 1]
    sigmoid = torch.tensor([3.0, 1.0]).sigmoid()
    assert result.scores[0, real].tolist() == pytest.approx((sigmoid**2).tolist())
