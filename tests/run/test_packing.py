"""How many members a worker gets at a time, and which."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evodevo.run.life import Life
from evodevo.run.packing import WORTH_A_TASK_S, Backlog, unit_size
from tests.run.handmade import Pen


@pytest.fixture
def lives() -> list[Life]:
    pen = Pen()
    pen.founders(8)
    return list(pen.history.lives())


def ids(lives: list[Life]) -> list[str]:
    return [life.id[-1] for life in lives]


@pytest.mark.parametrize("leg_s", [None, 0.001, 60.0])
def test_a_fixed_size_is_the_size_whatever_else_is_so(leg_s: float | None) -> None:
    assert unit_size(5, 2, 9, leg_s) == 5


def test_while_the_time_of_a_leg_is_unknown_each_is_a_unit() -> None:
    assert unit_size(None, 100, 1, None) == 1


@pytest.mark.parametrize(
    ("leg_s", "size"), [(60.0, 1), (0.1, 1), (0.099, 2), (0.05, 2), (0.001, 100), (0.0, 1000)]
)
def test_a_unit_lasts_as_long_as_a_task_is_worth(leg_s: float, size: int) -> None:
    assert unit_size(None, 1000, 1, leg_s) == size
    assert size * leg_s >= WORTH_A_TASK_S or size == 1000


@pytest.mark.parametrize(
    ("fixed", "ready", "idle", "size"),
    [(None, 99, 1, 8), (None, 9, 2, 5), (None, 3, 1, 3), (None, 8, 8, 1), (3, 99, 1, 8), (20, 99, 1, 20)],
)
def test_a_unit_has_as_many_as_a_worker_trains_at_once_if_there_are_enough_for_all_workers(
    fixed: int | None, ready: int, idle: int, size: int
) -> None:
    for leg_s in (None, 60.0):
        assert unit_size(fixed, ready, idle, leg_s, together=8) == size


@pytest.mark.parametrize(("ready", "idle", "size"), [(8, 4, 2), (9, 4, 3), (3, 4, 1), (0, 4, 1), (7, 0, 7)])
def test_what_is_ready_is_shared_among_the_workers_that_are_idle(ready: int, idle: int, size: int) -> None:
    assert unit_size(None, ready, idle, 1e-9) == size


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 200), st.integers(1, 40), st.none() | st.floats(1e-6, 1.0))
def test_no_idle_worker_is_left_without_because_another_was_given_several(
    ready: int, idle: int, leg_s: float | None
) -> None:
    left = ready
    for served in range(min(ready, idle)):
        assert left > 0, f"only {served} of {idle} workers were given anything"
        left -= unit_size(None, left, idle - served, leg_s)
    if leg_s is not None and math.ceil(ready / idle) * leg_s <= WORTH_A_TASK_S:
        assert left <= 0  # and short legs do not wait


def test_members_are_given_first_come_first_served(lives: list[Life]) -> None:
    backlog = Backlog()
    for life in lives[:5]:
        backlog.add(life, None)
    assert len(backlog) == 5
    assert ids(backlog.take("w", 2)) == ["0", "1"]
    backlog.add(lives[5], None)
    assert ids(backlog.take("x", 9)) == ["2", "3", "4", "5"]
    assert len(backlog) == 0
    assert backlog.take("w", 1) == []


def test_a_worker_is_first_given_those_that_prefer_it_and_then_others(lives: list[Life]) -> None:
    backlog = Backlog()
    for life, prefer in zip(lives, ["a", "b", None, "b", "a"], strict=False):
        backlog.add(life, prefer)
    assert set(backlog.preferred) == {"a", "b"}
    assert ids(backlog.take("b", 3)) == ["1", "3", "0"]
    assert set(backlog.preferred) == {"a"}
    assert ids(backlog.take("c", 1)) == ["2"]
    assert ids(backlog.take("a", 3)) == ["4"]
    assert (set(backlog.preferred), len(backlog)) == (set(), 0)


def test_a_member_whose_preferred_worker_never_comes_is_given_to_another(lives: list[Life]) -> None:
    backlog = Backlog()
    backlog.add(lives[0], "gone")
    assert ids(backlog.take("w", 1)) == ["0"]
    assert (set(backlog.preferred), len(backlog)) == (set(), 0)
    assert backlog.take("gone", 1) == []


def test_a_member_that_lost_an_attempt_goes_alone_and_before_others(lives: list[Life]) -> None:
    backlog = Backlog()
    for life in lives[:4]:
        life.suspect = life.slot in (1, 3)
        backlog.add(life, "w")
    assert len(backlog) == 4
    assert [ids(backlog.take("w", 9)) for _ in range(3)] == [["1"], ["3"], ["0", "2"]]
    assert len(backlog) == 0


def test_a_member_whose_worker_had_to_go_goes_with_others(lives: list[Life]) -> None:
    backlog = Backlog()
    for life in lives[:2]:
        life.lost, life.preempted = ["it had to go"], 1
        backlog.add(life, None)
    assert ids(backlog.take("w", 9)) == ["0", "1"]


@settings(deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.sampled_from([None, "a", "b"]), st.booleans()), max_size=12),
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4)), max_size=12),
)
def test_everybody_is_given_once(
    members: list[tuple[str | None, bool]], takes: list[tuple[str, int]]
) -> None:
    pen = Pen()
    pen.founders(12)
    backlog, left = Backlog(), set()
    for life, (prefer, charged) in zip(pen.history.lives(), members, strict=False):
        life.charged = charged
        backlog.add(life, prefer)
        left.add(life.id)
    for worker, most in [*takes, *[("d", 3)] * 12]:
        given_now = [life.id for life in backlog.take(worker, most)]
        assert len(given_now) <= most
        assert left >= set(given_now)
        left -= set(given_now)
        assert len(backlog) == len(left)
    assert not left
    assert not backlog.preferred
