"""Checkpoints on their way to the store."""

import threading
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.records import CheckpointRef
from tests.workers.conftest import PATIENCE_S, wait_until
from workers import publisher as module
from workers.cache import publisher

A_MOMENT_S = 0.05


class Gated:
    """A store that writes when the gate is open, and refuses names with `bad` in them."""

    def __init__(self, url: str = "memory") -> None:
        self.url = url
        self.gate = threading.Event()
        self.begun: list[list[str]] = []
        self.written: list[str] = []

    def write(self, contents: Mapping[str, bytes]) -> None:
        self.begun.append(list(contents))
        assert self.gate.wait(PATIENCE_S)
        bad = [name for name in contents if "bad" in name]
        if bad:
            raise OSError(f"{bad[0]} cannot be written")
        self.written += contents


class Ends:
    """Remembers what the publisher says of each checkpoint, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def of(self, name: str) -> Any:
        return lambda error: self.told.append((name, str(error or "")))


@pytest.fixture
def store() -> Iterator[Gated]:
    made = Gated()
    yield made
    made.gate.set()
    publisher().drain()


@pytest.fixture
def ends() -> Ends:
    return Ends()


def publish(store: Gated, ends: Ends, *names: str, size: int = 3) -> None:
    for name in names:
        ref = CheckpointRef(name, size, "")
        publisher().publish(cast("CheckpointStore", store), ref, b"x" * size, ends.of(name))


def busy(store: Gated, ends: Ends) -> None:
    """Have the publisher at work, until the gate opens."""
    publish(store, ends, "first")
    assert wait_until(lambda: bool(store.begun))


def assert_waits(thread: threading.Thread, store: Gated) -> None:
    thread.start()
    thread.join(A_MOMENT_S)
    assert thread.is_alive()
    store.gate.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_checkpoints_are_written_and_told_of_in_the_order_in_which_they_came(
    store: Gated, ends: Ends
) -> None:
    names = [f"c{number}" for number in range(10)]
    store.gate.set()
    publish(store, ends, *names)
    publisher().drain()
    assert store.written == names
    assert ends.told == [(name, "") for name in names]


def test_what_waits_is_written_together(store: Gated, ends: Ends) -> None:
    busy(store, ends)
    publish(store, ends, "a", "b", "c")
    assert ends.told == []
    store.gate.set()
    publisher().drain()
    assert store.begun == [["first"], ["a", "b", "c"]]


def test_each_of_two_stores_gets_its_own(store: Gated, ends: Ends) -> None:
    other = Gated("other")
    other.gate.set()
    busy(store, ends)
    for name in "abcd":
        publish(store if name in "ac" else other, ends, name)
    store.gate.set()
    publisher().drain()
    assert store.begun == [["first"], ["a", "c"]]
    assert other.begun == [["b", "d"]]
    assert sorted(ends.told) == [(name, "") for name in ("a", "b", "c", "d", "first")]


def test_who_publishes_waits_while_too_many_are_on_their_way(
    store: Gated, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    busy(store, ends)
    publish(store, ends, "a", "b", "c")
    assert_waits(threading.Thread(target=publish, args=(store, ends, "d")), store)
    publisher().drain()
    assert store.written == ["first", "a", "b", "c", "d"]


def test_who_publishes_waits_while_too_many_bytes_are_on_their_way(
    store: Gated, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING_BYTES", 1000)
    busy(store, ends)
    publish(store, ends, "large", size=5000)  # there was room: one that is larger than all is taken alone
    assert_waits(threading.Thread(target=publish, args=(store, ends, "d")), store)
    publisher().drain()
    assert store.written == ["first", "large", "d"]
    publish(store, ends, "e", size=999)  # those that are written take no room
    publisher().drain()
    assert store.written[-1] == "e"


def test_a_checkpoint_that_cannot_be_written_fails_alone(store: Gated, ends: Ends) -> None:
    busy(store, ends)
    publish(store, ends, "a", "bad", "c")
    store.gate.set()
    publisher().drain()
    assert store.written == ["first", "a", "c"]
    assert ends.told == [("first", ""), ("a", ""), ("bad", "bad cannot be written"), ("c", "")]


def test_after_a_failure_the_next_ones_are_written(store: Gated, ends: Ends) -> None:
    store.gate.set()
    publish(store, ends, "bad")
    publisher().drain()
    publish(store, ends, "good")
    publisher().drain()
    assert store.written == ["good"]


@pytest.mark.parametrize("waiting", [(), ("a", "b")], ids=str)
def test_draining_waits_until_everything_is_told(store: Gated, ends: Ends, waiting: tuple[str, ...]) -> None:
    busy(store, ends)
    publish(store, ends, *waiting)
    told: list[int] = []

    def drain() -> None:
        publisher().drain()
        told.append(len(ends.told))

    assert_waits(threading.Thread(target=drain), store)
    assert told == [1 + len(waiting)]


def test_draining_does_not_wait_where_nothing_is_on_its_way() -> None:
    publisher().drain()
    assert publisher() is publisher()
