"""A run's heartbeat on file systems without locks, and when it is trusted."""

import errno
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evodevo.errors import UsageError
from evodevo.run import heartbeat, journal
from evodevo.run.heartbeat import BEAT_S, FILE, FORGOTTEN_S, SILENT_S, Heartbeat, goes_on, sign_in
from evodevo.run.journal import Journal, JournalInUse, Superseded, holder_of
from evodevo.run.view import FileSource, View, refuse_live
from tests.run.handmade import Pen
from tests.run.journals import another_process, write

WITHOUT_LOCKS = """
import errno, fcntl
def refuse(descriptor, operation):
    raise OSError(errno.ENOSYS, "no locks")
fcntl.flock = refuse
"""


class Minutes:
    """A reader's monotonic clock, on which sleeping takes no time; what beats meanwhile does so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept = 0.0
        self.meanwhile: Callable[[], None] = lambda: None

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds
        self.meanwhile()


class Heart:
    """A controller's file on a file system that sets its time by a clock that is `ahead` of the reader's."""

    def __init__(self, directory: Path, minutes: Minutes, ahead: float = 0.0) -> None:
        self.path, self.minutes, self.ahead = directory / FILE, minutes, ahead
        self.beat_at = minutes.now
        self.path.write_text("{}")
        self._set()
        minutes.meanwhile = self.beat

    def beat(self) -> None:
        if self.minutes.now >= self.beat_at + BEAT_S:
            self.beat_at = self.minutes.now
            self._set()

    def stop(self) -> None:
        self.minutes.meanwhile = lambda: None

    def _set(self) -> None:
        then = time.time() + self.ahead + self.minutes.now - 1000.0
        os.utime(self.path, (then, then))


@pytest.fixture
def minutes(monkeypatch: pytest.MonkeyPatch) -> Minutes:
    found = Minutes()
    monkeypatch.setattr(heartbeat, "_seen", {})
    clock = SimpleNamespace(monotonic=lambda: found.now, sleep=found.sleep, time=time.time)
    monkeypatch.setattr(heartbeat, "time", clock)
    return found


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(journal, "SETTLE_S", 0.0)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Pen().save(tmp_path / "run")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "journal.jsonl"
    write(found)
    return found


@pytest.mark.parametrize("ahead", [0.0, -7200.0, 7200.0])
def test_a_heartbeat_continues_if_its_time_changes_whatever_clock_sets_it(
    ahead: float, tmp_path: Path, minutes: Minutes
) -> None:
    Heart(tmp_path, minutes, ahead)
    assert goes_on(tmp_path)
    assert minutes.slept <= BEAT_S + 0.5


@pytest.mark.parametrize("ahead", [0.0, -7200.0, 7200.0])
def test_a_heartbeat_has_ended_if_its_time_stays_whatever_it_is(
    ahead: float, tmp_path: Path, minutes: Minutes
) -> None:
    Heart(tmp_path, minutes, ahead).stop()
    assert not goes_on(tmp_path)
    assert minutes.slept == pytest.approx(SILENT_S, abs=0.5)


def test_what_was_seen_is_remembered_so_that_only_the_first_look_takes_time(
    tmp_path: Path, minutes: Minutes
) -> None:
    heart = Heart(tmp_path, minutes)
    assert goes_on(tmp_path)
    slept = minutes.slept
    for _ in range(100):
        minutes.now += 0.25
        heart.beat()
        assert goes_on(tmp_path)
    heart.stop()
    minutes.now += SILENT_S - 3
    assert goes_on(tmp_path)
    minutes.now += 4
    assert not goes_on(tmp_path)
    minutes.now += 1e5
    assert not goes_on(tmp_path)
    assert minutes.slept == slept


def test_nobody_knows_when_a_beat_since_a_look_of_long_ago_was(tmp_path: Path, minutes: Minutes) -> None:
    heart = Heart(tmp_path, minutes)
    assert goes_on(tmp_path)
    minutes.now += 100
    heart.beat()
    heart.stop()
    assert not goes_on(tmp_path)
    assert minutes.slept > SILENT_S - 0.5


def test_another_controller_that_takes_a_dead_ones_run_over_is_seen(tmp_path: Path, minutes: Minutes) -> None:
    Heart(tmp_path, minutes).stop()
    assert not goes_on(tmp_path)
    minutes.now += 1
    Heart(tmp_path, minutes)
    assert goes_on(tmp_path)


def test_none_a_removed_one_and_one_of_days_ago_need_no_watching(tmp_path: Path, minutes: Minutes) -> None:
    assert not goes_on(tmp_path)
    heart = Heart(tmp_path, minutes, -FORGOTTEN_S - 60)
    assert not goes_on(tmp_path)
    assert minutes.slept == 0.0
    heart = Heart(tmp_path, minutes)
    minutes.meanwhile = heart.path.unlink
    assert not goes_on(tmp_path)
    assert minutes.slept < 1


def test_a_heartbeat_says_who_and_where_it_is_and_is_gone_when_it_has_ended_in_order(tmp_path: Path) -> None:
    beating = Heartbeat(tmp_path, locks=False)
    beating.begin()
    sign = sign_in(tmp_path)
    assert sign is not None
    assert (sign.host, sign.pid, sign.locks, sign.is_here) == (socket.gethostname(), os.getpid(), False, True)
    beating.end()
    assert list(tmp_path.iterdir()) == []
    assert "evodevo-heartbeat" not in {thread.name for thread in threading.enumerate()}


def test_the_thread_renews_it_and_a_disk_that_fails_does_not_end_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed = threading.Event()
    faults = [OSError(errno.EIO, "no disk")] * 2

    def utime(path: Path) -> None:
        if faults:
            raise faults.pop()
        renewed.set()

    monkeypatch.setattr(heartbeat, "BEAT_S", 0.001)
    monkeypatch.setattr(os, "utime", utime)
    beating = Heartbeat(tmp_path, locks=False)
    beating.begin()
    assert renewed.wait(60)
    beating.end()


def test_each_outage_of_the_disk_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    over = threading.Event()
    outages = iter([False, True, True, False, True, True, True])

    def utime(path: Path) -> None:
        fails = next(outages, None)
        if fails is None:
            over.set()
        elif fails:
            raise OSError(errno.EIO, "no disk")

    monkeypatch.setattr(heartbeat, "BEAT_S", 0.001)
    monkeypatch.setattr(os, "utime", utime)
    beating = Heartbeat(tmp_path, locks=False)
    beating.begin()
    assert over.wait(60)
    beating.end()
    assert sum("could not be renewed" in record.message for record in caplog.records) == 2


def test_a_heart_does_not_beat_in_anothers_file_nor_take_it_away(tmp_path: Path) -> None:
    older, newer = Heartbeat(tmp_path, locks=False), Heartbeat(tmp_path, locks=False)
    older.begin()
    assert older.beat()
    newer.begin()
    assert (older.beat(), newer.beat()) == (False, True)
    older.end()
    assert newer.is_own()
    newer.end()
    assert not newer.beat()


def test_half_a_file_is_a_controller_of_which_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"id": "5')
    assert sign_in(tmp_path) is not None


def test_without_locks_a_second_controller_is_refused_while_the_first_ones_heart_beats(
    path: Path, no_locks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.01)
    monkeypatch.setattr(heartbeat, "LOOK_S", 0.01)
    with Journal(path, beats=True) as first:
        who = f"process {os.getpid()} on {socket.gethostname()}"
        how = "its heartbeat continues; this file system has no locks"
        with pytest.raises(JournalInUse) as refused:
            Journal(path, beats=True)
        assert str(refused.value) == f"{path.parent} is being carried out by {who} ({how})"
        first.append([{"type": "still here"}])
    assert holder_of(path) is None
    with Journal(path, beats=True) as second:
        assert len(second.records) == 4


def test_without_locks_a_controller_that_is_killed_is_dead_when_its_heart_has_been_silent(
    path: Path, no_locks: None, minutes: Minutes
) -> None:
    hold = WITHOUT_LOCKS + "journal = Journal(path, beats=True); print('held', flush=True); sys.stdin.read()"
    with another_process(path, hold) as child:
        child.kill()
        child.wait()
    assert sign_in(path.parent) is not None
    assert holder_of(path) is None
    assert minutes.slept == pytest.approx(SILENT_S, abs=0.5)
    Journal(path, beats=True).close()
    assert minutes.slept < 2 * SILENT_S


def test_without_locks_a_stalled_controller_is_superseded_before_the_newer_one_has_appended_anything(
    path: Path, no_locks: None, minutes: Minutes
) -> None:
    older = Journal(path, beats=True)
    data = path.read_bytes()
    with Journal(path, beats=True):  # as the older one has been silent, by the reader's clock
        with pytest.raises(Superseded, match=FILE):
            older.append([{"type": "late"}])
        assert path.read_bytes() == data
        older.close()
        assert sign_in(path.parent) is not None


def test_of_two_that_begin_at_once_without_locks_the_one_that_said_so_first_gives_way(
    path: Path, no_locks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[Heartbeat] = []

    def meanwhile(seconds: float) -> None:
        others.append(Heartbeat(path.parent, locks=False))
        others[-1].begin()

    monkeypatch.setattr(journal, "time", SimpleNamespace(sleep=meanwhile, time=time.time))
    with pytest.raises(JournalInUse, match="this file system has no locks"):
        Journal(path, beats=True)
    assert others[0].is_own()
    others[0].end()


def test_a_free_lock_is_believed_of_a_process_of_this_host_and_no_time_is_lost(
    path: Path, minutes: Minutes
) -> None:
    with Journal(path, beats=True):
        holder = holder_of(path)
        assert holder is not None
        assert str(holder) == f"process {os.getpid()} on {socket.gethostname()} (it holds the lock)"
        left = (path.parent / FILE).read_text()
    (path.parent / FILE).write_text(left)  # as after a kill
    assert holder_of(path) is None
    assert minutes.slept == 0.0


@pytest.mark.parametrize("change", [{"host": "n7"}, {"locks": False}], ids=["other host", "it had none"])
def test_a_free_lock_says_nothing_of_who_took_it_elsewhere_or_had_none(
    change: dict[str, Any], path: Path, minutes: Minutes
) -> None:
    """As on NFS with `nolock`, or where nodes mount one Lustre differently."""
    sign = {"id": "5", "host": socket.gethostname(), "pid": 42, "locks": True} | change
    heart = Heart(path.parent, minutes)
    heart.path.write_text(json.dumps(sign))
    holder = holder_of(path)
    assert holder is not None
    assert f"process 42 on {sign['host']} (its heartbeat continues; its lock is not seen" in str(holder)
    with pytest.raises(JournalInUse, match="process 42"):
        Journal(path, beats=True)
    heart.stop()
    minutes.now += SILENT_S + 1
    assert holder_of(path) is None


def test_with_a_lock_a_heartbeat_that_cannot_be_written_stops_nobody(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("evodevo.run.files.replace", full)
    with Journal(path, beats=True) as held:
        held.append([{"type": "on"}])
        assert str(holder_of(path)) == "another controller (it holds the lock)"


@pytest.fixture
def beating(run: Path, no_locks: None, minutes: Minutes) -> Iterator[Heart]:
    """A live controller of the run on another host."""
    heart = Heart(run, minutes)
    heart.path.write_text(json.dumps({"id": "5", "host": "n7", "pid": 42, "locks": False}))
    (run / "journal.lock").touch()
    yield heart


def test_without_locks_a_run_is_seen_as_running_and_then_as_interrupted(
    run: Path, beating: Heart, minutes: Minutes
) -> None:
    view = View("run", FileSource(run))
    status = view.refresh()
    assert status.state == "running"
    who = "process 42 on n7 (its heartbeat continues; this file system has no locks)"
    assert status.message == f"carried out by {who}"
    with pytest.raises(UsageError, match=r"'run' is being carried out by .*: process 42 on n7"):
        refuse_live(run)
    beating.stop()
    minutes.now += SILENT_S + BEAT_S
    assert (view.refresh().state, view.status().message) == ("interrupted", None)
    refuse_live(run)
