"""Which worker is too slow, and what counts of two attempts at one member."""

from unittest.mock import patch

import pytest

from evodevo.run import stragglers
from evodevo.run.crew import AttemptsLost, NotBegun, Reported
from evodevo.run.records import Assignment, Outcome
from evodevo.run.stragglers import Stragglers


def assignment(member: str, epochs: int = 1) -> Assignment:
    return Assignment(member, 1, {}, None, 0, 0, epochs=epochs)


def report(member: str, worker: str, train_s: float = 10.0) -> Reported:
    return Reported(assignment(member), Outcome("done", 1.0, seconds={"train": train_s}), worker, 0.0)


@pytest.fixture
def known() -> Stragglers:
    """Three legs of one epoch took 8, 10 and 12 seconds; a member is late from 50 seconds on."""
    found = Stragglers(5.0)
    for number, train_s in enumerate((8.0, 10.0, 12.0)):
        found.sent("a", [assignment(f"early{number}")], 0.0)
        found.filter(report(f"early{number}", "a", train_s), 0.0)
    return found


def test_a_member_is_overdue_after_a_multiple_of_the_median_epoch(known: Stragglers) -> None:
    known.sent("a", [assignment("m")], 100.0)
    assert known.overdue(149.9) == []
    assert known.overdue(150.0) == [("m", "a")]


def test_a_leg_of_several_epochs_has_proportionally_more_time(known: Stragglers) -> None:
    known.sent("a", [assignment("m", epochs=3)], 100.0)
    assert known.overdue(249.9) == []
    assert known.overdue(250.0) == [("m", "a")]


def test_a_unit_has_its_time_anew_with_each_report(known: Stragglers) -> None:
    known.sent("a", [assignment("m"), assignment("n")], 100.0)
    known.filter(report("m", "a"), 140.0)
    assert known.overdue(189.9) == []
    assert known.overdue(190.0) == [("n", "a")]


def test_members_that_take_turns_on_a_worker_have_their_time_together() -> None:
    found = Stragglers(5.0, together=2)
    for number in range(3):
        found.sent("a", [assignment(f"early{number}")], 0.0)
        found.filter(report(f"early{number}", "a"), 0.0)
    found.sent("a", [assignment("m"), assignment("n"), assignment("o")], 100.0)
    assert found.overdue(199.9) == []
    assert len(found.overdue(200.0)) == 3


def test_nobody_is_overdue_before_some_legs_are_known_nor_without_a_factor(known: Stragglers) -> None:
    fresh, never = Stragglers(5.0), Stragglers(None)
    for one in (fresh, never):
        one.sent("a", [assignment("m")], 0.0)
    for _ in range(5):
        never.sent("b", [assignment("n")], 0.0)
        never.filter(report("n", "b"), 0.0)
    assert fresh.overdue(1e9) == never.overdue(1e9) == []


def test_short_epochs_make_nobody_late_within_seconds() -> None:
    found = Stragglers(5.0)
    for number in range(3):
        found.sent("a", [assignment(f"early{number}")], 0.0)
        found.filter(report(f"early{number}", "a", 0.001), 0.0)
    found.sent("a", [assignment("m")], 0.0)
    assert found.overdue(stragglers.SHORTEST_S - 0.1) == []
    assert found.overdue(stragglers.SHORTEST_S) == [("m", "a")]


def test_a_member_that_is_started_twice_is_not_started_a_third_time(known: Stragglers) -> None:
    known.sent("a", [assignment("m")], 0.0)
    known.sent("b", [assignment("m")], 60.0)
    assert not known.is_alone_at("m", "a")
    assert known.overdue(1e9) == []


@pytest.mark.parametrize(("first", "second"), ["ab", "ba"])
def test_the_first_result_counts_and_the_other_is_dropped(known: Stragglers, first: str, second: str) -> None:
    known.sent("a", [assignment("m")], 0.0)
    known.sent("b", [assignment("m")], 60.0)
    one, other = report("m", first), report("m", second)
    assert known.filter(one, 70.0) is one
    assert known.filter(other, 80.0) is None
    known.sent(second, [assignment("m")], 90.0)  # its next leg is another matter
    assert known.filter(other, 95.0) is other


def test_what_a_slow_worker_loses_later_is_dropped_but_for_what_counts(known: Stragglers) -> None:
    known.sent("a", [assignment("m"), assignment("n")], 0.0)
    known.sent("b", [assignment("m")], 60.0)
    known.filter(report("m", "b"), 70.0)
    lost = AttemptsLost([assignment("m"), assignment("n")], "a", "it was lost", False, 9.0)
    kept = known.filter(lost, 80.0)
    assert isinstance(kept, AttemptsLost)
    assert [one.member for one in kept.assignments] == ["n"]
    known.sent("a", [assignment("o")], 90.0)
    assert known.is_alone_at("o", "a")


def test_what_was_not_begun_does_not_go_back_while_another_worker_is_at_it(known: Stragglers) -> None:
    known.sent("a", [assignment("m")], 0.0)
    known.sent("b", [assignment("m")], 60.0)
    assert known.filter(NotBegun([assignment("m")], "b"), 70.0) is None
    assert known.is_alone_at("m", "a")
    back = NotBegun([assignment("m")], "a")
    assert known.filter(back, 80.0) == back


def test_an_attempt_that_is_lost_while_another_one_runs_counts_and_the_other_does_not(
    known: Stragglers,
) -> None:
    known.sent("a", [assignment("m")], 0.0)
    known.sent("b", [assignment("m")], 60.0)
    lost = AttemptsLost([assignment("m")], "b", "it was lost", False, 9.0)
    assert known.filter(lost, 70.0) == lost
    assert known.filter(report("m", "a"), 80.0) is None


def test_nothing_is_kept_of_members_that_are_done(known: Stragglers) -> None:
    with patch.object(stragglers, "SHORTEST_S", 0.0):
        for number in range(100):
            known.sent("a", [assignment(f"m{number}")], 0.0)
            known.sent("b", [assignment(f"m{number}")], 0.0)
            known.filter(report(f"m{number}", "a"), 0.0)
            known.filter(report(f"m{number}", "b"), 0.0)
    assert not known._workers
    assert not +known._count
