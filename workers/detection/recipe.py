"""The hyperparameters of the training recipe and their defaults.

Names and values are those of YOLOv5's hyp.scratch-low.yaml if it has them; augmentations are off by default.
Probabilities are per image.
"""

from collections.abc import Mapping
from typing import Any

from evodevo.errors import UsageError

OPTIMISER: dict[str, float] = {
    "lr0": 0.01,  # initial learning rate; that of every epoch if a call of train() is one epoch
    "momentum": 0.937,  # of SGD; Adam's first beta
    "weight_decay": 5e-4,
}
SCHEDULE: dict[str, float] = {  # read if a call of train() is a whole training
    "lrf": 0.01,  # final learning rate as a fraction of lr0
    "warmup_epochs": 3.0,
    "warmup_momentum": 0.8,
    "warmup_bias_lr": 0.1,
    "restart_epochs": 0.0,  # length of the first cycle of cosine annealing with warm restarts; 0: one cycle
    "restart_steps": 0.0,  # the same in optimizer steps
    "restart_multiplier": 1.0,  # each cycle's length relative to the previous one
    "restart_decay": 1.0,  # each cycle's initial learning rate relative to the previous one
    "restart_min": 0.0,  # final learning rate of each cycle; 0: the fraction lrf of its initial one
}
LOSS: dict[str, float] = {
    "box": 0.05,  # gains of the three terms
    "cls": 0.5,
    "obj": 1.0,
    "cls_pw": 1.0,  # weights of the positive examples
    "obj_pw": 1.0,
    "iou_t": 0.20,  # see workers.detection.assign
    "anchor_t": 4.0,
    "fl_gamma": 0.0,  # exponent of the focal loss
    "label_smoothing": 0.0,  # a in y (1 - a) + a / C
    "adversarial": 0.0,  # maximum change of a pixel, in [0, 1], by self-adversarial training
}
PHOTOMETRIC: dict[str, float] = {
    "hsv_h": 0.0,  # hue, saturation and value times 1 +- up to this much
    "hsv_s": 0.0,
    "hsv_v": 0.0,
    "contrast": 0.0,  # distance from the mean times 1 +- up to this much
    "noise": 0.0,  # normal, with a standard deviation of up to this much of [0, 1]
    "blur": 0.0,  # Gaussian, with a standard deviation of up to this many pixels
}
GEOMETRIC: dict[str, float] = {
    "degrees": 0.0,  # rotation by up to this many in either direction
    "translate": 0.0,  # by up to this fraction of width and height
    "scale": 0.0,  # times 1 +- up to this much
    "aspect": 0.0,  # width over height multiplied or divided by up to 1 + this much, at equal area
    "crop": 0.0,  # a random window that is up to this much smaller becomes the image
    "shear": 0.0,  # degrees, of each axis
    "perspective": 0.0,  # change of scale per pixel, 0 to 0.001
    "flipud": 0.0,  # probability of mirroring
    "fliplr": 0.0,
}
MIXING: dict[str, float] = {  # probabilities
    "mosaic": 0.0,  # four images as one
    "mixup": 0.0,  # a mean of two
    "cutmix": 0.0,  # a rectangle of another
    "copy_paste": 0.0,  # per object, to be pasted into the next image
}
OCCLUSION: dict[str, float] = {  # probabilities
    "erase": 0.0,  # a rectangle of noise
    "cutout": 0.0,  # a grey square
    "gridmask": 0.0,  # a grid of grey squares
}
ANCHORS: dict[str, float] = {
    "anchors": 0.0,  # number per scale, rounded, fitted to the training split; 0: use the options
}
DEFAULTS = {**OPTIMISER, **SCHEDULE, **LOSS, **PHOTOMETRIC, **GEOMETRIC, **MIXING, **OCCLUSION, **ANCHORS}
PROBABILITIES = {*MIXING, *OCCLUSION, "flipud", "fliplr"}


def read(hyperparameters: Mapping[str, Any], names: Mapping[str, float]) -> dict[str, float]:
    """Return the values of `names`, by default those given there; raise `UsageError` for invalid ones."""
    found = {name: hyperparameters.get(name, default) for name, default in names.items()}
    for name, value in found.items():
        if isinstance(value, str) or not isinstance(value, int | float):
            raise UsageError(f"search.loci.{name}: should be a number, not {value!r}")
        if value < 0 or (name in PROBABILITIES and value > 1):
            limit = "from 0 to 1" if name in PROBABILITIES else "0 or more"
            raise UsageError(f"search.loci.{name}: should be {limit}, not {value:g}")
    return found
