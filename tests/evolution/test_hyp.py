"""A hyp.yaml of YOLOv5's as loci."""

from pathlib import Path
from typing import Any

import pytest

from evodevo import yaml_text
from evodevo.config import parse
from evodevo.evolution.hyp import BEYOND, DEFAULTS, KNOWN, YOLOV5, loci_of
from evodevo.evolution.space import FixedLocus, FloatLocus
from tests.configs import small
from tests.golden import assert_golden, raises_golden
from workers.detection import recipe

EVOLVED = """\
# An evolved file, in the form of YOLOv5's
# Best generation: 11
# Last generation: 299
#    metrics/precision,       metrics/recall
#              0.61803,              0.41421

lr0: 0.0071
lrf: 0.093
momentum: 0.912
weight_decay: 4.0e-06
warmup_epochs: 3  # a whole number
warmup_momentum: 0.52
warmup_bias_lr: 1.1e-1
box: 0.041
cls: 0.37
cls_pw: 0.85
obj: 0.9
obj_pw: 1.2
iou_t: 0.25
anchor_t: 5.2
anchors: 4.62
fl_gamma: 0.0
hsv_h: 0.021
hsv_s: 0.44
hsv_v: 0.35
degrees: 0.0
translate: 0.16
scale: 0.38
shear: 0.0
perspective: 0.0
flipud: 0.0
fliplr: 0.5
mosaic: 0.71
mixup: 0.064
copy_paste: 0
"""
CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def file(**changes: Any) -> dict[str, Any]:
    """The values of `EVOLVED`, with changes; None takes one out."""
    values = {**yaml_text.load(EVOLVED), **changes}
    return {name: value for name, value in values.items() if value is not None}


def refusal(**changes: Any) -> str:
    with pytest.raises(ValueError) as raised:
        loci_of(file(**changes))
    return str(raised.value)


def test_a_file_of_yolov5s_is_read_as_it_is() -> None:
    values = file()
    loci, gains = loci_of(values)
    space = parse(small({"search.loci": loci})).space()
    assert space.given() == values
    assert list(space.loci) == list(gains) == list(values)
    linear = {"type": "float", "low": 0.0, "high": 0.9, "scale": "linear", "initial": 0.38}
    assert (loci["scale"], loci["lr0"]["scale"]) == (linear, "log")
    assert isinstance(space.loci["copy_paste"], FloatLocus)


@pytest.mark.parametrize("name", ["hyp.yaml", "hyp.scratch-low.yaml"])
def test_the_files_to_begin_with_have_yolov5s_names_within_its_bounds(name: str) -> None:
    values = yaml_text.load((CONFIGS / name).read_text())
    assert list(values) == list(DEFAULTS)
    assert loci_of(values)
    outside = [name for name, value in values.items() if not KNOWN[name].low <= value <= KNOWN[name].high]
    assert outside == []


def test_those_with_a_gain_of_zero_are_fixed_and_no_others_are() -> None:
    loci, gains = loci_of(file())
    fixed = {name for name, locus in parse(small({"search.loci": loci})).space().loci.items()
             if isinstance(locus, FixedLocus)}  # fmt: skip
    assert fixed == {name for name, gain in gains.items() if gain == 0}
    assert fixed == {"iou_t", "fl_gamma", "perspective", "fliplr"}
    assert (gains["momentum"], gains["anchors"], gains["lr0"]) == (0.3, 2.0, 1.0)


def test_the_file_of_the_guide_has_its_28_values_and_they_are_those_of_missing_names() -> None:
    values = yaml_text.load((CONFIGS / "hyp.scratch-low.yaml").read_text())
    assert values == DEFAULTS
    assert len(values) == 28
    assert [values[name] for name in ("lr0", "lrf", "momentum", "hsv_s", "fliplr", "mosaic", "mixup")] == [
        0.01, 0.01, 0.937, 0.7, 0.5, 1.0, 0.0,
    ]  # fmt: skip
    assert loci_of({}) == loci_of(values)


def test_a_file_of_an_older_version_has_the_defaults_of_later_names_behind_its_own() -> None:
    old = file(anchors=None, copy_paste=None, lrf=None, mixup=0.25)
    loci, gains = loci_of(old)
    assert list(loci) == list(gains) == [*old, "lrf", "copy_paste"]
    values = parse(small({"search.loci": loci})).space().given()
    assert values == {**old, "lrf": 0.01, "copy_paste": 0.0}


