"""Who may write a journal, and what an append that fails leaves behind.

The file itself: test_journal.py; reading it meanwhile: test_journal_tail.py.
"""

import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evodevo.run.journal import Journal, JournalInUse, Superseded, encode, is_live
from tests.run.journals import another_process, descriptors, records_of, write

HOLD = "journal = Journal(path); print('held', flush=True); sys.stdin.read()"
NO_LOCKS = [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


@pytest.fixture(params=NO_LOCKS, ids=errno.errorcode.__getitem__)
def no_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without `flock`."""
    fail_with(request.param, monkeypatch)


def fail_with(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.fixture
def two(path: Path, no_locks: None) -> Iterator[tuple[Journal, Journal]]:
    """Return two controllers of one run, opened one after the other without mutual exclusion."""
    write(path)
    with Journal(path) as older, Journal(path) as newer:
        yield older, newer


def test_a_second_controller_of_this_process_is_refused_while_the_first_one_lives(path: Path) -> None:
    write(path)
    with Journal(path) as first:
        before = descriptors()
        for _ in range(3):
            with pytest.raises(JournalInUse, match=f"{path.parent} is being carried out"):
                Journal(path)
        assert descriptors() == before
        first.append([{"type": "still here"}])
    with Journal(path) as second:
        assert len(second.records) == 4


def test_a_controller_of_another_process_is_respected_until_it_is_killed(path: Path) -> None:
    write(path)
    with another_process(path, HOLD) as child:
        assert is_live(path)
        with pytest.raises(JournalInUse):
            Journal(path)
        child.kill()
        child.wait()
        assert not is_live(path)
        with Journal(path) as journal:
            assert is_live(path)
            assert journal.append([{"type": "controller"}])[0]["n"] == 3


def test_a_run_is_live_only_while_its_journal_is_held(path: Path) -> None:
    assert not is_live(path)
    journal = Journal(path)
    assert [is_live(path) for _ in range(3)] == [True, True, True]
    journal.close()
    assert not is_live(path)
    journal.close()
    assert not is_live(path)


def test_asking_keeps_no_file_open_and_makes_none(path: Path) -> None:
    before = descriptors()
    is_live(path)
    assert list(path.parent.iterdir()) == []
    write(path)
    is_live(path)
    assert descriptors() == before


@pytest.mark.parametrize("age_s", [-1e6, 1e9])
def test_what_the_lock_file_says_and_how_old_it_is_plays_no_part(age_s: float, path: Path) -> None:
    lock = path.with_name("journal.lock")
    lock.write_text(f"{os.getpid()} locked\n")
    then = time.time() - age_s
    os.utime(lock, (then, then))
    assert not is_live(path)
    with Journal(path):
        lock.write_text("")
        os.utime(lock, (then, then))
        assert is_live(path)
        with pytest.raises(JournalInUse):
            Journal(path)


def is_seen_dead(path: Path) -> bool:
    return not is_live(path)


def is_opened(path: Path) -> bool:
    try:
        Journal(path).close()
    except JournalInUse:
        return False
    return True


@pytest.mark.parametrize("other", [is_seen_dead, is_opened])
def test_asking_whether_a_run_is_live_disturbs_nobody(
    other: Callable[[Path], bool], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path)
    close = os.close
    met: list[bool] = []
    meanwhile = threading.Thread(target=lambda: met.append(other(path)))

    def before_closing(descriptor: int) -> None:
        monkeypatch.setattr(os, "close", close)
        meanwhile.start()
        meanwhile.join(timeout=0.2)  # it may wait for the lock, but must not give up immediately
        close(descriptor)

    monkeypatch.setattr(os, "close", before_closing)
    assert not is_live(path)
    meanwhile.join()
    assert met == [True]


def test_without_locks_the_older_controller_is_superseded_at_its_next_append(
    two: tuple[Journal, Journal], path: Path
) -> None:
    older, newer = two
    newer.append([{"type": "controller"}])
    data = path.read_bytes()
    for _ in range(2):
        with pytest.raises(Superseded, match=f"{path} has {len(data)} bytes"):
            older.append([{"type": "late"}])
    assert path.read_bytes() == data
    assert older.count == 3
    newer.append([{"type": "more"}])
    assert [record["type"] for record in records_of(path.read_bytes())[3:]] == ["controller", "more"]


def test_of_records_that_come_too_late_together_none_is_written(
    two: tuple[Journal, Journal], path: Path
) -> None:
    older, newer = two
    newer.append([{"type": "controller"}])
    with pytest.raises(Superseded):
        older.append([{"type": "late"}, {"type": "later"}])
    assert [record["type"] for record in records_of(path.read_bytes())[3:]] == ["controller"]
    assert older.count == 3


def test_without_locks_the_controller_that_appends_first_stays(
    two: tuple[Journal, Journal], path: Path
) -> None:
    older, newer = two
    older.append([{"type": "first"}])
    with pytest.raises(Superseded):
        newer.append([{"type": "late"}])
    assert [record["type"] for record in records_of(path.read_bytes())[3:]] == ["first"]


@pytest.mark.parametrize("change", ["grown", "torn", "shorter", "empty"])
def test_a_file_that_changed_behind_its_back_stops_a_controller_that_has_locks_too(
    change: str, path: Path
) -> None:
    data = write(path)
    with Journal(path) as journal:
        changed = {"grown": data + encode({"n": 3}), "torn": data + b"{", "shorter": data[:-1], "empty": b""}
        path.write_bytes(changed[change])
        with pytest.raises(Superseded):
            journal.append([{"type": "late"}])
    assert path.read_bytes() == changed[change]


def test_another_fault_of_the_lock_is_not_taken_for_a_file_system_without_locks(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = descriptors()
    fail_with(errno.EIO, monkeypatch)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        Journal(path)
    assert descriptors() == before


@pytest.mark.parametrize("room", [0, 1, 20, 80])
def test_a_full_disk_leaves_no_half_record_and_the_next_append_works(
    room: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write(path)
    real, sizes = os.write, []

    def full(descriptor: int, record: bytes) -> int:
        sizes.append(os.fstat(descriptor).st_size)
        if sizes[-1] >= len(data) + room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, record[:room])

    with Journal(path) as journal:
        with monkeypatch.context() as patch, pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            patch.setattr(os, "write", full)
            journal.append([{"type": "lost"}, {"type": "lost too"}])
        assert sizes[-1] == len(data) + room
        assert path.read_bytes() == data
        assert (journal.count, journal.length) == (3, len(data))
        assert journal.append([{"type": "kept"}])[0]["n"] == 3
    assert [record["type"] for record in records_of(path.read_bytes())[3:]] == ["kept"]


def test_a_record_that_cannot_be_flushed_is_not_in_the_journal(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write(path)

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Journal(path) as journal:
        with monkeypatch.context() as patch, pytest.raises(OSError, match=os.strerror(errno.EIO)):
            patch.setattr(os, "fsync", broken)
            journal.append([{"type": "lost"}])
        assert path.read_bytes() == data
        assert journal.append([{"type": "kept"}])[0]["n"] == 3


def test_a_journal_that_somebody_else_has_locked_is_not_waited_for(path: Path) -> None:
    write(path)
    lock = "import fcntl\nfile = open(path)\nfcntl.flock(file, fcntl.LOCK_SH)\nprint(flush=True)\ninput()"
    with another_process(path, lock) as other:
        with pytest.raises(JournalInUse, match=f"{path} is locked by process {other.pid} of this host"):
            Journal(path)
        other.kill()
    Journal(path).close()
