"""Turn the hyperparameters of a YOLOv5 hyp.yaml into loci.

`YOLOV5` has the names, gains and bounds of YOLOv5's evolution, and `DEFAULTS` the values of its guide;
`BEYOND` has further hyperparameters of the detector in `workers`. The file itself is read elsewhere.
"""

import sys
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple


class Evolves(NamedTuple):
    """The gain of a hyperparameter's mutations, 0 if it is fixed, and its bounds."""

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
DEFAULTS: dict[str, float] = {
    "lr0": 0.01,
    "lrf": 0.01,
    "momentum": 0.937,
    "weight_decay": 0.0005,
    "warmup_epochs": 3.0,
    "warmup_momentum": 0.8,
    "warmup_bias_lr": 0.1,
    "box": 0.05,
    "cls": 0.5,
    "cls_pw": 1.0,
    "obj": 1.0,
    "obj_pw": 1.0,
    "iou_t": 0.2,
    "anchor_t": 4.0,
    "fl_gamma": 0.0,
    "hsv_h": 0.015,
    "hsv_s": 0.7,
    "hsv_v": 0.4,
    "degrees": 0.0,
    "translate": 0.1,
    "scale": 0.5,
    "shear": 0.0,
    "perspective": 0.0,
    "flipud": 0.0,
    "fliplr": 0.5,
    "mosaic": 1.0,
    "mixup": 0.0,
    "copy_paste": 0.0,
}
"""Values of names that a file lacks, from `hyp.scratch-low.yaml` of YOLOv5's guide, in its order. There
`anchors` is commented out, so it has none."""
OFF_AT_ZERO = {"anchors", "restart_epochs", "restart_steps", "restart_min"}
"""Zero disables these hyperparameters, so evolution cannot start from it."""

WIDE = 100
"""Ratio of bounds from which a scale is logarithmic."""


def loci_of(
    values: Mapping[str, Any], chosen: Mapping[str, Any] | None = None
) -> tuple[dict[str, dict[str, Any]], dict[str, float]]:
    """Return the loci for a config's `search.loci`, those of `values` first, and the gain of each.

    Names that `values` lacks have their value of `DEFAULTS`. `chosen`: gains that override the table's; those
    that are not numbers are left for validation. A gain of 0 gives a fixed locus, and so does a zero that
    disables something. Values become `initial`; bounds are widened if they do not contain it.

    Raises `ValueError` with one line per problem: unknown names, and values that are not finite numbers of 0
    or more.
    """
    unknown = [str(name) for name in values if name not in KNOWN]
    near = {name: get_close_matches(name, KNOWN, n=1) for name in unknown}
    problems = [
        f"{name}: is not a hyperparameter of a hyp.yaml" + (f"; did you mean {like[0]}?" if like else "")
        for name, like in near.items()
    ]
    problems += [
        f"{name}: should be a finite number of 0 or more, not {value!r}"
        for name, value in values.items()
        if name in KNOWN and not (_is_finite(value) and value >= 0)
    ]
    if not all(near.values()):
        problems.append(f"known: {', '.join(KNOWN)}")
    if problems:
        raise ValueError("\n  ".join(problems))
    whole = {**values, **{name: value for name, value in DEFAULTS.items() if name not in values}}
    given = {name: float(gain) for name, gain in (chosen or {}).items() if _is_finite(gain)}
    gains = {name: given.get(name, float(KNOWN[name].gain)) for name in whole}
    return {name: _locus(name, float(value), gains[name]) for name, value in whole.items()}, gains


def _locus(name: str, value: float, gain: float) -> dict[str, Any]:
    if gain == 0 or (value == 0 and name in OFF_AT_ZERO):
        return {"type": "fixed", "value": value}
    low, high = min(KNOWN[name].low, value), max(KNOWN[name].high, value)
    scale = "log" if 0 < WIDE * low <= high else "linear"
    return {"type": "float", "low": low, "high": high, "scale": scale, "initial": value}


def _is_finite(value: Any) -> bool:
    """Return whether a value is a number within the range of floats."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= sys.float_info.max
