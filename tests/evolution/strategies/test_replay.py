"""Replay: one member along a schedule of the past."""

from typing import Any

import pytest
from pydantic import ValidationError

from evodevo.evolution.strategies import Birth
from tests.evolution.generations import ask, make, play
from tests.evolution.spaces import identical, space_of

SPACE = space_of(
    rate={"type": "float", "low": 0.0, "high": 1.0}, layers={"type": "choice", "choices": [1, 1.0, True]}
)
GENOMES = [{"rate": 0.5, "layers": 1.0}, {"rate": 0.25, "layers": True}, {"rate": 0.125, "layers": 1}]
SCHEDULE: dict[str, Any] = {"genomes": GENOMES, "training_seeds": [11, 22, 33]}


@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("foms", [[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]], ids=str)
def test_a_replay_trains_along_the_schedule_whatever_its_own_seed_and_foms(
    foms: list[float], seed: int
) -> None:
    history = play(make("replay", SPACE, 1, seed=seed, **SCHEDULE), [[fom] for fom in foms])
    assert identical(
        [member.birth for (member,) in history],
        [
            Birth(GENOMES[0], training_seed=11),
            Birth(GENOMES[1], "g0s0", None, "g0s0", training_seed=22),
            Birth(GENOMES[2], "g1s0", None, "g1s0", training_seed=33),
        ],
    )


def test_a_replay_resumes_after_a_restart() -> None:
    original, restarted = (make("replay", SPACE, 1, **SCHEDULE) for _ in range(2))
    members = play(original, [[1.0], [2.0]])[-1]
    assert identical(ask(restarted, 2, members), ask(original, 2, members))


def test_a_replay_needs_no_more_than_one_member() -> None:
    assert type(make("replay", SPACE, 1, **SCHEDULE)).smallest_population == 1
    assert type(make("tri_parent", SPACE)).smallest_population == 2


@pytest.mark.parametrize(
    "wrong", [{"genomes": None}, {"training_seeds": ["11"]}, {"initial": "given"}], ids=str
)
def test_a_schedule_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        make("replay", SPACE, 1, **{**SCHEDULE, **wrong})
