"""The journal as a file: what is written comes back, and damage of any kind is found.

Who may write it, and when: test_journal_controllers.py.
"""

import errno
import itertools
import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evodevo.run.journal import Journal, JournalError, Superseded, Tail, encode, is_live, parse
from tests.golden import raises_golden
from tests.run.journals import EVENTS, descriptors, records_of, write

NEXT = {"type": "end", "status": "done"}
Read = Callable[[Path], object]


def open_and_close(path: Path) -> None:
    Journal(path).close()


def read_tail(path: Path) -> None:
    Tail(path).read()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what opens hundreds of journals and asks nothing about durability."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def starts(data: bytes) -> list[int]:
    """The byte at which each record begins, and the end."""
    return [0, *itertools.accumulate(len(line) for line in data.splitlines(keepends=True))]


def test_what_was_appended_comes_back_numbered_and_timed(path: Path) -> None:
    clock = iter([10.0, 20.12345, 5.0])
    with Journal(path, clock=lambda: next(clock)) as journal:
        assert journal.records == []
        returned = [journal.append([event])[0] for event in EVENTS]
        assert (journal.count, journal.length) == (3, path.stat().st_size)
        assert journal.records == []
    times = [10.0, 20.123, 5.0]
    expected = [
        {"n": n, "time": time, **event} for n, (time, event) in enumerate(zip(times, EVENTS, strict=True))
    ]
    assert returned == expected
    with Journal(path) as again:
        assert again.records == expected
        assert (again.count, again.length) == (3, path.stat().st_size)
    assert Tail(path).read() == expected
    assert records_of(path.read_bytes()) == expected


def test_records_that_are_appended_together_are_numbered_in_their_order_and_have_one_time(
    path: Path,
) -> None:
    clock = iter([1.0, 2.0])
    with Journal(path, clock=lambda: next(clock)) as journal:
        returned = journal.append(EVENTS[:2]) + journal.append(EVENTS[2:])
        assert journal.count == 3
    assert [(record["n"], record["time"]) for record in returned] == [(0, 1.0), (1, 1.0), (2, 2.0)]
    assert Tail(path).read() == returned == records_of(path.read_bytes())


def test_records_that_are_appended_together_are_flushed_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    with Journal(path) as journal:
        monkeypatch.setattr(os, "fsync", lambda number: flushed.append(os.fstat(number).st_size))
        journal.append(EVENTS * 30)
    assert flushed == [path.stat().st_size]


@pytest.mark.parametrize("left", ["nothing", "a part", "all"])
def test_what_a_failing_disk_has_left_is_removed_by_the_next_append(
    left: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def torn(descriptor: int, data: bytes) -> None:
        os.write(descriptor, {"nothing": b"", "a part": data[:-5], "all": data}[left])
        broken()

    with Journal(path) as journal:
        journal.append([EVENTS[0]])
        with monkeypatch.context() as disk:
            disk.setattr(os, "ftruncate", broken)
            disk.setattr("evodevo.run.journal._write_all", torn)
            for _ in range(2):
                with pytest.raises(OSError, match="No space left"):
                    journal.append([EVENTS[1]])
        journal.append([EVENTS[2], EVENTS[1]])
    records = Tail(path).read()
    assert [record["n"] for record in records] == [0, 1, 2]
    for record, at in zip(records, (0, 2, 1), strict=True):
        assert EVENTS[at].items() <= record.items()


def test_what_somebody_else_has_written_after_a_failing_write_is_not_removed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with Journal(path) as journal:
        journal.append([EVENTS[0]])
        with monkeypatch.context() as disk:
            disk.setattr(os, "fsync", broken)
            with pytest.raises(OSError, match="Input/output"):
                journal.append([EVENTS[1]])
        with open(path, "ab") as other:
            other.write(encode({"n": 1, "kind": "controller"}))
        there = path.read_bytes()
        with pytest.raises(Superseded):
            journal.append([EVENTS[1]])
    assert path.read_bytes() == there


def test_what_somebody_else_has_written_stays_if_it_cannot_be_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with Journal(path) as journal:
        journal.append([EVENTS[0]])
        with open(path, "ab") as other:
            other.write(encode({"n": 1, "kind": "controller"}))
        there = path.read_bytes()
        with monkeypatch.context() as disk:
            disk.setattr(os, "pread", broken)
            with pytest.raises(OSError, match="Input/output"):
                journal.append([EVENTS[1]])
        assert path.read_bytes() == there
        with pytest.raises(Superseded):
            journal.append([EVENTS[1]])
    assert path.read_bytes() == there


def test_a_reopened_journal_continues_with_the_next_number(path: Path) -> None:
    before = write(path)
    with Journal(path) as journal:
        assert journal.append([NEXT])[0]["n"] == 3
    assert path.read_bytes().startswith(before)
    assert [record["type"] for record in records_of(path.read_bytes())] == ["run", "birth", "outcome", "end"]


def test_an_event_cannot_change_its_number(path: Path) -> None:
    write(path, [{"n": 5}])
    assert len(Tail(path).read()) == 1


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, [{"deep": math.nan}], {1, 2}, b"bytes", 1j], ids=str
)
def test_what_json_cannot_hold_is_refused_before_anything_is_written(
    value: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write(path)
    with Journal(path) as journal:
        with monkeypatch.context() as patch, pytest.raises((ValueError, TypeError)):
            patch.setattr(os, "write", lambda *_: pytest.fail("something was written"))
            journal.append([NEXT, {"fom": value}])
        assert path.read_bytes() == data
        assert journal.append([{"fom": 1.0}])[0]["n"] == 3


def test_a_record_is_on_disk_when_append_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[tuple[int, int]] = []

    def watched(descriptor: int) -> None:
        file = os.fstat(descriptor)
        flushed.append((file.st_ino, file.st_size))

    with Journal(path) as journal:
        monkeypatch.setattr(os, "fsync", watched)
        for event in EVENTS:
            journal.append([event])
            file = path.stat()
            assert flushed[-1] == (file.st_ino, file.st_size)
    assert len(flushed) == len(EVENTS)


@pytest.mark.parametrize("cut", ["inside", "whole but for its newline"])
def test_opening_cuts_a_torn_record_off_the_file_and_flushes_that(
    cut: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write(path)
    path.write_bytes(data[: -1 if cut != "inside" else -20])
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_size))
    with Journal(path) as journal:
        assert len(journal.records) == 2
    assert path.read_bytes() == data[: starts(data)[2]]
    assert flushed == [starts(data)[2]]


