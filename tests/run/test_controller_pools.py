"""Whole runs of each pace; in generations and pools nothing depends on the workers, in steady births do."""

import random
from pathlib import Path
from typing import Any

import pytest

from evodevo.config import RunConfig
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.history import History
from evodevo.run.journal import Tail
from evodevo.run.records import Assignment
from evodevo.run.retention import needed_checkpoints
from evodevo.run.setup import JOURNAL
from tests.run.fakes import FakeCaller, Fate, carry_out, config_of, finished, history_of, new_run, story
from tests.run.test_controller_resumed import resumed_everywhere

POOLS = {"search__pace": "pools", "search__pool": 2}
PACES: list[dict[str, Any]] = [
    {},
    POOLS,
    {**POOLS, "search__strategy": "truncation_pbt", "search__pool": 3},
    {"search__strategy": "random_search"},
    {"search__recombine": {"last": 0.5}},
    {**POOLS, "search__recombine": {"last": 0.5}},
]
STEADY = {"search__pace": "steady"}


def config(**changes: Any) -> RunConfig:
    return config_of(**{"search__population": 6, **changes})


def workers(count: int) -> list[str]:
    return [f"tcp://{number}" for number in range(count)]


def troubled(count: int, seed: int) -> FakeCaller:
    """Return a caller of `count` workers that answer in random order; half of the attempts are lost."""
    draw = random.Random(seed)

    def fate(assignment: Assignment) -> Fate:
        fates: list[Fate] = ["lost", "lost_late", "preempted", "done", "done", "done"]
        return "done" if assignment.attempt >= 3 else draw.choice(fates)

    return FakeCaller(fate, shuffle=draw, workers=workers(count))


def barriers(directory: Path) -> list[bool]:
    """For each record of births after the first: whether the whole generation before was over then."""
    history, found = History(), []
    for record in Tail(directory / JOURNAL).read():
        if record["kind"] == "births":
            generations = {born["generation"] for born in record["births"]} - {0}
            found += [history.complete(generation - 1) for generation in generations]
        history.apply(record)
    return found


