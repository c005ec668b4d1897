"""Fit anchor sizes to the data by k-means with 1 - IoU as the distance (YOLO9000, arXiv 1612.08242)."""

import numpy as np
import torch
from torch import Tensor

from evodevo.errors import UsageError
from workers.detection.boxes import size_iou

ROUNDS = 100
SEED = 2017


def fitted(sizes: Tensor, count: int, seed: int = SEED) -> Tensor:
    """Return anchors, float32 (count, 2), from small to large, for objects of sizes (n, 2): width, height.

    Lloyd's algorithm runs until convergence from an initial choice by k-means++. Sizes without an area are
    left out. With fewer different sizes than anchors, the last ones are scaled up from the largest.
    Raises `UsageError` if there are no objects.
    """
    sizes = sizes[(sizes > 0).all(-1)].double().cpu()
    if not len(sizes):
        raise UsageError("the training split has no objects to fit anchors to; give workload.options.anchors")
    different: Tensor = torch.unique(sizes, dim=0)
    if len(different) <= count:
        missing = count - len(different)
        grown = different[different.prod(-1).argmax()] * 1.5 ** torch.arange(1, missing + 1)[:, None]
        return _ordered(torch.cat([different, grown]))
    centres = _spread(sizes, count, np.random.default_rng(seed))
    nearest = None
    for _ in range(ROUNDS):
        now = size_iou(sizes[:, None], centres).argmax(1)
        if nearest is not None and torch.equal(now, nearest):
            break
        nearest = now
        members = [sizes[nearest == number] for number in range(count)]
        centres = torch.stack(
            [own.mean(0) if len(own) else old for own, old in zip(members, centres, strict=True)]
        )
    return _ordered(centres)


def mean_best_iou(sizes: Tensor, anchors: Tensor) -> float:
    """Return the mean IoU of objects of sizes (n, 2) with their best anchor of (count, 2); 0 if n is 0."""
    return float(size_iou(sizes[:, None], anchors).amax(1).mean()) if len(sizes) else 0.0


def _spread(sizes: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    """Draw initial sizes in proportion to their squared distance to the nearest chosen so far."""
    chosen = [int(rng.integers(len(sizes)))]
    while len(chosen) < count:
        distance = (1 - size_iou(sizes[:, None], sizes[chosen]).amax(1)).clamp(min=0) ** 2
        chosen.append(int(rng.choice(len(sizes), p=(distance / distance.sum()).numpy())))
    return sizes[chosen]


def _ordered(anchors: Tensor) -> Tensor:
    return anchors[anchors.prod(-1).argsort(stable=True)].float()
