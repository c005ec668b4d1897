"""Detections from a network's outputs, and their metrics, computed by pycocotools."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from workers.detection.boxes import clipped, suppressed
from workers.detection.network import STRIDES, decoded

MOST_DETECTIONS = 100
"""Maximum number of detections per image, as in COCO."""
MOST_CANDIDATES = 300
"""Maximum number of candidates per image before non-maximum suppression, those with the highest scores."""
LOWEST_SCORE = 0.001
CONFIDENCES = np.linspace(0, 1, 1000)


@dataclass(frozen=True)
class Detections:
    """Detections in a batch of images, from high to low scores; rows with a score of 0 are empty."""

    boxes: Tensor
    """float32 (images, n, 4)"""
    scores: Tensor
    """float32 (images, n): the probability of an object times that of its class"""
    classes: Tensor
    """int64 (images, n)"""


@dataclass(frozen=True)
class Judged:
    """The metrics of a split.

    precision, recall: means over the classes, at an IoU of 0.5 and at the confidence with the highest mean
    F1, as in YOLOv5. map50, map: COCO's mean average precision at an IoU of 0.5, and its mean over 0.5 to
    0.95. All are 0 if there are no objects.
    """

    precision: float
    recall: float
    map50: float
    map: float
    curves: np.ndarray
    """float64 (classes, 101): precision at an IoU of 0.5 and recalls 0, 0.01 to 1; -1 without objects."""
    recalls: np.ndarray
    confidence: float
    """The confidence of `precision` and `recall`."""


def detections(outputs: Sequence[Tensor], anchors: Tensor, nms_t: float) -> Detections:
    """Return the detections in a network's outputs (see `Detector.forward`), after DIoU-NMS per class."""
    boxes = torch.cat(
        [
            decoded(scale, own, stride).flatten(1, 3)
            for scale, own, stride in zip(outputs, anchors, STRIDES, strict=True)
        ],
        1,
    )
    logits = torch.cat([scale[..., 4:].flatten(1, 3) for scale in outputs], 1).sigmoid()
    scores = logits[..., :1] * logits[..., 1:]
    classes = scores.shape[-1]
    best, place = scores.flatten(1).topk(min(MOST_CANDIDATES, scores[0].numel()))
    best = torch.where(best > LOWEST_SCORE, best, 0.0)
    number = place % classes
    chosen = boxes.gather(1, (place // classes)[..., None].expand(-1, -1, 4))
    rows, columns = outputs[0].shape[2:4]
    chosen = clipped(chosen, rows * STRIDES[0], columns * STRIDES[0])
    best = best * suppressed(chosen, best, number, nms_t)
    final, order = best.topk(min(MOST_DETECTIONS, best.shape[1]))
    return Detections(chosen.gather(1, order[..., None].expand(-1, -1, 4)), final, number.gather(1, order))


def judge(labels: Sequence[Tensor], found: Sequence[Detections], classes: int) -> Judged:
    """Return the metrics of the detections in batches of images with labels (images, most, 5)."""
    evaluator = coco_evaluator(labels, found, classes)
    precision = evaluator.eval["precision"][..., 0, -1]  # (IoUs, recalls, classes) of objects of any size
    at_best = _at_best_confidence(evaluator, classes)
    return Judged(*at_best[:2], _mean(precision[0]), _mean(precision), precision[0].T,
                  evaluator.params.recThrs, at_best[2])  # fmt: skip


def coco_evaluator(labels: Sequence[Tensor], found: Sequence[Detections], classes: int) -> COCOeval:
    """Return pycocotools' evaluator after `accumulate`; ids begin at 1, as it treats 0 as missing."""
    images = 0
    objects: list[dict[str, object]] = []
    guesses: list[dict[str, object]] = []
    for truth, guess in zip(labels, found, strict=True):
        for own in truth.cpu().numpy():
            images += 1
            for *box, label in own[own[:, 4] != -1].tolist():
                ignored = label < 0
                about = _entry(images, int(-2 - label if ignored else label), box)
                objects.append({**about, "id": len(objects) + 1, "iscrowd": int(ignored)})
        first = images - len(truth) + 1
        rows = (part.cpu().numpy() for part in (guess.boxes, guess.scores, guess.classes))
        for number, (boxes, scores, kinds) in enumerate(zip(*rows, strict=True), first):
            for place in np.flatnonzero(scores > 0):
                about = _entry(number, int(kinds[place]), boxes[place].tolist())
                guesses.append({**about, "id": len(guesses) + 1, "iscrowd": 0, "score": float(scores[place])})
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = COCOeval(*(_coco(images, classes, rows) for rows in (objects, guesses)), "bbox")
        evaluator.params.areaRng, evaluator.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluator.params.maxDets = [MOST_DETECTIONS]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


def _entry(image: int, kind: int, box: Sequence[float]) -> dict[str, object]:
    left, top, right, bottom = box
    size = [right - left, bottom - top]
    return {
        "image_id": image,
        "category_id": kind + 1,
        "bbox": [left, top, *size],
        "area": size[0] * size[1],
    }


def _coco(images: int, classes: int, annotations: list[dict[str, object]]) -> COCO:
    made = COCO()
    made.dataset = {
        "images": [{"id": number + 1} for number in range(images)],
        "categories": [{"id": number + 1} for number in range(classes)],
        "annotations": annotations,
    }
    made.createIndex()
    return made


def _mean(precision: np.ndarray) -> float:
    """Return the mean without the values of -1 that pycocotools reports for a class without objects."""
    counted = precision[precision > -1]
    return float(counted.mean()) if counted.size else 0.0


def _at_best_confidence(evaluator: COCOeval, classes: int) -> tuple[float, float, float]:
    """Return precision, recall and the confidence, from the matches at an IoU of 0.5; see `Judged`."""
    precisions, recalls = [], []
    for kind in range(1, classes + 1):
        judged = [one for one in evaluator.evalImgs if one is not None and one["category_id"] == kind]
        objects = sum(int((np.asarray(one["gtIgnore"]) == 0).sum()) for one in judged)
        if not objects:
            continue
        scores = np.concatenate([np.asarray(one["dtScores"], float) for one in judged])
        counted = np.concatenate([~np.asarray(one["dtIgnore"][0], bool) for one in judged])
        right = np.concatenate([np.asarray(one["dtMatches"][0]) > 0 for one in judged])
        order = np.argsort(-scores[counted], kind="stable")
        hits = np.cumsum(np.concatenate([[0], right[counted][order]]))
        above = np.searchsorted(-scores[counted][order], -CONFIDENCES, side="right")
        recalls.append(hits[above] / objects)
        precisions.append(hits[above] / np.maximum(above, 1))
    if not recalls:
        return 0.0, 0.0, 0.0
    precision, recall = np.array(precisions), np.array(recalls)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-16)
    best = int(f1.mean(0).argmax())
    return float(precision[:, best].mean()), float(recall[:, best].mean()), float(CONFIDENCES[best])