@pytest.mark.parametrize("changes", PACES, ids=str)
def test_a_history_is_the_same_for_any_number_of_workers_and_members_per_task_and_losses(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    expected = story(finished(tmp_path / "one by one", config(**changes), FakeCaller(workers=workers(1))))
    assert len(expected) == 24
    assert {status for *_, status, _, _ in expected} == {"done"}
    sizes, lost = set(), 0
    for count in (1, 3, 7):
        for per_task in (1, 3, "auto"):
            run = tmp_path / f"{count}-{per_task}"
            caller = troubled(count, count)
            history = finished(run, config(cluster__members_per_task=per_task, **changes), caller)
            assert (history.end, story(history)) == ("done", expected)
            assert set(CheckpointStore(str(run / "params")).names()) == needed_checkpoints(history)
            sizes |= {len(unit.assignments) for unit in caller.units}
            lost += history.lost_attempts
    assert max(sizes) == 3
    assert lost > 24


def test_with_pools_members_begin_before_the_generation_before_is_over(tmp_path: Path) -> None:
    run = tmp_path / "run"
    early: list[str] = []

    def watch(assignment: Assignment) -> None:
        history = history_of(run)
        life = history.by_id[assignment.member]
        if life.generation and not history.complete(life.generation - 1):
            early.append(life.id)
        assert life.generation < 3 or history.complete(life.generation - 3)

    caller = FakeCaller(watch=watch, shuffle=random.Random(1), workers=workers(4))
    finished(run, config(search__generations=6, **POOLS), caller)
    assert len(early) > 3
    assert not all(barriers(run))


def test_in_generations_nobody_is_born_before_the_generation_before_is_over(tmp_path: Path) -> None:
    caller = FakeCaller(shuffle=random.Random(1), workers=workers(3))
    finished(tmp_path / "run", config(), caller)
    assert barriers(tmp_path / "run") == [True] * 3


def test_in_pools_a_slow_member_keeps_only_those_waiting_that_could_descend_from_it(tmp_path: Path) -> None:
    """Its attempts are lost until no other member can be trained."""
    run = tmp_path / "run"
    wanted = config(search__generations=3, limits__max_attempts=99, **POOLS)
    strategy = wanted.complete().strategy()
    others = {slot for slot in range(6) if 0 not in (strategy.needs(1, slot) or ())}
    trained: list[str] = []

    def fate(assignment: Assignment) -> Fate:
        if assignment.member == "g000s000" and assignment.attempt < 40:
            return "preempted"
        trained.append(assignment.member)
        return "done"

    finished(run, wanted, FakeCaller(fate, workers=workers(2)))
    before = trained[: trained.index("g000s000")]
    assert others
    assert {f"g001s00{slot}" for slot in others} <= set(before)
    assert not {f"g001s00{slot}" for slot in set(range(6)) - others} & set(before)


@pytest.mark.parametrize("strategy", ["tri_parent", "truncation_pbt"])
@pytest.mark.parametrize("count", [1, 3, 9])
def test_a_steady_run_goes_to_its_end_and_its_members_inherit(
    count: int, strategy: str, tmp_path: Path
) -> None:
    caller = troubled(count, count)
    history = finished(tmp_path / "run", config(search__strategy=strategy, **STEADY), caller)
    assert (history.end, history.reason, history.completed()) == ("done", None, 4)
    assert [len(generation) for generation in history.generations] == [6] * 4
    assert {life.status for life in history.lives()} == {"done"}
    heirs = [life for life in history.births if life.birth.parent_params]
    assert len(heirs) == 18
    assert max(life.epoch for life in heirs) > 1
    assert history.lost_attempts > 0
    kept = set(CheckpointStore(str(tmp_path / "run" / "params")).names())
    assert kept == needed_checkpoints(history)


def test_in_the_steady_pace_no_more_are_at_work_than_there_are_workers(tmp_path: Path) -> None:
    run = tmp_path / "run"
    pending: list[int] = []
    caller = FakeCaller(
        watch=lambda assignment: pending.append(len(history_of(run).pending)),
        shuffle=random.Random(2),
        workers=workers(4),
    )
    finished(run, config(**STEADY), caller)
    assert max(pending) == 4
    assert not all(barriers(run))


@pytest.mark.parametrize("count", [1, 3])
def test_a_steady_run_that_is_killed_at_any_record_resumes_from_there(count: int, tmp_path: Path) -> None:
    wanted = config_of(search__population=3, search__generations=3, **STEADY)

    def caller() -> FakeCaller:
        return FakeCaller(
            lambda a: "lost" if (a.member, a.attempt) == ("g001s000", 1) else "done", workers=workers(count)
        )

    whole = story(finished(tmp_path / "never killed", wanted, caller()))
    for run, then, answering in resumed_everywhere(tmp_path, wanted, caller):
        history = history_of(run)
        assert (history.end, history.completed()) == ("done", 3)
        known = [life.id for life in then.births]
        assert [(life.id, life.birth) for life in history.births[: len(known)]] == [
            (life.id, life.birth) for life in then.births
        ]
        assert {assignment.member for assignment in answering.assignments}.isdisjoint(
            life.id for life in then.over
        )
        if count == 1:
            assert story(history) == whole


def test_failed_members_without_descendants_are_tried_again_with_pools(tmp_path: Path) -> None:
    wanted = config(limits__max_failed_fraction=0.3, search__generations=2, **POOLS)
    run = new_run(tmp_path / "run", wanted)
    failed = carry_out(
        run, FakeCaller(lambda a: "failed" if a.member in ("g001s001", "g001s004") else "done")
    )
    assert failed.end == "failed"
    again = FakeCaller()
    history = carry_out(run, again, retry=True)
    assert sorted(assignment.member for assignment in again.assignments) == ["g001s001", "g001s004"]
    assert (history.end, {life.status for life in history.lives()}) == ("done", {"done"})
    assert story(history) == story(finished(tmp_path / "other", wanted, FakeCaller()))


def test_failed_members_of_a_steady_run_that_are_tried_again_find_what_they_inherit(tmp_path: Path) -> None:
    """One fails early in its generation, and the run fails when another one does much later."""
    unlucky = ("g001s000", "g001s005")
    wanted = config(limits__max_failed_fraction=0.3, **STEADY)
    run = new_run(tmp_path / "run", wanted)
    two = workers(2)
    failed = carry_out(run, FakeCaller(lambda a: "failed" if a.member in unlucky else "done", workers=two))
    assert failed.end == "failed"
    history = carry_out(run, FakeCaller(workers=two), retry=True)
    assert (history.end, {life.status for life in history.lives()}) == ("done", {"done"})
