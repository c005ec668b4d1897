"""`search.goal` ends a run, the same way whatever the workers do, and `search.patience` ends a life."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evodevo.config import RunConfig
from evodevo.evolution.fitness import Mode
from evodevo.run.extension import extension_of
from evodevo.run.records import Assignment, Job, Outcome
from evodevo.run.stopping import is_out_of_patience
from tests.configs import complaint
from tests.run.fakes import WORKERS, FakeCaller, carry_out, config_of, finished, story
from tests.run.test_controller_resumed import resumed_everywhere

BITS = 100


class OneMax(FakeCaller):
    """The fom is the number of hyperparameters that are true."""

    def _leg(self, job: Job, assignment: Assignment, fate: Any) -> tuple[Outcome | None, str]:
        return Outcome("done", float(sum(map(bool, assignment.hyperparameters.values())))), ""


def one_max(**changes: Any) -> RunConfig:
    return config_of(
        **{
            "search__strategy": "natural_selection",
            "search__population": 100,
            "search__generations": 200,
            "search__options": {},
            "search__loci": {f"x{number}": {"type": "bool"} for number in range(BITS)},
            "search__goal": BITS,
            "objective__metric": "ones",
            "objective__mode": "max",
            **changes,
        }
    )


def good_enough(directory: Path, **changes: Any) -> RunConfig:
    """A run's config with the goal that its second generation reaches, and no earlier one."""
    config = config_of(search__generations=5, **changes)
    history = finished(directory, config)
    foms = [min(life.fom for life in lives if life.fom is not None) for lives in history.generations]
    assert foms[1] < foms[0]
    return config_of(search__generations=5, search__goal=foms[1], **changes)


def test_one_max_comes_to_its_optimum_and_the_run_ends_there(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", one_max(), OneMax())
    assert history.best
    assert (history.end, history.best.fom) == ("done", BITS)
    assert history.reason == f"search.goal = 100 is reached: {history.best.id} has 100"
    assert history.completed() == len(history.generations) == history.best.generation + 1 < 200


@pytest.mark.parametrize("pace", [{}, {"search__pace": "pools", "search__pool": 2}], ids=["all", "pools"])
def test_a_run_with_a_goal_has_the_same_history_whatever_the_workers_do(
    tmp_path: Path, pace: dict[str, Any]
) -> None:
    config = good_enough(tmp_path / "endless", search__population=6, run__seed=4, **pace)
    history = finished(tmp_path / "run", config)
    assert (history.end, len(history.generations), history.completed()) == ("done", 2, 2)
    for number in range(4):
        caller = FakeCaller(workers=WORKERS[: 1 + number % 3], shuffle=random.Random(number))
        assert story(finished(tmp_path / str(number), config, caller)) == story(history)


def test_lines_that_never_wait_for_each_other_wait_for_a_goal(tmp_path: Path) -> None:
    changes = {"search__strategy": "random_search", "search__options": {"initial": "random"}}
    config = good_enough(tmp_path / "endless", **changes)
    history = finished(tmp_path / "run", config, FakeCaller(workers=WORKERS[:1]))
    assert len(history.generations) == 2


@pytest.mark.parametrize("strategy", ["tri_parent", "natural_selection"])
def test_a_run_that_is_killed_anywhere_ends_at_its_goal_as_if_undisturbed(
    tmp_path: Path, strategy: str
) -> None:
    size = {"search__population": 6, "run__seed": 5}
    config = good_enough(tmp_path / "endless", search__strategy=strategy, **size)
    expected = finished(tmp_path / "run", config)
    for run, _, _ in resumed_everywhere(tmp_path, config, FakeCaller):
        history = carry_out(run, FakeCaller())
        assert (story(history), history.reason) == (story(expected), expected.reason)


def test_in_the_steady_pace_nobody_is_born_after_the_member_that_reached_the_goal(tmp_path: Path) -> None:
    changes = {"search__pace": "steady"}
    free = finished(tmp_path / "free", config_of(search__generations=5, **changes))
    foms = [life.fom for life in free.over[:9] if life.fom is not None]
    config = config_of(search__generations=5, search__goal=min(foms), **changes)
    history = finished(tmp_path / "run", config)
    at = next(number for number, life in enumerate(history.over) if life.fom == min(foms))
    assert history.end == "done"
    assert history.reason is not None
    assert "search.goal" in history.reason
    assert len(history.births) <= at + 1 + len(WORKERS)


def test_a_run_whose_goal_is_not_reached_goes_to_its_last_generation(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config_of(search__goal=0.0))
    assert (history.end, history.reason, history.completed()) == ("done", None, 4)


def test_a_run_that_has_reached_its_goal_is_not_extended_to_more_generations(tmp_path: Path) -> None:
    config = good_enough(tmp_path / "endless")
    history = finished(tmp_path / "run", config)
    said = complaint(lambda: extension_of(tmp_path / "run", history, 9))
    assert "has reached search.goal" in said
    assert "search.start: {run: run}" in said


@pytest.mark.parametrize(
    "foms, mode, patience, over",
    [
        ([3.0, 2.0, 2.5], "min", 1, True),
        ([3.0, 2.0, 2.5], "min", 2, False),
        ([3.0, 2.0, 2.0], "min", 1, True),
        ([3.0, 2.0, 2.5], "max", 2, True),
        ([3.0], "min", 1, False),
        ([3.0, 4.0, 5.0], "min", None, False),
        ([3.0, None, 2.0], "min", 1, False),
    ],
)
def test_a_life_is_out_of_patience_after_some_legs_that_were_no_better(
    foms: Sequence[float | None], mode: Mode, patience: int | None, over: bool
) -> None:
    assert is_out_of_patience(foms, mode, patience) is over


def test_patience_ends_lives_and_the_history_stays_the_same(tmp_path: Path) -> None:
    config = config_of(search__legs=6, search__patience=2, search__generations=2)
    history = finished(tmp_path / "run", config)
    lengths = [len(life.legs) + 1 for life in history.lives()]
    assert min(lengths) < 6
    for life in history.lives():
        foms = [outcome.fom for outcome in life.outcomes()]
        assert not any(is_out_of_patience(foms[:count], "min", 2) for count in range(1, len(foms)))
        assert len(foms) == 6 or is_out_of_patience(foms, "min", 2)
    shuffled = finished(tmp_path / "other", config, FakeCaller(shuffle=random.Random(3)))
    assert story(shuffled) == story(history)
