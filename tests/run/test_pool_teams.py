"""Claims that need several workers: whole teams or none, and no claim starves."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.run.hall import RUNS, Hall


def test_a_team_is_offered_by_its_first_and_only_as_a_whole() -> None:
    hall = Hall("a", "b", "c")
    guest = hall.ask("one", wants=2, at_once=2)
    assert guest.had == ["a"]
    assert (hall.holding(guest), list(hall.pool.free)) == (["a", "b"], ["c"])
    hall.pool.join("d")
    assert guest.had == ["a", "c"]
    assert hall.work(guest, "c") == "c"
    assert guest.working == ["c", "d"]


def test_workers_of_a_team_are_released_one_by_one_and_a_declined_team_as_a_whole() -> None:
    hall = Hall("a", "b", "c", "d")
    guest = hall.ask("one", wants=2, at_once=2)
    hall.decline(guest, "a")
    assert list(hall.pool.free) == ["a", "b"]
    hall.work(guest, "c")
    hall.finish(guest, "d")
    assert (guest.working, list(hall.pool.free)) == (["c"], ["a", "b", "d"])


def test_the_first_of_a_team_is_a_preferred_worker() -> None:
    hall = Hall("a", "b", "c")
    assert hall.ask("one", at_once=2, prefer=["c"]).had == ["c"]


def test_a_team_is_of_one_kind() -> None:
    hall = Hall("a1", "b1", "c2", "d2")
    hall.ask("one", suits=["a1"])
    guest = hall.ask("two", at_once=2, kind=lambda worker: worker[1])
    assert hall.holding(guest) == ["c2", "d2"]
    assert hall.ask("two", at_once=2, kind=lambda worker: worker[1]).had == []


def test_a_claim_that_needs_more_workers_than_there_are_keeps_none_from_others() -> None:
    hall = Hall("a", "b")
    big = hall.ask("one", at_once=3)
    assert hall.ask("two", wants=2).had == ["a", "b"]
    hall.pool.join("c")
    hall.check()
    assert (big.had, list(hall.pool.free)) == ([], ["c"])
    assert hall.ask("two").had == []  # it waits for the third now


def test_workers_are_kept_for_a_team_beside_claims_that_take_each_as_it_comes() -> None:
    hall = Hall("a", "b", "c")
    many = hall.ask("one", wants=99)
    use_all(hall)
    team = hall.ask("two", at_once=2)
    hall.finish(many, "b")
    assert (team.had, list(hall.pool.free)) == ([], ["b"])
    hall.finish(many, "a")
    assert hall.holding(team) == ["b", "a"]


def test_of_two_that_need_teams_one_gathers() -> None:
    hall = Hall("a", "b", "c")
    alone = hall.ask("three", wants=3)
    use_all(hall)
    first, second = hall.ask("one", at_once=2), hall.ask("two", at_once=2)
    hall.finish(alone, "a")
    hall.finish(alone, "b")
    assert (hall.holding(first), hall.holding(second)) == (["a", "b"], [])
    hall.finish(alone, "c")
    hall.work(first)
    hall.finish(first, "a")
    assert hall.holding(second) == ["c", "a"]


@pytest.mark.parametrize("end", ["withdraw", "want none"])
def test_workers_that_were_kept_are_free_for_all_when_the_claim_wants_nothing_any_more(end: str) -> None:
    hall = Hall("a", "b")
    holder = hall.ask("one")
    hall.work(holder)
    team = hall.ask("two", at_once=2)
    other = hall.ask("three")
    assert (team.had, other.had) == ([], [])
    if end == "withdraw":
        hall.withdraw(team)
    else:
        hall.want(team, 0)
    assert other.had == ["b"]


def test_a_team_that_loses_a_worker_before_it_is_used_is_offered_no_more() -> None:
    hall = Hall("a", "b", "c")
    team = hall.ask("one", at_once=2)
    assert hall.holding(team) == ["a", "b"]
    hall.leave("b")
    assert hall.holding(team) == ["c", "a"]
    hall.leave("c")
    assert (team.offered, list(hall.pool.free)) == (set(), ["a"])
    assert not hall.pool.at_work("a")


def test_workers_that_were_kept_are_free_for_all_when_too_few_are_left() -> None:
    hall = Hall("a", "b", "c")
    holder = hall.ask("two")
    hall.work(holder, "a")
    hall.ask("two", at_once=3)
    other = hall.ask("three")
    assert other.had == []
    hall.leave("c")
    assert other.had == ["b"]


def test_equal_runs_take_turns_so_that_a_team_of_all_workers_leaves_room_for_others() -> None:
    hall = Hall("a", "b")
    team, single = hall.ask("one", wants=9, at_once=2), hall.ask("two", wants=9)
    turns = Counter[str]()
    for _ in range(12):
        use_all(hall)
        turns.update("team" for _ in team.working[:1])
        turns.update("single" for _ in single.working)
        for guest in (team, single):
            for worker in list(guest.working):
                hall.finish(guest, worker)
    assert turns["team"] >= 4
    assert turns["single"] >= 4


def use_all(hall: Hall) -> None:
    for guest in hall.guests:
        while guest.offered:
            hall.work(guest)


SIZES = st.lists(st.integers(1, 5), min_size=2, max_size=3)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.integers(1, 6), SIZES, st.integers(0, 10**6))
def test_every_run_whose_team_the_workers_are_enough_for_is_served_again_and_again(
    workers: int, sizes: list[int], seed: int
) -> None:
    """Runs that always want more, with units that end in any order, all of them in each round."""
    draw = random.Random(seed)
    hall = Hall(*map(str, range(workers)))
    guests = [hall.ask(run, wants=10**6, at_once=size) for run, size in zip(RUNS, sizes, strict=False)]
    served = {guest.run: 0 for guest in guests}
    for now in range(1, 40):
        use_all(hall)
        at_work = [(guest, worker) for guest in guests for worker in guest.working]
        draw.shuffle(at_work)
        for guest, worker in at_work:
            served[guest.run] = now
            hall.finish(guest, worker)
            if draw.random() < 0.5:
                use_all(hall)
        for guest in guests:
            if guest.claim.at_once <= workers:
                assert now - served[guest.run] <= 2 * len(guests)


STEPS = st.tuples(
    st.sampled_from(["join", "leave", "ask", "want", "work", "finish", "decline", "withdraw"]),
    st.integers(0, 59),
)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.lists(STEPS, max_size=60))
def test_whatever_happens_every_claim_that_can_be_satisfied_is_in_the_end(
    steps: list[tuple[str, int]],
) -> None:
    """`Hall.check` says what must hold after every step."""
    hall = Hall("0", "1")
    for step, number in steps:
        guest = hall.guests[number % len(hall.guests)] if hall.guests else None
        match step:
            case "join":
                hall.pool.join(str(number % 5))
            case "leave":
                hall.leave(str(number % 5))
            case "ask":
                suits = None if number % 3 else "013"
                size = 1 + number % 4
                hall.ask(
                    RUNS[number % 3], number % 4, [str(number % 5)], suits, size, kind=lambda one: one < "4"
                )
            case "want" if guest and guest.claim in hall.pool._claims:
                hall.want(guest, len(guest.offered) + number % 3)
            case "work" if guest and guest.offered:
                hall.work(guest)
            case "finish" if guest and guest.working:
                hall.finish(guest, guest.working[number % len(guest.working)])
            case "decline" if guest and guest.offered:
                hall.decline(guest, min(guest.offered))
            case "withdraw" if guest:
                hall.withdraw(guest)
        hall.check()
    for _ in range(200):
        use_all(hall)
        if not (working := [guest for guest in hall.guests if guest.working]):
            break
        hall.finish(working[0])
    assert set(hall.pool.free) == hall.pool.workers
    for guest in hall.guests:
        if guest.waits and guest.claim in hall.pool._claims:
            assert len(hall.suiting(guest, hall.pool.workers)) < guest.claim.at_once
