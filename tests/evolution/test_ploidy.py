"""What several genomes come to together."""

import math

import pytest

from evodevo.evolution.ploidy import combined
from evodevo.evolution.space import BoolLocus, ChoiceLocus, FixedLocus, FloatLocus, IntLocus, Space

SPACE = Space(
    {
        "rate": FloatLocus(type="float", low=1e-4, high=1.0, scale="log", initial=0.01),
        "shift": FloatLocus(type="float", low=-1.0, high=1.0, initial=0.0),
        "layers": IntLocus(type="int", low=1, high=9, initial=3),
        "units": IntLocus(type="int", low=1, high=1024, scale="log", initial=16),
        "optimizer": ChoiceLocus(type="choice", choices=["adam", "sgd", [1, 2]], initial="adam"),
        "nesterov": BoolLocus(type="bool", initial=False),
        "batch": FixedLocus(type="fixed", value=90),
    }
)
GIVEN = SPACE.given()


def test_numbers_are_means_on_their_scale_and_choices_are_voted_on() -> None:
    one = {**GIVEN, "rate": 0.1, "shift": -0.5, "layers": 2, "units": 4, "optimizer": "sgd", "nesterov": True}
    two = {
        **GIVEN,
        "rate": 0.001,
        "shift": 1.0,
        "layers": 4,
        "units": 64,
        "optimizer": [1, 2],
        "nesterov": True,
    }
    three = {**GIVEN, "rate": 0.01, "shift": 0.1, "layers": 5, "units": 16, "optimizer": [1, 2]}
    found = combined(SPACE, [one, two, three])
    assert found.pop("rate") == pytest.approx(0.01)
    assert found.pop("shift") == pytest.approx(0.2)
    assert found == {"layers": 4, "units": 16, "optimizer": [1, 2], "nesterov": True, "batch": 90}


def test_what_all_have_is_kept_to_the_last_bit_and_of_a_tie_the_first() -> None:
    odd = {**GIVEN, "rate": math.nextafter(0.1, 1.0), "shift": 1 / 3}
    assert combined(SPACE, [odd] * 3) == odd
    tie = [{**GIVEN, "optimizer": name} for name in ("sgd", "adam")]
    assert combined(SPACE, tie)["optimizer"] == "sgd"
    assert combined(SPACE, tie[::-1])["optimizer"] == "adam"


def test_a_mean_stays_within_the_bounds_and_has_the_type_of_its_locus() -> None:
    ends = [
        {**GIVEN, "rate": 1.0, "layers": 9, "units": 1024},
        {**GIVEN, "rate": math.nextafter(1.0, 0), "layers": 8, "units": 1023},
    ]
    found = combined(SPACE, ends)
    assert SPACE.contains(found)
    assert type(found["layers"]) is type(found["units"]) is int
