"""A run without generations: children are born when there is a worker, of what is known by then."""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evodevo.config import RunConfig
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.crew import Inbox
from evodevo.run.history import History
from evodevo.run.records import Assignment, Job
from evodevo.run.retention import needed_checkpoints
from evodevo.run.view import FileSource, View
from tests.configs import ABSENT
from tests.run.fakes import (
    SECONDS,
    WORKERS,
    FakeCaller,
    FakeClock,
    Fate,
    carry_out,
    config_of,
    history_of,
    new_run,
    stop,
    story,
)


class Workshop(FakeCaller):
    """`workers` workers, which finish the `slow` members only after a later one is done."""

    def __init__(self, workers: int, slow: Sequence[str] = (), **more: Any) -> None:
        super().__init__(workers=WORKERS[:workers], **more)
        self._slow = slow
        self._overtaken = asyncio.Event()

    async def attempt(self, job: Job, assignment: Assignment, worker: str, inbox: Inbox) -> None:
        if assignment.member in self._slow:
            await self._overtaken.wait()
        await super().attempt(job, assignment, worker, inbox)
        if self._slow and assignment.member > max(self._slow):
            self._overtaken.set()


def config_steady(generations: int = 12, **changes: Any) -> RunConfig:
    return config_of(
        search__strategy="mutate_best",
        search__population=ABSENT,
        search__generations=generations,
        search__options={},
        **changes,
    )


def finished(directory: Path, caller: FakeCaller, config: RunConfig | None = None) -> History:
    return carry_out(new_run(directory, config or config_steady()), caller)


def sources(history: History) -> list[str | None]:
    return [life.birth.parent_a for life in history.lives()]


def test_every_member_is_a_separate_generation_and_trained_from_scratch(tmp_path: Path) -> None:
    caller = Workshop(1)
    history = finished(tmp_path / "run", caller)
    assert (history.end, history.reason, history.completed()) == ("done", None, 12)
    assert [[life.status for life in lives] for lives in history.generations] == [["done"]] * 12
    assert {(assignment.parent, assignment.epoch) for assignment in caller.assignments} == {(None, 0)}
    assert history.best
    assert history.best.fom == min(life.fom for life in history.lives() if life.fom is not None)


def test_a_config_that_gives_no_number_of_members_has_three_hundred() -> None:
    config = config_of(
        search__strategy="mutate_best",
        search__population=ABSENT,
        search__generations=ABSENT,
        search__options={},
    )
    assert (config.search.population, config.search.generations) == (1, 300)


