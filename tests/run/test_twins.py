"""Where members train from scratch, no two with the same hyperparameters are trained."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from evodevo.config import RunConfig
from evodevo.report.savings import savings_of
from evodevo.run.history import History
from evodevo.run.records import Assignment
from tests.run.fakes import FakeCaller, Fate, carry_out, config_of, finished, story
from tests.run.test_controller_resumed import resumed_everywhere

FEW = {
    "search__loci": {"layers": {"type": "int", "low": 1, "high": 4, "initial": 2}},
    "search__inherit": "none",
    "search__population": 6,
    "search__generations": 4,
}
"""Four networks for 24 members."""
PACES = ["generations", "pools"]


def config(**changes: Any) -> RunConfig:
    return config_of(**{**FEW, **changes})


def trainings(caller: FakeCaller) -> Counter[int]:
    """How often each network was trained."""
    return Counter(one.hyperparameters["layers"] for one in caller.assignments)


def networks(history: History) -> set[object]:
    return {life.birth.genome["layers"] for life in history.lives()}


@pytest.mark.parametrize("pace", [*PACES, "steady"])
def test_each_network_is_trained_once(pace: str, tmp_path: Path) -> None:
    caller = FakeCaller()
    history = finished(tmp_path / "run", config(search__pace=pace), caller)
    assert len(history.over) == 24
    assert set(trainings(caller)) == networks(history)
    assert set(trainings(caller).values()) == {1}


def test_a_member_that_is_not_trained_has_the_outcome_of_another_and_says_whose(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config())
    shared = [life for life in history.lives() if life.same_as]
    assert shared
    for life in shared:
        first = history.by_id[life.same_as or ""]
        assert first.birth.genome == life.birth.genome
        assert first.outcome is not None
        assert life.outcome is not None
        assert (life.fom, life.outcome.metrics) == (first.fom, first.outcome.metrics)
        assert life.outcome.notes == (f"as {first.id}",)
        assert life.attempts == 0
        assert history.epochs_trained(life) == history.epochs_trained(first) == 1
    assert savings_of(history) == {"not_trained_again": len(shared)}


@pytest.mark.parametrize("pace", PACES)
def test_the_history_is_the_same_in_whatever_order_workers_answer(pace: str, tmp_path: Path) -> None:
    expected = story(finished(tmp_path / "in order", config(search__pace=pace)))
    for seed in range(5):
        caller = FakeCaller(shuffle=random.Random(seed))
        assert story(finished(tmp_path / f"{seed}", config(search__pace=pace), caller)) == expected


@pytest.mark.parametrize("pace", PACES)
def test_a_run_that_is_killed_anywhere_trains_none_again(pace: str, tmp_path: Path) -> None:
    one = config(search__pace=pace, search__generations=3)
    expected = story(finished(tmp_path / "quiet", one))
    for run, then, caller in resumed_everywhere(tmp_path, one, FakeCaller):
        assert story(carry_out(run, FakeCaller())) == expected
        known = {life.birth.genome["layers"] for life in then.over}
        assert not known & set(trainings(caller))
        assert set(trainings(caller).values()) <= {1}


def test_one_that_diverges_is_not_tried_again(tmp_path: Path) -> None:
    caller = FakeCaller(lambda a: "diverged" if a.hyperparameters["layers"] == 3 else "done")
    history = finished(tmp_path / "run", config(), caller)
    assert set(trainings(caller).values()) == {1}
    assert {life.status for life in history.lives() if life.birth.genome["layers"] == 3} == {"diverged"}


def test_one_that_fails_is_tried_by_the_next_who_waits_for_it(tmp_path: Path) -> None:
    failed: list[str] = []

    def fate(assignment: Assignment) -> Fate:
        if assignment.hyperparameters["layers"] == 2 and (not failed or assignment.member in failed):
            failed.append(assignment.member)
            return "failed"
        return "done"

    history = finished(tmp_path / "run", config(limits__confirm_failures=False), FakeCaller(fate))
    statuses = [life.status for life in history.lives() if life.birth.genome["layers"] == 2]
    assert statuses.count("failed") == 1
    assert statuses.count("done") == len(statuses) - 1 > 0


def test_a_lost_attempt_is_not_the_others_loss(tmp_path: Path) -> None:
    expected = story(finished(tmp_path / "quiet", config()))
    caller = FakeCaller(lambda a: "worker" if a.attempt == 1 else "done")
    assert story(finished(tmp_path / "run", config(), caller)) == expected
    assert set(trainings(caller).values()) == {2}


def test_members_that_inherit_are_all_trained(tmp_path: Path) -> None:
    caller = FakeCaller()
    finished(tmp_path / "run", config(search__inherit="parameters"), caller)
    assert len(caller.assignments) >= 24
