"""Training by hand: what each slot trains with at each epoch."""

import math
from typing import Any

import pytest
from pydantic import ValidationError

from evodevo.evolution.strategies import Birth, Member
from tests.evolution.generations import make, play
from tests.evolution.spaces import identical, space_of
from tests.golden import raises_golden

SPACE = space_of(
    rate={"type": "float", "low": 1e-4, "high": 1.0, "scale": "log", "initial": 0.5},
    layers={"type": "int", "low": 1, "high": 6, "initial": 3},
    decay={"type": "float", "low": 0.0, "high": 1.0, "initial": 0.25},
)
COSINE = {"rate": {"shape": "cosine"}}


def history(schedule: dict[str, Any], epochs: int = 4, **options: Any) -> list[list[Member]]:
    strategy = make("scheduled", SPACE, 3, epochs=epochs, schedule=schedule, **options)
    return play(strategy, [[1.0, 2.0, 3.0]] * epochs)


def rates(schedule: dict[str, Any], epochs: int = 4, **options: Any) -> list[float]:
    return [float(members[0].birth.genome["rate"]) for members in history(schedule, epochs, **options)]  # type: ignore[arg-type]


def test_without_a_schedule_everything_stays_as_it_is_given() -> None:
    for members in history({}):
        assert all(identical(member.birth.genome, SPACE.given()) for member in members)


def test_a_cosine_falls_from_the_start_to_just_above_its_end() -> None:
    # 0.5 * (1 + cos(pi * epoch / 4)) / 2, by hand
    half = math.sqrt(0.5)
    assert rates(COSINE) == pytest.approx([0.5, 0.25 * (1 + half), 0.25, 0.25 * (1 - half)])
    ended = rates({"rate": {"shape": "cosine", "end": 0.5}})
    assert ended == pytest.approx([0.5, 0.25 + 0.125 * (1 + half), 0.375, 0.25 + 0.125 * (1 - half)])


def test_after_its_last_epoch_a_shape_stays_where_it_has_come_to() -> None:
    strategy = make("scheduled", SPACE, 3, epochs=2, schedule={"rate": {"shape": "cosine", "end": 0.5}})
    rates = [float(one[0].birth.genome["rate"]) for one in play(strategy, [[1.0, 2.0, 3.0]] * 5)]  # type: ignore[arg-type]
    assert rates == pytest.approx([0.5, 0.375, 0.25, 0.25, 0.25])


def test_a_warm_up_rises_to_the_start_and_the_cosine_follows() -> None:
    assert rates({"rate": {"shape": "cosine", "warmup": 0.5}}) == pytest.approx([0.5 / 3, 1.0 / 3, 0.5, 0.25])


def test_steps_are_factors_of_the_start_from_their_points_on() -> None:
    steps = {"rate": {"shape": "steps", "at": [0.5, 0.75], "factors": [0.1, 0.01]}}
    assert rates(steps) == pytest.approx([0.5, 0.5, 0.05, 0.005])
    assert rates(steps, 8) == pytest.approx([0.5] * 4 + [0.05] * 2 + [0.005] * 2)


def test_a_start_of_its_own_takes_the_place_of_the_given_value_and_of_no_other_locus() -> None:
    started = history({"rate": {"shape": "cosine", "start": 0.8}})
    assert started[0][0].birth.genome == {"rate": 0.8, "layers": 3, "decay": 0.25}


def test_a_number_takes_the_place_of_the_given_value_in_all_epochs() -> None:
    found = [members[0].birth.genome for members in history({"decay": 0.75, **COSINE})]
    assert [genome["decay"] for genome in found] == [0.75] * 4
    assert found[0] == {"rate": 0.5, "layers": 3, "decay": 0.75}


def test_every_slot_keeps_its_parameters() -> None:
    founders, *later = history(COSINE)
    assert all(identical(member.birth, Birth(member.birth.genome)) for member in founders)
    for generation, members in enumerate(later):
        for slot, member in enumerate(members):
            own = f"g{generation}s{slot}"
            assert (member.birth.parent_a, member.birth.parent_b, member.birth.parent_params) == (
                own,
                None,
                own,
            )