def test_nobody_waits_for_a_slow_member_and_children_are_of_those_that_are_done(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", Workshop(3, slow=["g000s000", "g001s000"]))
    assert (history.end, history.completed()) == ("done", 12)
    parents = sources(history)
    assert parents[:3] == [None] * 3
    assert {"g000s000", "g001s000"}.isdisjoint(parents[3:4])
    assert parents[3] == "g002s000"


def test_with_one_worker_every_child_knows_of_all_that_were_before_it(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", Workshop(1))
    strategy = history.config.strategy()
    for life in history.lives():
        assert strategy.founder(life.generation, 0) == life.birth
        strategy.tell([life.as_member()])


def test_a_child_is_born_only_when_there_is_a_worker_for_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    at_work = []

    def watch(assignment: Assignment) -> None:
        at_work.append(sum(life.outcome is None for life in history_of(run).lives()))

    finished(run, Workshop(3, slow=["g000s000", "g001s000"], watch=watch))
    assert 1 <= min(at_work) <= max(at_work) == 3


@pytest.mark.parametrize("workers", [1, 3])
def test_a_run_that_is_killed_at_any_record_resumes(workers: int, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CheckpointStore, "delete", lambda *arguments: None)
        whole = finished(tmp_path / "whole", Workshop(workers))
    journal = (tmp_path / "whole" / "journal.jsonl").read_bytes().splitlines(keepends=True)
    for cut in range(2, len(journal)):
        run = Path(shutil.copytree(tmp_path / "whole", tmp_path / str(cut)))
        (run / "journal.jsonl").write_bytes(b"".join(journal[:cut]))
        history = carry_out(run, Workshop(workers))
        assert (history.end, history.completed()) == ("done", 12)
        if workers == 1:
            assert story(history) == story(whole)


def test_a_lost_attempt_is_made_again_and_a_failed_member_is_not_a_failed_run(tmp_path: Path) -> None:
    def fate(assignment: Assignment) -> Fate:
        if assignment.member == "g004s000":
            return "failed"
        return "lost" if assignment.attempt == 1 and assignment.member < "g003" else "done"

    history = finished(tmp_path / "run", Workshop(2, fate=fate))
    assert history.end == "done"
    assert [life.id for life in history.lives() if life.lost] == [
        "g000s000",
        "g001s000",
        "g002s000",
        "g004s000",
    ]
    assert {len(life.lost) for life in history.lives()} == {0, 1}
    assert [life.id for life in history.lives() if life.status == "failed"] == ["g004s000"]
    assert "g004s000" not in sources(history)


def test_a_workload_that_always_fails_ends_the_run_after_a_few_members(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", Workshop(1, fate=lambda assignment: "failed"))
    assert history.end == "failed"
    assert history.completed() == 3
    assert history.reason
    assert history.reason.startswith("3 of 3 members at the beginning failed")
    assert "Traceback of g000s000" in history.reason


def test_a_run_in_which_all_diverge_fails_and_one_that_diverges_does_not(tmp_path: Path) -> None:
    history = finished(tmp_path / "all", Workshop(1, fate=lambda assignment: "diverged"))
    assert (history.end, history.completed()) == ("failed", 5)
    assert history.reason == "no member so far has a finite validation_loss: all diverged"
    some = finished(
        tmp_path / "some",
        Workshop(1, fate=lambda a: "failed" if a.member == "g001s000" else "diverged"),
    )
    assert some.reason
    assert some.reason.startswith(
        "no member so far has a finite validation_loss: 1 failed, 4 diverged; the first, g001s000:\n"
    )
    one = finished(
        tmp_path / "one", Workshop(1, fate=lambda a: "diverged" if a.member == "g000s000" else "done")
    )
    assert one.end == "done"


def test_failed_members_are_tried_again_where_a_user_asks_for_that(tmp_path: Path) -> None:
    config = config_steady(limits__max_failed_fraction=1.0)
    run = new_run(tmp_path / "run", config)
    carry_out(run, Workshop(1, fate=lambda a: "failed" if a.member < "g002" else "done"))
    again = Workshop(1)
    history = carry_out(run, again, retry=True)
    assert [assignment.member for assignment in again.assignments] == ["g000s000", "g001s000"]
    assert {life.status for life in history.lives()} == {"done"}


def test_when_the_time_is_up_nobody_is_born_and_those_at_work_come_to_their_end(tmp_path: Path) -> None:
    config = config_steady(limits__wall_time_s=20.0)
    clock = FakeClock()
    run = new_run(tmp_path / "run", config)
    history = carry_out(run, Workshop(2, clock=clock), clock=clock)
    assert (history.end, history.reason) == ("done", "limits.wall_time_s = 20 is used up")
    assert 5 <= history.completed() == len(history.generations) < 12


def test_a_birth_counts_the_time_of_the_member_that_was_before_it(tmp_path: Path) -> None:
    clock = FakeClock()
    run = new_run(tmp_path / "run", config_steady(limits__wall_time_s=5 * sum(SECONDS.values())))
    history = carry_out(run, Workshop(1, clock=clock), clock=clock)
    assert (history.end, history.completed()) == ("done", 6)  # the sixth begins when the time is just used up


def test_only_the_best_and_the_last_checkpoints_are_kept(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", Workshop(2))
    kept = {path.name for path in (tmp_path / "run" / "params").iterdir()}
    assert kept == needed_checkpoints(history)
    assert len(kept) <= 2


def test_a_status_counts_members_while_several_are_at_work(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", config_steady())
    caller = Workshop(2, fate=lambda a: "hang" if a.member in ("g003s000", "g005s000") else "done")
    stop(run, caller)
    history = history_of(run)
    status = View("small", FileSource(run)).refresh()
    assert (
        status.generation == history.completed() == sum(life.outcome is not None for life in history.lives())
    )
    assert status.members_done == 0
    assert status.generation >= 3
    assert status.median_fom is None
