"""A hyp.yaml of YOLOv5's: the hyperparameters of a detector's training by their known names, as loci.

Names, gains and bounds of `YOLOV5` are those of its evolution; `BEYOND` has more of the kind, which the
detector in `workers` knows. The text of the file is somebody else's to read.
"""

import sys
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple


class Evolves(NamedTuple):
    """How one hyperparameter evolves.

    gain: of its mutations, 0 where it stays what it is. low, high: what it is kept within.
    """

    gain: float
    low: float
    high: float


YOLOV5: dict[str, Evolves] = {
    "lr0": Evolves(1, 1e-5, 1e-1),
    "lrf": Evolves(1, 0.01, 1.0),
    "momentum": Evolves(0.3, 0.6, 0.98),
    "weight_decay": Evolves(1, 0.0, 0.001),
    "warmup_epochs": Evolves(1, 0.0, 5.0),
    "warmup_momentum": Evolves(1, 0.0, 0.95),
    "warmup_bias_lr": Evolves(1, 0.0, 0.2),
    "box": Evolves(1, 0.02, 0.2),
    "cls": Evolves(1, 0.2, 4.0),
    "cls_pw": Evolves(1, 0.5, 2.0),
    "obj": Evolves(1, 0.2, 4.0),
    "obj_pw": Evolves(1, 0.5, 2.0),
    "iou_t": Evolves(0, 0.1, 0.7),
    "anchor_t": Evolves(1, 2.0, 8.0),
    "anchors": Evolves(2, 2.0, 10.0),
    "fl_gamma": Evolves(0, 0.0, 2.0),
    "hsv_h": Evolves(1, 0.0, 0.1),
    "hsv_s": Evolves(1, 0.0, 0.9),
    "hsv_v": Evolves(1, 0.0, 0.9),
    "degrees": Evolves(1, 0.0, 45.0),
    "translate": Evolves(1, 0.0, 0.9),
    "scale": Evolves(1, 0.0, 0.9),
    "shear": Evolves(1, 0.0, 10.0),
    "perspective": Evolves(0, 0.0, 0.001),
    "flipud": Evolves(1, 0.0, 1.0),
    "fliplr": Evolves(0, 0.0, 1.0),
    "mosaic": Evolves(1, 0.0, 1.0),
    "mixup": Evolves(1, 0.0, 1.0),
    "copy_paste": Evolves(1, 0.0, 1.0),
}
BEYOND: dict[str, Evolves] = {
    "restart_epochs": Evolves(1, 0.0, 100.0),
    "restart_steps": Evolves(1, 0.0, 10000.0),
    "restart_multiplier": Evolves(1, 1.0, 3.0),
    "restart_decay": Evolves(1, 0.1, 1.0),
    "restart_min": Evolves(1, 0.0, 0.01),
    "label_smoothing": Evolves(1, 0.0, 0.3),
    "adversarial": Evolves(1, 0.0, 0.05),
    "contrast": Evolves(1, 0.0, 0.9),
    "noise": Evolves(1, 0.0, 0.2),
    "blur": Evolves(1, 0.0, 3.0),
    "aspect": Evolves(1, 0.0, 1.0),
    "crop": Evolves(1, 0.0, 0.9),
    "cutmix": Evolves(1, 0.0, 1.0),
    "erase": Evolves(1, 0.0, 1.0),
    "cutout": Evolves(1, 0.0, 1.0),
    "gridmask": Evolves(1, 0.0, 1.0),
}
KNOWN = {**YOLOV5, **BEYOND}
REQUIRED = [name for name in YOLOV5 if name != "anchors"]
OFF_AT_ZERO = {"anchors", "restart_epochs", "restart_steps", "restart_min"}
"""Where zero is no little of it but none, and no place to evolve from."""


WIDE = 100
"""Bounds further apart than by this factor are of a logarithmic scale."""


def loci_of(values: Mapping[str, Any]) -> tuple[dict[str, dict[str, Any]], dict[str, float]]:
    """What a config has as `search.loci`, and the gain of each locus, in the order of `values`.

    One with a gain of 0 is a fixed locus, and so is what a zero switches off. The value is `initial` as it
    is: where it is outside the bounds, they are wide enough to hold it.
    Raises `ValueError` with all that is wrong, a line each: unknown and missing names, and values that are no
    finite numbers.
    """
    unknown = [str(name) for name in values if name not in KNOWN]
    missing = [name for name in REQUIRED if name not in values]
    near = {name: get_close_matches(name, KNOWN, n=1) for name in unknown}
    problems = [
        f"{name}: is no hyperparameter of a hyp.yaml" + (f"; did you mean {like[0]}?" if like else "")
        for name, like in near.items()
    ]
    if missing:
        problems.append(f"missing: {', '.join(missing)}")
    problems += [
        f"{name}: should be a finite number of 0 or more, not {value!r}"
        for name, value in values.items()
        if name in KNOWN and not (_is_finite(value) and value >= 0)
    ]
    if not all(near.values()):
        problems.append(f"known: {', '.join(KNOWN)}")
    if problems:
        raise ValueError("\n  ".join(problems))
    off = {name for name in OFF_AT_ZERO if values.get(name) == 0}
    gains = {name: 0.0 if name in off else float(KNOWN[name].gain) for name in values}
    return {name: _locus(name, float(value), gains[name]) for name, value in values.items()}, gains


def _locus(name: str, value: float, gain: float) -> dict[str, Any]:
    if gain == 0:
        return {"type": "fixed", "value": value}
    low, high = min(KNOWN[name].low, value), max(KNOWN[name].high, value)
    scale = "log" if 0 < WIDE * low <= high else "linear"
    return {"type": "float", "low": low, "high": high, "scale": scale, "initial": value}


def _is_finite(value: Any) -> bool:
    """Whether it is a number that a float can hold."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= sys.float_info.max