def test_founders_that_differ_follow_the_shape_each_from_its_own_value() -> None:
    first, *_, last = history(COSINE, initial="random")
    starts = [member.birth.genome["rate"] for member in first]
    assert len(set(starts)) == 3
    fallen = 0.5 * (1 - math.sqrt(0.5))
    assert [m.birth.genome["rate"] for m in last] == pytest.approx([fallen * float(s) for s in starts])  # type: ignore[arg-type]
    assert [m.birth.genome["layers"] for m in last] == [m.birth.genome["layers"] for m in first]


def test_a_slot_that_failed_starts_afresh_where_the_schedule_is() -> None:
    strategy = make("scheduled", SPACE, 3, epochs=4, schedule=COSINE)
    later = play(strategy, [[1.0, None, 3.0], [1.0, 2.0, 3.0]])[1]
    assert [member.birth.parent_params for member in later] == ["g0s0", None, "g0s2"]
    assert len({member.birth.genome["rate"] for member in later}) == 1


@pytest.mark.parametrize("name", ["layers", "speed"])
def test_a_schedule_of_what_is_no_float_locus_is_refused(name: str) -> None:
    with raises_golden("scheduled/not-a-float", ValueError, name=name):
        make("scheduled", SPACE, 3, epochs=4, schedule={name: {"shape": "cosine"}})


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("points-and-factors-differ", {"shape": "steps", "at": [0.5], "factors": [0.1, 0.2]}),
        ("points-descend", {"shape": "steps", "at": [0.5, 0.2], "factors": [0.1, 0.2]}),
        ("point-twice", {"shape": "steps", "at": [0.5, 0.5], "factors": [0.1, 0.2]}),
        ("point-0", {"shape": "steps", "at": [0.0], "factors": [0.1]}),
        ("point-1", {"shape": "steps", "at": [1.0], "factors": [0.1]}),
        ("warmup", {"shape": "cosine", "warmup": 1.0}),
        ("end", {"shape": "cosine", "end": -0.1}),
        ("unknown-shape", {"shape": "line"}),
        ("text", "cosine"),
    ],
    ids=str,
)
def test_a_shape_that_makes_no_sense_is_refused(name: str, shape: Any) -> None:
    with raises_golden(f"scheduled/shape/{name}", ValidationError):
        make("scheduled", SPACE, 3, epochs=4, schedule={"rate": shape})


def test_a_start_may_be_given_for_each_slot_and_the_list_begins_again_at_its_end() -> None:
    members = history({"rate": {"shape": "cosine", "start": [0.5, 0.25]}}, epochs=4)
    assert [member.birth.genome["rate"] for member in members[0]] == [0.5, 0.25, 0.5]
    assert [member.birth.genome["rate"] for member in members[2]] == pytest.approx([0.25, 0.125, 0.25])


def test_restarts_begin_at_falling_peaks_and_each_falls_to_the_same_minimum() -> None:
    shape = {"shape": "restarts", "start": 0.1, "length": 10, "decay": 0.7, "min": 0.001}
    found = rates({"rate": shape}, 30)
    assert found[::10] == pytest.approx([0.1, 0.07, 0.049])
    assert found[5::10] == pytest.approx([0.0505, 0.0355, 0.025])
    lowest = (1 + math.cos(0.9 * math.pi)) / 2
    assert found[9::10] == pytest.approx([0.001 + (peak - 0.001) * lowest for peak in (0.1, 0.07, 0.049)])


def test_cycles_may_get_longer() -> None:
    shape = {"shape": "restarts", "start": 1.0, "length": 1, "multiplier": 2, "decay": 0.5}
    half = math.sqrt(0.5)
    by_hand = [1, 0.5, 0.25, 0.25, 0.125 * (1 + half), 0.125, 0.125 * (1 - half)]  # cycles of 1, 2 and 4
    assert rates({"rate": shape}, 7) == pytest.approx(by_hand)


@pytest.mark.parametrize(
    "wrong", [{}, {"length": 0}, {"length": 1, "multiplier": 0.5}, {"length": 1, "decay": -1}]
)
def test_restarts_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        rates({"rate": {"shape": "restarts", **wrong}})
