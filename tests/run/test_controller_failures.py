"""Attempts that are lost, members that fail or diverge, and limits that are reached."""

import random
from pathlib import Path

import pytest

from evodevo.run.history import History
from evodevo.run.journal import Tail, encode
from evodevo.run.records import Assignment, Outcome
from tests.run.fakes import (
    PARAMETERS,
    RENDER,
    SECONDS,
    STRATEGIES,
    FakeCaller,
    FakeClock,
    befall,
    carry_out,
    config_of,
    finished,
    new_run,
    story,
)

HALF = {"limits__max_failed_fraction": 0.5}
THREE = ("g001s001", "g001s002", "g001s003")


def of(history: History, member: str) -> Outcome:
    outcome = history.by_id[member].outcome
    assert outcome is not None
    return outcome


def test_lost_attempts_are_journaled_one_by_one_and_numbered(tmp_path: Path) -> None:
    caller = FakeCaller(lambda a: "lost_late" if a.member == "g001s002" and a.attempt < 3 else "done")
    history = finished(tmp_path / "run", caller=caller)
    life = history.by_id["g001s002"]
    assert (life.status, life.attempts) == ("done", 3)
    assert life.lost == tuple(f"attempt {n} of g001s002 was lost, but published" for n in (1, 2))
    assert [a.attempt for a in caller.assignments if a.member == life.id] == [1, 2, 3]
    kinds = [r["kind"] for r in Tail(tmp_path / "run" / "journal.jsonl").read() if r.get("member") == life.id]
    assert kinds == ["lost", "lost", "outcome"]


def test_preempted_attempts_are_nobodys_fault_and_do_not_count(tmp_path: Path) -> None:
    caller = FakeCaller(lambda a: "preempted" if a.member == "g001s002" and a.attempt < 9 else "done")
    history = finished(tmp_path / "run", config_of(limits__max_attempts=1), caller)
    life = history.by_id["g001s002"]
    assert (life.status, life.attempts, life.preempted) == ("done", 9, 8)
    assert story(history) == story(finished(tmp_path / "undisturbed", config_of(limits__max_attempts=1)))


def test_a_run_asks_for_workers_with_a_gpu_and_with_time_for_its_longest_epoch(tmp_path: Path) -> None:
    caller = FakeCaller()
    finished(tmp_path / "run", config_of(cluster__device="gpu"), caller)
    assert {one.gpu for one in caller.needs} == {True}
    assert caller.needs[0].seconds is None
    assert caller.needs[-1].seconds == sum(SECONDS.values())


@pytest.mark.parametrize("attempts", [1, 2])
def test_attempts_that_are_all_lost_end_in_a_failed_member_and_the_run_continues(
    attempts: int, tmp_path: Path
) -> None:
    config = config_of(limits__max_attempts=attempts)
    history = finished(tmp_path / "run", config, befall("lost", "g001s002"))
    life = history.by_id["g001s002"]
    assert (life.status, life.attempts, len(life.lost), life.worker) == ("failed", attempts, attempts, None)
    error = of(history, life.id).error
    assert error is not None
    assert all(why in error for why in life.lost)
    assert (history.end, history.completed()) == ("done", 4)