def test_a_chosen_gain_goes_before_the_tables_and_decides_what_evolves() -> None:
    loci, gains = loci_of(file(), {"fliplr": 1, "lr0": 0.0, "box": "much", "own": 2.0})
    assert (loci["fliplr"]["type"], gains["fliplr"]) == ("float", 1.0)
    assert (loci["lr0"]["type"], gains["lr0"]) == ("fixed", 0.0)
    assert (gains["box"], "own" in gains) == (1.0, False)


@pytest.mark.parametrize("name", ["anchors", "restart_epochs"])
def test_what_a_zero_switches_off_stays_off(name: str) -> None:
    loci, gains = loci_of(file(**{name: 0}))
    assert loci[name] == {"type": "fixed", "value": 0.0}
    loci, gains = loci_of(file(**{name: 5}))
    assert loci[name]["type"] == "float"
    assert gains[name] > 0


@pytest.mark.parametrize("name", BEYOND)
def test_a_name_beyond_them_may_be_there(name: str) -> None:
    loci, gains = loci_of(file(**{name: BEYOND[name].high}))
    assert (loci[name]["high"], gains[name]) == (BEYOND[name].high, 1.0)


@pytest.mark.parametrize(
    ("name", "value", "bounds"),
    [("weight_decay", 0.05, (0.0, 0.05)), ("box", 0.004, (0.004, 0.2)), ("lr0", 1, (1e-5, 1.0))],
)
def test_a_value_outside_the_bounds_widens_them(name: str, value: float, bounds: tuple[float, float]) -> None:
    locus = FloatLocus(**loci_of(file(**{name: value}))[0][name])
    assert (locus.low, locus.high) == bounds
    assert locus.initial == value


def test_an_unknown_name_is_told_with_the_one_that_it_resembles() -> None:
    told = refusal(warmup_epoch=1)
    assert told.startswith("warmup_epoch: ")
    assert_golden("hyp/nearest-name", told)


def test_where_an_unknown_name_resembles_none_all_are_named_once() -> None:
    told = refusal(giraffe=1, okapi=2)
    assert [line.split(":")[0].strip() for line in told.splitlines()[:2]] == ["giraffe", "okapi"]
    assert told.count(", ".join(KNOWN)) == 1
    assert_golden("hyp/unknown-names", told)


@pytest.mark.parametrize("value", ["much", "0.1x", True, [0.1], {}, float("nan"), -float("inf"), 10**400])
def test_a_value_that_is_no_finite_number_is_told(value: Any) -> None:
    told = refusal(box=value)
    assert told.startswith("box: ")
    assert_golden("hyp/not-finite", told, value=repr(value))


def test_an_empty_value_is_not_a_missing_name() -> None:
    with raises_golden("hyp/empty-value", ValueError):
        loci_of({**file(), "box": None})


def test_all_that_is_wrong_is_told_at_once() -> None:
    told = refusal(mixup=None, mix_up=0.1, lr0="fast", lrf=None, flip_lr=0.5)
    starts = [line.split(":")[0].strip() for line in told.splitlines()]
    assert starts == ["mix_up", "flip_lr", "lr0"]


def test_a_key_that_is_not_text_is_an_unknown_name() -> None:
    with raises_golden("hyp/key-not-text", ValueError):
        loci_of({**file(), True: 1.0})


def test_the_names_are_those_of_the_detectors_recipe() -> None:
    assert KNOWN.keys() == recipe.DEFAULTS.keys()
    assert len(KNOWN) == len(YOLOV5) + len(BEYOND)


@pytest.mark.parametrize("end", ["low", "high"])
def test_the_detectors_recipe_takes_every_value_within_the_bounds(end: str) -> None:
    values = {name: getattr(evolves, end) for name, evolves in KNOWN.items()}
    assert recipe.read(values, recipe.DEFAULTS) == values


def test_what_the_recipe_has_where_nothing_is_said_is_within_the_bounds() -> None:
    """But for the number of anchors, of which 0 says that it is none of evolution's business."""
    outside = {
        name for name, value in recipe.DEFAULTS.items() if not KNOWN[name].low <= value <= KNOWN[name].high
    }
    assert outside == {"anchors"}
