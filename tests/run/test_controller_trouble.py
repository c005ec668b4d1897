"""Members whose workers or disks fail, and workers that fail all: the history is that of a quiet run."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from evodevo.run import loop
from evodevo.run.controller import Controller
from evodevo.run.crew import AttemptLost
from evodevo.run.journal import Tail
from evodevo.run.records import Assignment
from evodevo.run.setup import EXAMINE, JOURNAL
from evodevo.run.view import FileSource, View
from tests.run.fakes import (
    WORKERS,
    FakeCaller,
    Fate,
    befall,
    carry_out,
    config_of,
    finished,
    history_of,
    new_run,
    small_machine,
    stop,
    story,
)

BROKEN = WORKERS[0]


@pytest.fixture
def expected(tmp_path: Path) -> list[tuple[object, ...]]:
    """The story of the run that nothing happens to."""
    return story(finished(tmp_path / "never disturbed"))


def on_broken(caller: FakeCaller, fate: Fate) -> Callable[[Assignment], Fate]:
    """What the first worker makes of everything it is given."""
    return lambda a: fate if dict(caller.placed)[a.member] == BROKEN else "done"


@pytest.mark.parametrize("cause", ["worker", "disk"])
def test_a_member_that_loses_ten_attempts_to_workers_or_disks_changes_nothing(
    cause: Fate, tmp_path: Path, expected: list[object]
) -> None:
    caller = FakeCaller(lambda a: cause if a.member == "g001s002" and a.attempt <= 10 else "done")
    pauses: list[int] = []
    with patch.object(loop, "pause_s", lambda failures: pauses.append(failures) or 0.0):
        history = finished(tmp_path / "run", config_of(limits__max_attempts=1), caller)
    assert (history.end, story(history)) == ("done", expected)
    assert history.by_id["g001s002"].attempts == 11
    assert pauses == list(range(1, 11))


def test_a_run_that_is_begun_again_knows_how_often_a_member_was_unlucky(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    fates: dict[int, Fate] = {**dict.fromkeys(range(1, 6), "worker"), 6: "hang"}
    stopped = FakeCaller(lambda a: fates.get(a.attempt, "done") if a.member == "g000s001" else "done")
    stop(run, stopped)
    view = View("run", FileSource(run))
    assert view.refresh().state == "interrupted"
    assert view.history.by_id["g000s001"].unlucky == 5
    assert view.history.trouble == "attempt 5 of g000s001 was lost (g000s001 has lost 5 attempts in a row)"
    assert carry_out(run, FakeCaller()).trouble is None


def test_a_member_may_lose_no_more_workers_than_a_config_allows(tmp_path: Path) -> None:
    caller = befall("worker", "g001s002")
    history = finished(tmp_path / "run", config_of(limits__max_lost_workers=4), caller)
    life = history.by_id["g001s002"]
    assert (history.end, life.status, len(life.lost)) == ("done", "failed", 4)
    mixed = FakeCaller(
        lambda a: (
            ("disk" if a.attempt == 3 else "worker") if a.member == "g001s002" and a.attempt < 6 else "done"
        )
    )
    history = finished(tmp_path / "mixed", config_of(limits__max_lost_workers=3), mixed)
    assert history.by_id["g001s002"].status == "done", "they were not lost in a row"


@pytest.mark.parametrize("fate", ["failed", "raised", "disk"])
def test_one_broken_worker_of_three_changes_nothing(
    fate: Fate, tmp_path: Path, expected: list[object]
) -> None:
    caller = FakeCaller()
    caller._fate = on_broken(caller, fate)
    history = finished(tmp_path / "run", config_of(limits__max_attempts=1), caller)
    assert (history.end, story(history)) == ("done", expected)
    assert history.lost_attempts > 0
    assert {worker for worker, _ in caller.benchings} == {BROKEN}


@pytest.mark.parametrize("fate", ["failed", "raised"])
def test_a_failure_that_another_worker_confirms_is_one_outcome_and_an_attempt_that_does_not_count(
    fate: Fate, tmp_path: Path
) -> None:
    caller = befall(fate, "g001s002")
    run = tmp_path / "run"
    history = finished(run, config_of(limits__max_attempts=1), caller)
    life = history.by_id["g001s002"]
    assert (history.end, life.status) == ("done", "failed")
    first, second = [worker for member, worker in caller.placed if member == life.id]
    assert first != second
    records = [record for record in Tail(run / JOURNAL).read() if record.get("member") == life.id]
    assert [record["kind"] for record in records][:1] == ["lost"]
    assert records[0]["blame"] == "unconfirmed"
    assert [record["kind"] for record in records].count("outcome") == 1


def test_failures_are_believed_at_once_if_the_config_says_so_or_there_is_no_other_worker(
    tmp_path: Path,
) -> None:
    alone = FakeCaller(lambda a: "failed" if a.member == "g001s002" else "done", workers=WORKERS[:1])
    trusting = befall("failed", "g001s002")
    for name, caller, config in (
        ("alone", alone, config_of()),
        ("trusting", trusting, config_of(limits__confirm_failures=False)),
    ):
        history = finished(tmp_path / name, config, caller)
        life = history.by_id["g001s002"]
        assert (life.status, life.attempts, life.lost) == ("failed", 1, ())


def test_a_workload_that_is_wrong_fails_its_run_after_two_attempts_at_each_member(tmp_path: Path) -> None:
    caller = FakeCaller(lambda a: "failed", workers=WORKERS[:2])
    history = finished(tmp_path / "run", caller=caller)
    assert history.end == "failed"
    assert history.reason is not None
    assert "Traceback of g000s000" in history.reason
    assert len(caller.assignments) == 2 * 4
    assert caller.benchings == [], "nobody has succeeded, so that nobody is to blame"


@pytest.mark.parametrize("pace", ["generations", "steady"])
def test_a_worker_that_all_who_wait_avoid_is_not_offered_again_and_again(pace: str, tmp_path: Path) -> None:
    """The other worker hangs, so a member that failed on the first waits for it."""
    steady = {"search__strategy": "mutate_best", "search__population": 1, "search__options": {}}
    run = new_run(tmp_path / "run", config_of(**(steady if pace == "steady" else {})))
    caller = FakeCaller(workers=WORKERS[:2])
    caller._fate = lambda a: "hang" if dict(caller.placed)[a.member] == WORKERS[1] else "failed"

    async def main() -> None:
        task = asyncio.create_task(Controller(run, caller, {}).carry_out())
        await asyncio.wait_for(caller.hanging.wait(), 10)
        for _ in range(50):
            await asyncio.sleep(0.002)
        task.cancel()
        await asyncio.wait([task])

    with small_machine():
        asyncio.run(main())
    assert any(life.raised_on for life in history_of(run).lives())
    assert len(caller.needs) < 50


def test_a_failure_that_was_confirmed_clears_the_worker_that_was_blamed_for_it(tmp_path: Path) -> None:
    caller = befall("failed", "g001s000", "g002s001", "g003s003")
    finished(tmp_path / "run", caller=caller)
    assert caller.benched == {}
    assert all(seconds == 1.0 for _, seconds in caller.benchings)


def test_a_test_evaluation_waits_for_workers_and_disks_and_is_made_on_another_worker(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", config_of(limits__max_attempts=1))
    troubles = iter(["worker", "disk", "worker", "disk"])
    avoided = []

    class Caller(FakeCaller):
        async def call(self, run: str, function: str, *arguments: object, needs: object = None) -> object:
            if function == EXAMINE:
                avoided.append(getattr(needs, "avoid", None))
                if cause := next(troubles, None):
                    raise AttemptLost("no luck", f"tcp://{len(avoided)}", cause)  # type: ignore[arg-type]
            return await super().call(run, function, *arguments)

    history = carry_out(run, Caller())
    assert history.test
    assert avoided == [None, "tcp://1", "tcp://2", "tcp://3", "tcp://4"]