@pytest.mark.usefixtures("quick_disk")
@pytest.mark.parametrize("count", [1, 3])
def test_a_last_record_cut_at_any_byte_is_dropped_and_appending_continues(count: int, path: Path) -> None:
    data = write(path, EVENTS[:count])
    begin = starts(data)[-2]
    for cut in range(begin, len(data)):
        path.write_bytes(data[:cut])
        assert len(Tail(path).read()) == count - 1
        with Journal(path) as journal:
            assert journal.records == records_of(data)[: count - 1], f"cut at {cut}"
            journal.append([NEXT])
        records = records_of(path.read_bytes())
        assert path.read_bytes()[:begin] == data[:begin], f"cut at {cut}"
        assert [record["type"] for record in records[count - 1 :]] == ["end"], f"cut at {cut}"


def test_any_byte_that_is_altered_lost_or_added_in_a_whole_record_is_found_with_its_place(path: Path) -> None:
    data = write(path)
    begins = starts(data)
    for at, byte in enumerate(data[:-1]):  # the very last byte: see the test below
        number = sum(begin <= at for begin in begins) - 1
        flipped = {byte ^ 1 << bit for bit in range(8)} | {*b'\n\r\0 09a,:"}{'} - {byte}
        added = {bytes([other, byte]) for other in b"\r\0 0"}
        for instead in {b"", *added, *(bytes([other]) for other in flipped)}:
            with pytest.raises(JournalError) as raised:
                parse(data[:at] + instead + data[at + 1 :], "some.jsonl")
            assert str(raised.value).startswith(f"some.jsonl: record {number} at byte {begins[number]} "), at


@pytest.mark.parametrize("other", b"\x0b \0", ids=hex)
def test_the_last_newline_altered_is_found_too(other: int, path: Path) -> None:
    data = write(path)
    path.write_bytes(data[:-1] + bytes([other]))
    with pytest.raises(JournalError):
        open_and_close(path)


@pytest.mark.parametrize("read", [open_and_close, read_tail])
def test_damage_is_an_error_that_changes_no_byte_and_keeps_nothing_open(read: Read, path: Path) -> None:
    whole = write(path)
    data = bytearray(whole)
    place = starts(whole)[1]
    data[place + 12] ^= 4
    path.write_bytes(data + b'{"n":3,"to')
    before = descriptors()
    with pytest.raises(JournalError, match=re.escape(f"{path}: record 1 at byte {place} ")):
        read(path)
    assert path.read_bytes() == data + b'{"n":3,"to'
    assert descriptors() == before
    assert not is_live(path)


@pytest.mark.parametrize(
    "order, wrong",
    [
        ([1, 0, 2, 3], 0),
        ([0, 2, 1, 3], 1),
        ([0, 1, 3, 2], 2),
        ([1, 2, 3], 0),
        ([0, 2, 3], 1),
        ([0, 1, 3], 2),
        ([0, 0, 1, 2, 3], 1),
        ([0, 1, 2, 3, 3], 4),
        ([0, 1, 2, 3, 0], 4),
    ],
    ids=str,
)
@pytest.mark.parametrize("read", [open_and_close, read_tail])
def test_records_swapped_removed_or_duplicated_are_found(
    order: list[int], wrong: int, read: Read, path: Path
) -> None:
    lines = write(path, [*EVENTS, NEXT]).splitlines(keepends=True)
    path.write_bytes(b"".join(lines[number] for number in order))
    place = sum(len(lines[number]) for number in order[:wrong])
    message = f"{path}: record {order[wrong]} at byte {place} is in the place of record {wrong}"
    with pytest.raises(JournalError, match=re.escape(message)):
        read(path)


@pytest.mark.parametrize("line", [b"\n", b"null\n", b"{}\n", b'{"n":0}\n', b',"crc":"}\n', b"\xff\n"])
def test_a_line_without_a_checksum_is_damage(line: bytes) -> None:
    with raises_golden("journal/no-checksum", JournalError):
        parse(line, "some")


def test_an_empty_journal_is_a_run_that_has_no_history_yet(path: Path) -> None:
    path.touch()
    assert Tail(path).read() == []
    with Journal(path) as journal:
        assert journal.records == []


def test_a_line_is_json_that_other_programs_read() -> None:
    line = encode({"n": 0, "name": "α"})
    assert json.loads(line) == {"n": 0, "name": "α", "crc": json.loads(line)["crc"]}
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
