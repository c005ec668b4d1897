"""The memory of a device that several workers share."""

from pathlib import Path

import pytest

from workers import room
from workers.room import Room


class Moments:
    """Replaces the module `time`; runs what should happen during a wait."""

    def __init__(self, *happens: object) -> None:
        self.now = 0.0
        self._happens = list(happens)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        assert self._happens, "it waits for ever"
        what = self._happens.pop(0)
        if callable(what):
            what()


def never() -> None:
    pytest.fail("it had to wait")


@pytest.fixture
def three(tmp_path: Path) -> list[Room]:
    return [Room(tmp_path / "GPU-5") for _ in range(3)]


def test_workers_share_a_device_without_waiting(three: list[Room]) -> None:
    for one in three:
        one.enter(never)
    assert not any(one.alone for one in three)


def test_one_that_wants_it_alone_waits_for_those_at_work_and_holds_up_those_that_come(
    three: list[Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, c = three
    a.enter(never)
    b.enter(never)
    seen: list[str] = []

    def c_comes() -> None:
        monkeypatch.setattr(room, "time", Moments(a.share))
        c.enter(lambda: seen.append("c waited"))

    monkeypatch.setattr(room, "time", Moments(None, b.leave))
    assert a.have_alone(never, lambda: False)
    assert a.alone
    c_comes()
    assert not a.alone
    b.enter(never)


def test_whoever_waits_says_so_once_a_second(three: list[Room], monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, _ = three
    b.enter(never)
    a.enter(never)
    told: list[float] = []
    moments = Moments(*[None] * 25, b.leave)
    monkeypatch.setattr(room, "time", moments)
    assert a.have_alone(lambda: told.append(moments.now), lambda: False)
    assert [round(at) for at in told] == [1, 2]


def test_of_two_that_want_it_alone_one_has_it_after_the_other(
    three: list[Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, _ = three
    a.enter(never)
    b.enter(never)
    order: list[str] = []

    def b_wants_it_too() -> None:
        monkeypatch.setattr(room, "time", Moments(a_goes_on))
        assert b.have_alone(never, lambda: False)
        order.append("b")
        b.leave()

    def a_goes_on() -> None:
        order.append("a")
        a.leave()

    monkeypatch.setattr(room, "time", Moments(b.leave))
    assert a.have_alone(never, lambda: False)
    b_wants_it_too()
    assert order == ["a", "b"]


def test_one_that_gives_up_waiting_holds_up_nobody(
    three: list[Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, c = three
    a.enter(never)
    b.enter(never)
    patience = iter([False, True])
    monkeypatch.setattr(room, "time", Moments(None))
    assert not a.have_alone(never, lambda: next(patience))
    assert not a.alone
    c.enter(never)