@pytest.mark.parametrize("fate", ["failed", "diverged"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_nobody_descends_from_a_member_without_a_fom(strategy: str, fate: str, tmp_path: Path) -> None:
    barren = ("g000s000", "g000s003", "g001s002", "g002s001")
    history = finished(tmp_path / "run", config_of(search__strategy=strategy), befall(fate, *barren))
    assert history.end == "done"
    assert {life.id for life in history.lives() if life.status == fate} == set(barren)
    for life in history.lives():
        assert {life.birth.parent_a, life.birth.parent_b, life.birth.parent_params}.isdisjoint(barren)


@pytest.mark.parametrize("shuffle", [None, random.Random(2)])
def test_too_many_failed_members_stop_the_run_and_the_first_error_is_the_reason(
    shuffle: random.Random | None, tmp_path: Path
) -> None:
    caller = FakeCaller(lambda a: "failed" if a.member in THREE else "done", shuffle=shuffle)
    history = finished(tmp_path / "run", config_of(**HALF), caller)
    assert history.end == "failed"
    assert history.reason is not None
    assert "3 of 4 members of generation 1" in history.reason
    assert "Traceback of g001s001" in history.reason
    assert "Traceback of g001s002" not in history.reason
    assert len(history.generations) == 2
    assert [function for function, _ in caller.calls] == [RENDER]


def test_as_many_failed_members_as_are_allowed_do_not_stop_the_run(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config_of(**HALF), befall("failed", *THREE[:2]))
    assert (history.end, history.completed()) == ("done", 4)


def test_a_retry_tries_exactly_the_failed_members_again(tmp_path: Path) -> None:
    expected = story(finished(tmp_path / "healthy"))
    failed = finished(tmp_path / "run", caller=befall("failed", *THREE))
    assert failed.end == "failed"
    caller = FakeCaller()
    history = carry_out(tmp_path / "run", caller, retry=True)
    again = [a.member for a in caller.assignments if a.member.startswith(("g000", "g001"))]
    assert sorted(again) == list(THREE)
    assert (history.end, story(history)) == ("done", expected)


def test_a_retry_that_fails_again_fails_the_run_again(tmp_path: Path) -> None:
    finished(tmp_path / "run", caller=befall("failed", *THREE))
    history = carry_out(tmp_path / "run", befall("failed", *THREE), retry=True)
    assert (history.end, len(history.generations)) == ("failed", 2)


def test_divergence_does_not_count_as_failure(tmp_path: Path) -> None:
    config = config_of(limits__max_failed_fraction=0.0)
    history = finished(tmp_path / "run", config, befall("diverged", *THREE))
    assert (history.end, history.completed()) == ("done", 4)
    assert of(history, THREE[0]).fom is None


def test_a_generation_that_diverged_as_a_whole_stops_the_run(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", caller=befall("diverged", "g001s000", *THREE))
    assert (history.end, len(history.generations)) == ("failed", 2)
    assert history.reason is not None
    assert "generation 1" in history.reason
    assert "validation_loss" in history.reason


@pytest.mark.parametrize(("limit_s", "generations"), [(1.0, 1), (16.0, 2), (1e6, 4)])
def test_no_generation_begins_when_the_wall_time_is_used_up_and_the_run_is_done(
    limit_s: float, generations: int, tmp_path: Path
) -> None:
    """Each of the 4 members of a generation takes 3.75 s here, one after the other."""
    clock = FakeClock()
    run = new_run(tmp_path / "run", config_of(limits__wall_time_s=limit_s))
    history = carry_out(run, FakeCaller(clock=clock), clock=clock)
    assert (history.end, history.completed()) == ("done", generations)
    assert history.elapsed_s == pytest.approx(generations * 4 * sum(SECONDS.values()))
    assert (history.reason is None) == (generations == 4)
    assert history.reason is None or f"wall_time_s = {limit_s:g}" in history.reason
    assert history.test


def test_a_budget_that_is_too_small_stops_the_run_at_its_first_checkpoint_and_says_what_is_needed(
    tmp_path: Path,
) -> None:
    needed = PARAMETERS.size * (2 * 4 + 1)
    caller = FakeCaller(lambda a: "done" if a.member == "g000s002" else "hang")
    history = finished(tmp_path / "run", config_of(checkpoints__max_bytes=needed - 1), caller)
    assert history.end == "failed"
    assert history.reason is not None
    assert f" {needed:,} bytes" in history.reason
    assert f"{needed - 1:,}" in history.reason
    assert [life.id for life in history.lives() if life.outcome] == ["g000s002"]


def test_a_budget_that_is_just_enough_is_kept_to_the_end(tmp_path: Path) -> None:
    needed = PARAMETERS.size * (2 * 4 + 1)
    taken = []

    def watch(assignment: Assignment) -> None:
        params = tmp_path / "run" / "params"
        taken.append(sum(path.stat().st_size for path in params.iterdir()) if params.exists() else 0)

    history = finished(tmp_path / "run", config_of(checkpoints__max_bytes=needed), FakeCaller(watch=watch))
    assert history.end == "done"
    assert 0 < max(taken) <= needed


def test_a_strategy_that_cannot_be_imported_any_more_is_the_reason(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    (begun,) = Tail(run / "journal.jsonl").read()
    begun["config"]["search"]["strategy"] = "gone:Away"
    (run / "journal.jsonl").write_bytes(encode({key: begun[key] for key in begun if key != "crc"}))
    history = carry_out(run, FakeCaller())
    assert history.end == "failed"
    assert (history.reason or "").startswith(
        "search.strategy: cannot import 'gone:Away': ModuleNotFoundError"
    )
