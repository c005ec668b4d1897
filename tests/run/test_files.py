"""Files that are whole or not there, before, during and after a crash."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from evodevo.run.files import replace, write_all_new, write_new
from tests.golden import raises_golden

OLD, NEW = b"old " * 100, b"new " * 150
Write = Callable[[Path, bytes], None]


class Crash(BaseException):
    """The process ends here: no handler for errors catches it."""


def seen(path: Path) -> bytes | None:
    """What a reader finds under the name."""
    return path.read_bytes() if path.exists() else None


def crash_at(name: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have `os.<name>` raise; returns a list that then says it was called."""
    called: list[str] = []

    def crash(*_: object) -> None:
        called.append(name)
        raise Crash

    monkeypatch.setattr(os, name, crash)
    return called


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.csv"


@pytest.mark.parametrize("write", [write_new, replace])
@pytest.mark.parametrize("data", [b"", b"\r\n\x00\xff", NEW])
def test_what_was_written_is_read_back_and_nothing_else_is_left(
    write: Write, data: bytes, path: Path
) -> None:
    write(path, data)
    assert path.read_bytes() == data
    assert list(path.parent.iterdir()) == [path]


def test_replace_replaces(path: Path) -> None:
    replace(path, OLD)
    replace(path, NEW)
    assert path.read_bytes() == NEW
    assert list(path.parent.iterdir()) == [path]


def test_a_new_file_never_takes_a_name_that_is_taken(path: Path) -> None:
    write_new(path, OLD)
    with raises_golden("files/exists", FileExistsError, path=path):
        write_new(path, NEW)
    assert path.read_bytes() == OLD
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_crash_while_replacing_leaves_the_old_file(
    step: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(path, OLD)
    with monkeypatch.context() as patch:
        called = crash_at(step, patch)
        with pytest.raises(Crash):
            replace(path, NEW)
    assert called == [step]
    assert path.read_bytes() == OLD
    replace(path, NEW)
    assert path.read_bytes() == NEW


@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_a_crash_while_writing_leaves_no_new_file_and_the_name_is_still_free(
    step: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        called = crash_at(step, patch)
        with pytest.raises(Crash):
            write_new(path, NEW)
    assert called == [step]
    assert not path.exists()
    write_new(path, NEW)
    assert path.read_bytes() == NEW


@pytest.mark.parametrize("write, before", [(write_new, None), (replace, OLD)])
def test_all_is_on_disk_before_the_name_changes(
    write: Write, before: bytes | None, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[int, int, bytes | None]] = []

    def watched(descriptor: int) -> None:
        file = os.fstat(descriptor)
        flushed.append((file.st_ino, file.st_size, seen(path)))

    if before is not None:
        replace(path, before)
    monkeypatch.setattr(os, "fsync", watched)
    write(path, NEW)
    assert flushed[0] == (path.stat().st_ino, len(NEW), before)


def test_a_new_name_is_on_disk_when_the_writer_is_told_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[int, bytes | None]] = []
    monkeypatch.setattr(os, "fsync", lambda number: flushed.append((os.fstat(number).st_ino, seen(path))))
    write_new(path, NEW)
    assert flushed[-1] == (path.parent.stat().st_ino, NEW)


def test_new_files_that_are_written_together_are_all_there_and_nothing_else(tmp_path: Path) -> None:
    contents = {"one": OLD, "other": NEW, "empty": b""}
    write_all_new(tmp_path, contents)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == contents


def test_all_new_files_are_on_disk_before_any_has_its_name_and_then_their_directory_is_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[int, set[str]]] = []
    names = {"one", "other", "third"}

    def watched(descriptor: int) -> None:
        there = {path.name for path in tmp_path.iterdir() if path.suffix != ".part"}
        flushed.append((os.fstat(descriptor).st_ino, there))

    monkeypatch.setattr(os, "fsync", watched)
    write_all_new(tmp_path, dict.fromkeys(names, NEW))
    *files, directory = flushed
    assert {inode for inode, _ in files} == {(tmp_path / name).stat().st_ino for name in names}
    assert [there for _, there in files] == [set()] * 3
    assert directory == (tmp_path.stat().st_ino, names)


def test_of_several_new_files_none_is_written_if_one_name_is_taken(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(OLD)
    with raises_golden("files/directory-exists", FileExistsError, tmp_path):
        write_all_new(tmp_path, {"one": NEW, "taken": NEW, "other": NEW})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"taken": OLD}


@pytest.mark.parametrize("crash", [1, 2, 3])
def test_a_crash_before_the_last_new_file_is_flushed_leaves_none(
    crash: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []

    def fsync(descriptor: int) -> None:
        flushed.append(descriptor)
        if len(flushed) == crash:
            raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(Crash):
            write_all_new(tmp_path, {"one": NEW, "other": NEW, "third": NEW})
    assert len(flushed) == crash
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_name_that_cannot_be_given_leaves_no_partial_file(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, renamed = os.rename, list[str]()

    def fail(part: str, path: str) -> None:
        if len(renamed) == failing - 1:
            raise OSError("the disk is gone")
        rename(part, path)
        renamed.append(Path(path).name)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fail)
        with pytest.raises(OSError, match="the disk is gone"):
            write_all_new(tmp_path, {"one": NEW, "other": NEW, "third": NEW})
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["one", "other"][: failing - 1]


def test_a_reader_sees_one_whole_file_or_the_other(path: Path) -> None:
    one, other = OLD * 1000, NEW * 1000
    replace(path, other)
    done = threading.Event()

    def write() -> None:
        try:
            for data in (one, other) * 10:
                replace(path, data)
        finally:
            done.set()

    writer = threading.Thread(target=write)
    writer.start()
    found = {path.read_bytes()}
    while not done.is_set():
        found.add(path.read_bytes())
    writer.join()
    assert found <= {one, other}


def test_two_threads_may_replace_one_file_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def other_thread_writes_now(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        other = threading.Thread(target=replace, args=(path, OLD))
        other.start()
        other.join()
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", other_thread_writes_now)
    replace(path, NEW)
    assert path.read_bytes() == NEW
