"""A controller that is cancelled, superseded or without a disk, and the one that comes after it."""

import asyncio
import errno
import itertools
import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from evodevo.run import journal as module
from evodevo.run.controller import Controller
from evodevo.run.journal import Journal, JournalInUse, Record, Removed, Superseded, Tail, encode
from evodevo.run.keeper import Keeper
from evodevo.run.setup import JOURNAL
from tests.golden import raises_golden
from tests.run.fakes import (
    EXAMINE,
    RENDER,
    FakeCaller,
    carry_out,
    finished,
    history_of,
    new_run,
    small_machine,
    stop,
    story,
)


def hang_at(number: int) -> FakeCaller:
    """The call of that number gets no answer."""
    count = itertools.count()
    return FakeCaller(lambda a: "hang" if next(count) == number else "done")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return new_run(tmp_path / "run")


@pytest.fixture
def expected(tmp_path: Path) -> list[tuple[object, ...]]:
    """The story of the run that nothing happens to."""
    return story(finished(tmp_path / "never disturbed"))


@pytest.mark.parametrize("by_user", [True, False], ids=["by a user", "as the scheduler closes"])
def test_a_run_cancelled_at_any_call_can_be_resumed_to_the_same_end(
    by_user: bool, tmp_path: Path, expected: list[object]
) -> None:
    for number in range(16):
        run = new_run(tmp_path / str(number))
        task = stop(run, hang_at(number), by_user)
        then = history_of(run)
        assert then.end == ("cancelled" if by_user else None)
        assert task.cancelled() != by_user
        assert len([life for life in then.lives() if life.outcome]) < 16
        history = carry_out(run, FakeCaller())
        assert (history.end, story(history)) == ("done", expected)


def test_a_run_cancelled_during_its_test_evaluation_is_tested_when_it_is_resumed(run: Path) -> None:
    stop(run, FakeCaller(trouble={EXAMINE: None}), by_user=True)
    assert (history_of(run).end, history_of(run).completed()) == ("cancelled", 4)
    assert carry_out(run, FakeCaller()).test


def test_a_run_that_is_done_stays_done_when_its_report_is_cancelled(run: Path) -> None:
    stop(run, FakeCaller(trouble={RENDER: None}), by_user=True)
    history = history_of(run)
    assert history.end == "done"
    assert history.test


def cancel_at_once(run: Path, by_user: bool) -> None:
    """While the journal is being opened."""

    async def main() -> None:
        controller = Controller(run, FakeCaller(), {})
        task = asyncio.create_task(controller.carry_out())
        await asyncio.sleep(0)
        if by_user:
            controller.mark_cancelled()
        task.cancel()
        await asyncio.wait([task])

    with small_machine():
        asyncio.run(main())


def test_a_run_that_is_cancelled_while_its_journal_is_opened_can_be_resumed(run: Path) -> None:
    cancel_at_once(run, by_user=False)
    assert history_of(run).end is None
    assert carry_out(run, FakeCaller()).end == "done"


def test_a_run_that_a_user_cancels_at_once_is_cancelled(run: Path) -> None:
    cancel_at_once(run, by_user=True)
    assert history_of(run).end == "cancelled"


