"""Augmented batches of training images."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from workers.detection.appearance import occluded, photometric
from workers.detection.geometry import compact, drawn, warped
from workers.detection.mixing import Ratio, cut, mixed, pasted, scenes
from workers.detection.outlines import OWN


def augmented(
    images: Tensor,
    labels: Tensor,
    chosen: np.ndarray,
    size: tuple[int, int],
    rng: np.random.Generator,
    recipe: Mapping[str, float],
    outlines: Sequence[np.ndarray] = (),
    mixup_ratio: Ratio = "beta",
) -> tuple[Tensor, Tensor]:
    """Augment the images `chosen`, (n,), of a split uint8 (all, 3, height, width) with labels (all, most, 5).

    Returns float32 (n, 3, *size) in [0, 1] and labels (n, most, 5), on the split's device, without ignored
    regions. recipe: the names of `PHOTOMETRIC`, `GEOMETRIC`, `MIXING` and `OCCLUSION`. outlines: those that
    labels of eight columns refer to (see `workers.detection.outlines`).
    With a uniform ratio of mixup the labels are (n, most, 6): see `mixing.mixed`.
    """
    source = (images.shape[2], images.shape[3])
    zoom = min(size[0] / source[0], size[1] / source[1])
    if recipe["mosaic"] > 0:
        mosaic = rng.uniform(size=len(chosen)) < recipe["mosaic"]
        others = rng.integers(len(images), size=(len(chosen), 3))
        batch, found = scenes(images, labels, chosen, others, mosaic, rng.uniform(size=(len(chosen), 2)))
    else:
        picked = torch.from_numpy(chosen).to(images.device)
        batch, found = images[picked].float() / 255, compact(labels[picked])
    matrices = drawn(rng, len(chosen), (batch.shape[2], batch.shape[3]), size, zoom, recipe)
    batch, found = warped(batch, found, matrices, size)
    found = compact(found)
    if recipe["copy_paste"] > 0:
        batch, found = pasted(batch, found, rng, recipe["copy_paste"], outlines, matrices)
    found = found[..., :OWN]
    if recipe["cutmix"] > 0:
        batch, found = cut(batch, found, rng, recipe["cutmix"])
    if recipe["mixup"] > 0:
        batch, found = mixed(batch, found, rng, recipe["mixup"], mixup_ratio)
    batch = photometric(batch, rng, recipe)
    batch, found = occluded(batch, found, rng, recipe)
    return batch, compact(found)
