"""What is written behind a run: after every member, one at a time, without a part in how the run ends."""

import asyncio
import threading
from pathlib import Path

import pytest

from evodevo.config import RunConfig
from evodevo.report.evolution import CSV, YAML, write_evolution
from evodevo.run import follower
from evodevo.run.controller import Controller
from evodevo.run.follower import Follower, Write
from evodevo.run.history import History
from tests.configs import ABSENT
from tests.run.fakes import FakeCaller, config_of, history_of, new_run, small_machine

MEMBERS = 6


def from_scratch() -> RunConfig:
    return config_of(
        search__strategy="mutate_best",
        search__population=ABSENT,
        search__generations=MEMBERS,
        search__options={},
    )


def followed(directory: Path, follow: Write, config: RunConfig | None = None) -> History:
    new_run(directory, config or from_scratch())
    with small_machine():
        asyncio.run(Controller(directory, FakeCaller(), {}, follow=follow).carry_out())
    return history_of(directory)


@pytest.fixture(autouse=True)
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "REST", 0.0)


def test_the_files_of_an_evolution_are_there_before_the_run_has_ended(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str | None]] = []

    def follow(directory: Path) -> None:
        write_evolution(directory)
        if (directory / CSV).exists():
            rows = len((directory / CSV).read_text().splitlines()) - 1
            members = history_of(directory)
            assert "# Best generation: " in (directory / YAML).read_text()
            seen.append((rows, members.completed(), members.end))

    history = followed(tmp_path / "run", follow)
    assert (history.end, history.completed()) == ("done", MEMBERS)
    assert seen
    assert all(1 <= rows <= done and end is None for rows, done, end in seen)
    assert [rows for rows, _, _ in seen] == sorted(rows for rows, _, _ in seen)


def test_what_cannot_be_written_stops_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def full(directory: Path) -> None:
        raise OSError(28, "No space left on device")

    assert followed(tmp_path / "run", full).end == "done"
    assert "No space left on device" in caplog.text


def test_a_run_whose_members_inherit_is_not_followed(tmp_path: Path) -> None:
    calls: list[Path] = []
    assert followed(tmp_path / "run", calls.append, config_of()).end == "done"
    assert calls == []


def test_nothing_is_written_while_no_member_is_done(tmp_path: Path) -> None:
    directory = new_run(tmp_path / "run", from_scratch())
    write_evolution(directory)
    assert not (directory / CSV).exists()
    assert not (directory / YAML).exists()


def test_what_is_noted_during_a_writing_is_written_once_after_it_and_closing_waits(tmp_path: Path) -> None:
    begun, may_end, calls, at_once = threading.Semaphore(0), threading.Semaphore(0), [], []

    def write(directory: Path) -> None:
        at_once.append(len(calls))
        begun.release()
        may_end.acquire()
        calls.append(directory)

    async def main() -> None:
        following = Follower(tmp_path, write)
        following.note()
        await asyncio.to_thread(begun.acquire)
        for _ in range(3):
            following.note()
        may_end.release()
        await asyncio.to_thread(begun.acquire)
        closing = asyncio.create_task(following.close())
        await asyncio.sleep(0)
        assert not closing.done()
        may_end.release()
        await closing
        following.note()

    asyncio.run(main())
    assert (calls, at_once) == ([tmp_path] * 2, [0, 1])
