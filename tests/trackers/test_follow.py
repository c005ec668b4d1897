"""How a tracker follows a run: from the beginning, again after a failure, and until the run is over."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from evodevo.run.history import History
from evodevo.run.journal import JOURNAL
from evodevo.run.tracking import configured, problems_in
from evodevo.run.view import FileSource, View
from evodevo.trackers.base import Tracker
from evodevo.trackers.follow import Notes, alone, follow, until_closed
from tests.run.handmade import Pen
from tests.trackers.stories import story


class Ledger(Tracker):
    """Writes down the members whose lives are over; `trouble` are the failures that are still to come."""

    sessions: ClassVar[list[list[str]]] = []
    trouble: ClassVar[list[Exception]] = []
    closed: ClassVar[int] = 0

    def __init__(self, directory: Path, options: Any) -> None:
        super().__init__(directory, options)
        self.told: list[str] = []
        Ledger.sessions.append(self.told)

    def update(self, history: History) -> None:
        if Ledger.trouble:
            raise Ledger.trouble.pop(0)
        self.told += [life.id for life in history.over[len(self.told) :]]

    def close(self) -> None:
        Ledger.closed += 1


@pytest.fixture(autouse=True)
def ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "sessions", [])
    monkeypatch.setattr(Ledger, "trouble", [])
    monkeypatch.setattr(Ledger, "closed", 0)


class Waits:
    """Stands for time that passes: each wait does the next thing; after the last one the run is over."""

    def __init__(self, *things: Callable[[], Any]) -> None:
        self.things = list(things)
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        if not self.things:
            return True
        self.things.pop(0)()
        return False


def told(directory: Path, *things: Callable[[], Any]) -> tuple[bool, list[str]]:
    """Follow the run; return whether all was told, and what was noted."""
    notes: list[str] = []
    return follow(directory, Ledger, Ledger.Options(), Waits(*things), notes.append), notes


def nothing() -> None:
    pass


def test_what_is_written_meanwhile_is_told_and_what_is_written_last_as_well(tmp_path: Path) -> None:
    pen = Pen()
    pen.founders(2)
    pen.save(tmp_path)

    def more() -> None:
        pen.done(g000s000=1.0)
        pen.save(tmp_path)

    def last() -> None:  # the run is over as soon as this is there
        pen.done(g000s001=2.0)
        pen.end()
        pen.save(tmp_path)

    assert told(tmp_path, more, last)[0]
    assert Ledger.sessions == [["g000s000", "g000s001"]]
    assert Ledger.closed == 1


def test_a_failure_is_noted_and_all_is_told_again_from_the_beginning(tmp_path: Path) -> None:
    pen = story()
    pen.save(tmp_path)
    Ledger.trouble[:] = [ConnectionError("no\nroute"), ConnectionError("no\nroute")]
    everything = [life.id for life in pen.history.over]
    assert told(tmp_path, nothing, nothing) == (True, ["ConnectionError: no route"] * 2 + ["", ""])
    assert Ledger.sessions == [[], [], everything]
    assert Ledger.closed == 3


def test_after_a_run_is_over_it_is_tried_once_more_and_then_given_up(tmp_path: Path) -> None:
    story().save(tmp_path)
    Ledger.trouble[:] = [ValueError("bad"), ValueError("worse"), ValueError("never raised")]
    assert told(tmp_path) == (False, ["ValueError: bad", "ValueError: worse"])
    assert len(Ledger.trouble) == 1
    Ledger.trouble[:] = [ValueError("bad")]
    assert told(tmp_path) == (True, ["ValueError: bad", ""])


def test_another_controller_may_try_members_again_so_all_is_told_anew(tmp_path: Path) -> None:
    pen = Pen()
    pen.founders(2)
    pen.done(g000s000=1.0)
    pen.failed("g000s001")
    pen.end("failed")
    pen.save(tmp_path)

    def resume() -> None:
        pen.controller("g000s001")
        pen.done(g000s001=2.0)
        pen.save(tmp_path)

    assert told(tmp_path, resume, nothing)[0]
    assert Ledger.sessions == [["g000s000", "g000s001"], ["g000s000", "g000s001"]]


def test_a_run_that_is_removed_or_replaced_is_not_followed_any_more(tmp_path: Path) -> None:
    story().save(tmp_path)
    assert told(tmp_path, (tmp_path / JOURNAL).unlink, nothing)[0]

    def replace() -> None:
        kept = (tmp_path / JOURNAL).rename(tmp_path / "kept")
        story().save(tmp_path)
        assert kept.exists()

    story().save(tmp_path)
    waits = Waits(replace, nothing, nothing)
    assert follow(tmp_path, Ledger, Ledger.Options(), waits, lambda _: None)
    assert len(waits.seconds) == 1


def test_what_is_wrong_is_in_the_status_while_it_is_wrong(tmp_path: Path) -> None:
    story().save(tmp_path)
    (tmp_path / "trackers").mkdir()
    note = Notes(tmp_path / "trackers" / "mlflow.problem")
    note("ConnectionError: no route")
    assert problems_in(tmp_path) == ["tracker mlflow: ConnectionError: no route"]
    assert (
        View("small", FileSource(tmp_path)).refresh().message == "tracker mlflow: ConnectionError: no route"
    )
    Notes(tmp_path / "trackers" / "mlflow.problem")("")
    assert View("small", FileSource(tmp_path)).refresh().message is None


def test_one_process_at_a_time_has_the_lock_and_another_waits_for_it(tmp_path: Path) -> None:
    waits = Waits(nothing, nothing)
    with alone(tmp_path, "mlflow", waits) as first:
        assert first
        with alone(tmp_path, "mlflow", waits) as second:
            assert not second
    assert len(waits.seconds) == 3
    with alone(tmp_path, "mlflow", lambda _: True) as third:
        assert third


def test_an_input_that_is_closed_ends_the_wait() -> None:
    reading, writing = os.pipe()
    try:
        wait = until_closed(reading)
        assert not wait(0.0)
        os.close(writing)
        assert wait(100.0)
        assert wait(100.0)
    finally:
        os.close(reading)


def test_the_config_of_a_run_names_its_trackers_and_old_runs_have_none(tmp_path: Path) -> None:
    pen = story()
    pen.save(tmp_path / "now")
    assert configured(tmp_path / "now") == {}
    del pen.records[0]["config"]["run"]["trackers"]
    pen.save(tmp_path / "old")
    assert configured(tmp_path / "old") == {}
