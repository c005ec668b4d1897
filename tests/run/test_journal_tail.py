"""Reading a journal, and parts of it, while it is being written."""

from pathlib import Path

import pytest

from evodevo.run import journal as journals
from evodevo.run.journal import Excerpts, Journal, JournalError, Tail, parse
from tests.golden import raises_golden
from tests.run.journals import EVENTS, another_process, records_of, write

TRICKLE = """
write = os.write
os.write = lambda descriptor, data: write(descriptor, data[:5])
os.fsync = lambda descriptor: None
print("begun", flush=True)
with Journal(path, clock=lambda: 0.0) as journal:
    for number in range(100):
        journal.append([{"text": "line " * number}])
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def test_a_tail_gives_each_record_once_and_never_a_half_one(path: Path) -> None:
    data = write(path)
    path.write_bytes(b"")
    tail, found = Tail(path), []
    for at, byte in enumerate(data):
        with open(path, "ab") as file:
            file.write(bytes([byte]))
        found += tail.read()
        assert len(found) == data[: at + 1].count(b"\n")
    assert found == records_of(data)
    assert tail.read() == []


def test_a_tail_says_where_in_the_file_the_damage_is(path: Path) -> None:
    data = write(path, EVENTS[:2])
    tail = Tail(path)
    assert len(tail.read()) == 2
    path.write_bytes(data + b'{"n":2,"crc":"00000000"}\n')
    with pytest.raises(JournalError, match=f"record 2 at byte {len(data)} is damaged"):
        tail.read()


def test_a_tail_continues_where_a_torn_record_was_replaced(path: Path) -> None:
    data = write(path)
    tail = Tail(path)
    path.write_bytes(data[:-5])
    assert len(tail.read()) == 2
    with Journal(path) as journal:
        journal.append([{"type": "end"}])
    assert [record["type"] for record in tail.read()] == ["end"]


def test_a_tail_follows_another_process_record_by_record(path: Path) -> None:
    path.touch()
    tail, found = Tail(path), []
    with another_process(path, TRICKLE) as child:
        ended = False
        while not ended:
            ended = child.poll() is not None
            found += tail.read()
        assert child.returncode == 0
    assert [record["n"] for record in found] == list(range(100))
    assert [record["text"] for record in found] == ["line " * number for number in range(100)]
    assert parse(path.read_bytes(), str(path)) == (found, path.stat().st_size)


def test_excerpts_are_the_lines_of_the_records_from_a_number_on_and_no_more_than_asked_for(
    path: Path,
) -> None:
    lines = write(path, EVENTS * 2).decode().splitlines(keepends=True)
    excerpts = Excerpts(path)
    for since in (4, 0, 2, 5):
        for most in (1, 3, 100):
            assert excerpts.read(since, most) == "".join(lines[since : since + most])


@pytest.mark.parametrize("since", [3, 4, 1000])
def test_there_is_no_excerpt_of_what_is_not_there_yet(since: int, path: Path) -> None:
    write(path)
    assert Excerpts(path).read(since, 10) == ""


def test_an_excerpt_has_whole_records_only_and_the_next_one_continues_there(path: Path) -> None:
    data = write(path)
    path.write_bytes(b"")
    excerpts, found = Excerpts(path), ""
    for at, byte in enumerate(data):
        with open(path, "ab") as file:
            file.write(bytes([byte]))
        found += excerpts.read(found.count("\n"), 10)
        assert found.encode() == data[: data.rfind(b"\n", 0, at + 1) + 1]
    assert found.encode() == data


def test_a_record_that_is_longer_than_a_block_of_the_index_is_given_as_a_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "INDEX_BLOCK_BYTES", 7)
    lines = write(path).decode().splitlines(keepends=True)
    excerpts = Excerpts(path)
    assert [excerpts.read(number, 1) for number in range(4)] == [*lines, ""]


def test_an_excerpt_continues_where_a_torn_record_was_replaced(path: Path) -> None:
    data = write(path)
    excerpts = Excerpts(path)
    path.write_bytes(data[:-5])
    assert excerpts.read(0, 10).count("\n") == 2
    with Journal(path) as journal:
        journal.append([{"type": "end"}])
    assert parse(excerpts.read(2, 10).encode(), "", 2)[0][0]["type"] == "end"


def test_excerpts_of_a_file_that_is_not_text_are_damaged_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(bytes(range(256)))
    with raises_golden("journal/not-text", JournalError):
        parse(Excerpts(path).read(0, 10).encode(), "here")
