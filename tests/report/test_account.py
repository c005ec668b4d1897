"""The account of the workers' time."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evodevo.report.account import PARTS, account, worker_accounts, workers_at_once
from evodevo.run.events import Event, Lost, Result, member_id
from evodevo.run.records import Outcome
from tests.run.fakes import config_of
from tests.run.handmade import Pen

T0 = 1000.0
NOTHING = dict.fromkeys(PARTS, 0.0)


class Book:
    """A run of which is written who did what, and when; times are seconds since the first birth."""

    def __init__(self, members: int = 20) -> None:
        self.pen = Pen(config_of(search__population=members))
        self.pen.founders(members)
        self._events: list[tuple[float, Event]] = []
        self._member = 0

    def trained(
        self, worker: str, at: float, goes_on: bool = False, aside_s: float = 0.0, **seconds: float
    ) -> float:
        """A leg that began at that time; returns its end."""
        outcome = Outcome("diverged", seconds=seconds, aside_s=aside_s)
        end = at + outcome.there_s
        self._events.append((end, Result(self._next(not goes_on), outcome, worker, T0 + at, goes_on)))
        return end

    def lost(self, worker: str, until: float, seconds: float) -> None:
        self._events.append(
            (until, Lost(self._next(), "its worker was lost", worker=worker, seconds=seconds))
        )

    def closed(self) -> Pen:
        """All of it written, in the order in which it happened."""
        for at, event in sorted(self._events, key=lambda one: one[0]):
            self.pen.now = T0 + at
            self.pen.write(event)
        return self.pen

    def _next(self, another: bool = True) -> str:
        member = member_id(0, self._member)
        self._member += another
        return member


def spent(book: Book) -> dict[str, float]:
    """The parts of the account that are something."""
    found = account(book.closed().history)
    assert tuple(found) == PARTS
    return {part: value for part, value in found.items() if value}


def assert_adds_up(pen: Pen) -> None:
    history = pen.history
    found = account(history)
    assert all(value >= 0 for value in found.values())
    whole = history.training_s * workers_at_once(history)
    assert sum(found.values()) == pytest.approx(whole, abs=1e-6)


def test_members_that_took_turns_on_a_worker_add_up_to_its_time() -> None:
    book = Book()
    book.trained("tcp://a", 0, aside_s=9.0, load=1.0, train=5.0, eval=1.0)
    end = book.trained("tcp://a", 1, aside_s=6.0, load=1.0, train=7.0, eval=1.0)
    book.trained("tcp://a", end, train=4.0)
    pen = book.closed()
    assert_adds_up(pen)
    assert account(pen.history) == {**NOTHING, "load": 2.0, "train": 16.0, "eval": 2.0}


def test_what_workers_measured_is_told_by_part_and_loading_the_data_is_start_up() -> None:
    book = Book()
    end = book.trained("tcp://a", 0, prepare=4.0, load=1.0, train=5.0, eval=3.0, save=2.0)
    book.trained("tcp://a", end + 1, wait=1.0, load=1.0, train=5.0, eval=3.0, save=2.0)
    assert spent(book) == {"train": 10, "eval": 6, "load": 2, "save": 4, "wait": 1, "start_up": 4}
    assert_adds_up(book.pen)


def test_every_leg_of_a_life_counts() -> None:
    book = Book()
    book.trained("tcp://a", 0, goes_on=True, train=5.0)
    book.trained("tcp://b", 5, train=3.0, wait=5.0)
    assert spent(book) == {"train": 8, "wait": 5 + 3}


def test_a_worker_that_has_nothing_to_do_any_more_waits_to_the_end() -> None:
    book = Book()
    book.trained("tcp://a", 1, wait=1.0, train=4.0)
    book.trained("tcp://b", 0, train=20.0)
    assert spent(book) == {"train": 24, "wait": 1 + 15}
    assert_adds_up(book.pen)


def test_a_worker_that_comes_later_was_starting_until_then() -> None:
    book = Book()
    book.trained("tcp://a", 0.5, wait=0.5, train=19.5)
    book.trained("tcp://b", 8, train=12.0)
    assert spent(book) == {"train": 31.5, "wait": 0.5, "start_up": 8}
    assert_adds_up(book.pen)


def test_time_until_a_lost_worker_is_back_is_start_up_and_its_lost_attempt_is_lost() -> None:
    book = Book()
    book.trained("tcp://a:1", 0.5, wait=0.5, train=4.5)
    book.lost("tcp://a:1", until=10, seconds=5.0)
    book.trained("tcp://a:2", 14, prepare=1.0, train=9.0)  # restarted, under another address
    assert spent(book) == {"train": 13.5, "wait": 0.5, "lost": 5, "start_up": 4 + 1}
    assert workers_at_once(book.pen.history) == 1
    assert_adds_up(book.pen)


def test_a_worker_that_is_lost_and_stays_away_waits_for_nothing() -> None:
    book = Book()
    book.trained("tcp://b", 0.5, wait=0.5, train=19.5)
    book.lost("tcp://a", until=5, seconds=5.0)
    assert spent(book) == {"train": 19.5, "wait": 0.5, "lost": 5, "start_up": 15}
    assert_adds_up(book.pen)


def test_a_worker_that_lost_an_attempt_and_went_on_waits_to_the_end() -> None:
    book = Book()
    book.lost("tcp://a", until=5, seconds=5.0)
    book.trained("tcp://a", 5, train=5.0)
    book.trained("tcp://b", 0.5, wait=0.5, train=19.5)
    assert spent(book) == {"train": 24.5, "wait": 0.5 + 10, "lost": 5}
    assert_adds_up(book.pen)


def test_time_that_a_worker_did_not_wait_for_this_run_was_spent_elsewhere() -> None:
    book = Book()
    book.trained("tcp://a", 0.5, wait=0.5, train=4.5)
    book.trained("tcp://a", 15, wait=2.0, train=5.0)
    assert spent(book) == {"train": 9.5, "wait": 2.5, "elsewhere": 8}
    assert_adds_up(book.pen)


def test_in_a_journal_of_format_1_waiting_is_what_is_left() -> None:
    book = Book()
    book.trained("tcp://a", 0, load=1.0, train=4.0)
    book.trained("tcp://a", 15, load=1.0, train=4.0)
    book.trained("tcp://b", 0, load=1.0, train=19.0)
    assert spent(book) == {"train": 27, "load": 3, "wait": 10}
    assert_adds_up(book.pen)


def test_a_run_without_results_has_an_empty_account() -> None:
    for pen in (Pen(), Book().closed()):
        assert account(pen.history) == NOTHING
        assert worker_accounts(pen.history) == {}
        assert workers_at_once(pen.history) == 0


def test_a_member_that_failed_on_no_worker_is_on_no_account() -> None:
    book = Book()
    book.pen.write(Result("g000s000", Outcome("failed", error="no attempt came to an end"), None, None))
    assert account(book.pen.history) == NOTHING


def test_the_time_between_two_controllers_is_on_no_account() -> None:
    book = Book()
    book.trained("tcp://a", 0.5, wait=0.5, train=9.5)
    pen = book.closed()
    pen.now += 3600
    pen.controller()
    outcome = Outcome("diverged", seconds={"wait": 1.0, "train": 9.0})
    pen.write(Result("g000s001", outcome, "tcp://a", pen.now + 1))
    pen.now += 10
    pen.write(Result("g000s002", Outcome("diverged"), "tcp://a", pen.now))
    assert pen.history.training_s == 20
    assert_adds_up(pen)


def test_workers_of_a_controller_that_is_gone_do_not_wait_for_the_next_one() -> None:
    book = Book()
    book.trained("tcp://a", 0.5, wait=0.5, train=9.5)
    pen = book.closed()
    pen.now += 3600
    pen.controller()
    pen.now += 10
    pen.write(Result("g000s001", Outcome("diverged", seconds={"train": 10.0}), "tcp://b", pen.now - 10))
    assert workers_at_once(pen.history) == 1
    assert account(pen.history) == {**NOTHING, "train": 19.5, "wait": 0.5}


def test_workers_at_once_are_those_that_were_there_at_one_time() -> None:
    book = Book()
    book.trained("tcp://a", 0, train=10.0)
    book.lost("tcp://b", until=7, seconds=5.0)
    book.lost("tcp://c", until=15, seconds=9.0)
    book.lost("tcp://d", until=20, seconds=1.0)
    assert workers_at_once(book.closed().history) == 3


PART = st.integers(0, 20).map(float)
LEGS = st.lists(st.tuples(st.sampled_from(["trained", "lost", "away"]), PART, PART, PART, PART), max_size=5)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(LEGS, min_size=1, max_size=4))
def test_the_parts_add_up_to_the_time_of_training_times_the_workers(
    workers: Sequence[Sequence[tuple[str, float, float, float, float]]],
) -> None:
    book = Book()
    for number, legs in enumerate(workers):
        now, name = 0.0, f"tcp://{number}:0"
        for count, (what, wait, prepare, train, save) in enumerate(legs):
            if what == "away":
                now += wait
            elif what == "trained":
                now = book.trained(name, now + wait, wait=wait, prepare=prepare, train=train, save=save)
            else:
                now += train
                book.lost(name, until=now, seconds=train)
                now, name = now + wait, f"tcp://{number}:{count + 1}"
    assert_adds_up(book.closed())