def test_a_user_who_cancels_while_the_end_is_written_comes_too_late(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, cancelled = Journal.append, threading.Event()

    async def main() -> None:
        controller = Controller(run, FakeCaller(), {})
        task = asyncio.create_task(controller.carry_out())
        loop = asyncio.get_running_loop()

        def cancel() -> None:
            controller.mark_cancelled()
            task.cancel()
            loop.call_soon(cancelled.set)

        def interrupted(journal: Journal, records: Sequence[Mapping[str, Any]]) -> list[Record]:
            if records[0]["kind"] == "end" and not cancelled.is_set():
                loop.call_soon_threadsafe(cancel)
                assert cancelled.wait(60)
            return append(journal, records)

        monkeypatch.setattr(Journal, "append", interrupted)
        await asyncio.wait([task])

    with small_machine():
        asyncio.run(main())
    assert [record["status"] for record in Tail(run / JOURNAL).read() if record["kind"] == "end"] == ["done"]


def test_when_carry_out_returns_the_run_is_free(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    returned, close = threading.Event(), Journal.close
    too_early = []

    def slow(journal: Journal) -> None:
        too_early.append(returned.wait(0.2))
        close(journal)

    with small_machine():
        monkeypatch.setattr(Journal, "close", slow)
        asyncio.run(Controller(run, FakeCaller(), {}).carry_out())
        returned.set()
    assert too_early == [False]


def test_a_second_controller_is_refused_and_changes_nothing(run: Path) -> None:
    async def main() -> None:
        caller, second = hang_at(5), FakeCaller()
        first = asyncio.create_task(Controller(run, caller, {}).carry_out())
        await asyncio.wait_for(caller.hanging.wait(), 10)
        kinds = {record["kind"] for record in Tail(run / JOURNAL).read()[:2]}
        with pytest.raises(JournalInUse):
            await Controller(run, second, {"intruder": True}).carry_out()
        assert second.calls == []
        assert kinds == {"run", "controller"}
        first.cancel()
        await asyncio.wait([first])

    with small_machine():
        asyncio.run(main())
    records = Tail(run / JOURNAL).read()
    assert [record for record in records if record["kind"] == "controller" and "intruder" in record] == []


def test_a_superseded_controller_stops_at_its_next_append(run: Path, expected: list[object]) -> None:
    """The intruder comes while the first call of generation 1 is out, and the controller is waiting."""
    left = []

    def intrude(assignment: object) -> None:
        if getattr(assignment, "member", None) == "g001s000":
            records = Tail(run / JOURNAL).read()
            took_over = {"n": len(records), "time": 1.0, "kind": "controller", "retry": False}
            with open(run / JOURNAL, "ab") as file:
                file.write(encode(took_over))
            left.append((run / JOURNAL).read_bytes())

    caller = FakeCaller(watch=intrude)
    with pytest.raises(Superseded), small_machine():
        asyncio.run(Controller(run, caller, {}).carry_out())
    assert [(run / JOURNAL).read_bytes()] == left
    assert {assignment.epoch for assignment in caller.assignments} == {0, 1}
    assert RENDER not in dict(caller.calls)
    history = carry_out(run, FakeCaller())
    assert (history.end, story(history)) == ("done", expected)


@pytest.mark.parametrize("at", ["before", "in the middle", "at the flush"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("number", range(0, 13, 3))
def test_a_run_waits_for_a_disk_that_fails_at_any_record_and_says_so_and_continues(
    number: int, code: int, at: str, run: Path, expected: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that a failing write has left can be removed before the disk is well again."""
    append, count = Journal.append, itertools.count()
    said: list[str | None] = []
    controller = Controller(run, FakeCaller(), {})

    def broken(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    def torn(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[: len(data) // 2])
        broken()

    def failing(journal: Journal, records: Sequence[Mapping[str, Any]]) -> list[Record]:
        if not number <= next(count) < number + 3:
            return append(journal, records)
        said.append(controller.trouble)
        with monkeypatch.context() as disk:
            disk.setattr(os, "ftruncate", broken)
            if at == "at the flush":
                disk.setattr(os, "fsync", broken)
            else:
                disk.setattr(module, "_write_all", torn if at == "in the middle" else broken)
            return append(journal, records)

    with monkeypatch.context() as patched, small_machine():
        patched.setattr(Journal, "append", failing)
        asyncio.run(controller.carry_out())
    history = history_of(run)
    assert (history.end, story(history)) == ("done", expected)
    waits = f"{os.strerror(code)}: {run}"
    assert said == [None, waits, waits]
    assert controller.trouble is None


def test_a_user_may_cancel_a_run_that_waits_for_its_disk(
    run: Path, expected: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    append = Journal.append

    def failing(journal: Journal, records: Sequence[Mapping[str, Any]]) -> list[Record]:
        if journal.count > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return append(journal, records)

    async def main() -> None:
        controller = Controller(run, FakeCaller(), {})
        task = asyncio.create_task(controller.carry_out())
        while not controller.trouble:  # noqa: ASYNC110
            await asyncio.sleep(0)
        controller.mark_cancelled()
        task.cancel()
        with pytest.raises(OSError, match="No space left"):
            await task

    with monkeypatch.context() as broken, small_machine():
        broken.setattr(Journal, "append", failing)
        asyncio.run(main())
    assert history_of(run).end is None
    history = carry_out(run, FakeCaller())
    assert (history.end, story(history)) == ("done", expected)


@pytest.mark.parametrize("kind", [KeyError, GeneratorExit, Exception])
def test_a_fault_inside_the_controller_is_the_reason_that_the_journal_has_and_resume_tries_again(
    kind: type[BaseException], run: Path, expected: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    collect, count = Keeper.collect, itertools.count()

    async def faulty(keeper: Keeper) -> None:
        if next(count) == 3:
            raise kind("a slip")
        await collect(keeper)

    with monkeypatch.context() as broken, small_machine():
        broken.setattr(Keeper, "collect", faulty)
        with pytest.raises(kind if issubclass(kind, Exception) else RuntimeError, match="a slip"):
            asyncio.run(Controller(run, FakeCaller(), {}).carry_out())
    history = history_of(run)
    assert history.end == "failed"
    assert history.reason is not None
    assert "try again with `evodevo resume run`" in history.reason.splitlines()[0]
    assert f"{kind.__name__}: " in history.reason.splitlines()[-1]
    history = carry_out(run, FakeCaller(), retry=True)
    assert (history.end, story(history)) == ("done", expected)


@pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced by another run"])
def test_a_run_whose_directory_is_removed_stops_and_leaves_nothing_behind(
    replaced: bool, tmp_path: Path
) -> None:
    run = new_run(tmp_path / "run")
    count = itertools.count()

    def fate(_: object) -> Literal["lost", "done"]:
        number = next(count)
        if number == 2:
            shutil.rmtree(run)
            if replaced:
                new_run(run)
        return "done" if number < 2 else "lost"  # the directory for a checkpoint is gone

    key = "controller/run-replaced" if replaced else "controller/run-removed"
    with raises_golden(key, Removed, tmp_path):
        carry_out(run, FakeCaller(fate))
    assert run.exists() == replaced
    if replaced:
        assert carry_out(run, FakeCaller()).end == "done"
