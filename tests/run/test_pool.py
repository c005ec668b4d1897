"""Who gets the next free worker, and what becomes of it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.run.hall import RUNS, Guest, Hall


def test_a_claim_is_offered_free_workers_at_once_and_no_more_than_it_wants() -> None:
    hall = Hall("a", "b", "c")
    guest = hall.ask("one", wants=2)
    assert guest.offered == {"a", "b"}
    assert (hall.pool.busy("one"), list(hall.pool.free)) == (2, ["c"])


def test_of_the_free_workers_the_one_that_was_free_first_is_given() -> None:
    hall = Hall("a", "b", "c")
    guest = hall.ask("one", wants=3)
    for worker in ("b", "a", "c"):
        hall.work(guest, worker)
    for worker in ("c", "a", "b"):
        hall.finish(guest, worker)
    assert hall.ask("two", wants=3).had == ["c", "a", "b"]


def test_a_worker_in_use_is_not_offered_again_before_it_is_released() -> None:
    hall = Hall("a")
    guest = hall.ask("one", wants=2)
    hall.work(guest)
    assert (guest.had, guest.claim.wants) == (["a"], 1)
    hall.finish(guest)
    assert (guest.had, guest.offered) == (["a", "a"], {"a"})


def test_claims_of_one_run_are_served_in_the_order_in_which_they_came() -> None:
    hall = Hall("a")
    guests = [hall.ask("one") for _ in range(4)]
    for number, guest in enumerate(guests):
        assert [one for one in guests if one.had] == guests[: number + 1]
        hall.work(guest)
        hall.finish(guest)


def test_a_claim_that_wants_more_later_gets_more() -> None:
    hall = Hall("a", "b", "c")
    guest = hall.ask("one", wants=0)
    assert guest.had == []
    hall.want(guest, 1)
    assert guest.had == ["a"]
    hall.want(guest, 3)
    assert guest.had == ["a", "b", "c"]


def test_a_late_run_gets_the_next_free_worker() -> None:
    hall = Hall("a", "b", "c")
    early = hall.ask("one", wants=9)
    for _ in range(3):
        hall.work(early)
    late = hall.ask("two")
    assert late.offered == set()
    hall.finish(early, "b")
    assert late.offered == {"b"}
    assert hall.busy() == [2, 1, 0]


def test_a_run_is_queued_while_it_wants_workers_and_others_hold_all_of_them() -> None:
    hall = Hall("a")
    early = hall.ask("one", wants=9)
    hall.work(early)
    assert not hall.pool.all_busy_elsewhere("one")
    late = hall.ask("two", wants=0)
    assert not hall.pool.all_busy_elsewhere("two")
    hall.want(late, 1)
    assert hall.pool.all_busy_elsewhere("two")
    hall.finish(early)
    assert not hall.pool.all_busy_elsewhere("two")
    assert Hall().pool.all_busy_elsewhere("two") is False


def test_runs_have_equally_many_workers_when_each_worker_came_back_once() -> None:
    hall = Hall(*"abcdef")
    early = hall.ask("one", wants=12)
    for _ in range(6):
        hall.work(early)
    for run in ("two", "three"):
        hall.ask(run, wants=6)
    for worker in list(early.working):
        hall.finish(early, worker)
    assert hall.busy() == [2, 2, 2]


def test_what_is_offered_counts_as_held_so_that_a_slow_run_is_not_given_more() -> None:
    hall = Hall()
    slow, quick = hall.ask("one", wants=9), hall.ask("two", wants=9)
    for worker in "abcd":
        hall.pool.join(worker)
        for held in list(quick.offered):
            hall.work(quick, held)
    assert (len(slow.offered), len(quick.working)) == (2, 2)


def test_a_worker_that_joins_serves_who_waits() -> None:
    hall = Hall()
    guest = hall.ask("one")
    assert guest.had == []
    hall.pool.join("a")
    hall.check()
    assert guest.offered == {"a"}


def test_a_worker_that_joins_twice_is_one_worker() -> None:
    hall = Hall("a", "a")
    guest = hall.ask("one", wants=2)
    hall.pool.join("a")
    hall.work(guest)
    hall.pool.join("a")
    hall.check()
    assert guest.had == ["a"]


def test_a_preferred_worker_is_given_when_it_is_free() -> None:
    hall = Hall("a", "b", "c")
    assert hall.ask("one", prefer=["b"]).had == ["b"]
    assert hall.ask("one", prefer=["c"]).had == ["c"]


def test_a_preferred_worker_is_given_though_most_that_are_preferred_are_busy() -> None:
    hall = Hall("a", "b", "c")
    assert hall.ask("one", prefer=["x", "y", "z", "v", "w", "c"]).had == ["c"]


def test_a_claim_whose_preferred_worker_is_busy_or_gone_takes_another() -> None:
    hall = Hall("a", "b", "c")
    assert hall.ask("one", prefer=["a"]).had == ["a"]
    assert hall.ask("one", prefer=["a"]).had == ["b"]
    assert hall.ask("one", prefer=["nobody"]).had == ["c"]


def test_preference_does_not_go_before_fairness() -> None:
    hall = Hall("a", "b")
    guest = hall.ask("one", wants=2)
    hall.work(guest)
    hall.work(guest)
    mine, other = hall.ask("one", prefer=["a"]), hall.ask("two", prefer=["b"])
    hall.finish(guest, "a")
    assert (mine.had, other.had) == ([], ["a"])


def test_a_worker_that_is_declined_goes_to_who_waits() -> None:
    hall = Hall("a")
    first, second = hall.ask("one"), hall.ask("two")
    hall.decline(first, "a")
    assert (first.offered, second.offered) == (set(), {"a"})


def test_a_claim_that_is_withdrawn_hands_on_what_it_was_offered_and_keeps_what_it_uses() -> None:
    hall = Hall("a", "b")
    first = hall.ask("one", wants=2)
    hall.work(first, "b")
    second = hall.ask("two", wants=2)
    hall.withdraw(first)
    assert (hall.holding(first), second.offered) == (["b"], {"a"})
    hall.finish(first)
    assert (first.offered, second.offered) == (set(), {"a", "b"})


def test_a_claim_that_was_withdrawn_is_offered_nothing_and_can_be_withdrawn_again() -> None:
    hall = Hall()
    guest = hall.ask("one", wants=2)
    hall.pool.withdraw(guest.claim)
    hall.pool.withdraw(guest.claim)
    hall.pool.join("a")
    assert (guest.had, list(hall.pool.free)) == ([], ["a"])


def test_a_worker_that_leaves_while_it_is_free_is_not_given() -> None:
    hall = Hall("a", "b")
    hall.leave("a")
    hall.leave("a")
    assert hall.pool.workers == {"b"}
    assert hall.ask("one", wants=2, prefer=["a"]).had == ["b"]


def test_a_worker_that_leaves_while_it_is_offered_is_not_offered_any_more_and_another_is() -> None:
    hall = Hall("a")
    guest = hall.ask("one")
    hall.leave("a")
    assert (guest.offered, hall.busy()) == (set(), [0, 0, 0])
    hall.pool.join("b")
    hall.check()
    assert guest.offered == {"b"}


def test_a_worker_that_left_while_it_was_used_does_not_come_back_with_its_work() -> None:
    hall = Hall("a")
    hall.work(hall.ask("one"))
    hall.leave("a")
    hall.leave("a")
    assert (hall.pool.workers, hall.pool.busy("one")) == (set(), 0)
    hall.pool.release("a")
    assert hall.pool.workers == set()
    hall.pool.join("a")
    assert hall.ask("two").had == ["a"]


def test_a_worker_that_is_released_twice_is_given_to_one_claim() -> None:
    hall = Hall("a")
    guest = hall.ask("one")
    hall.work(guest)
    hall.finish(guest)
    hall.pool.release("a")
    first, second = hall.ask("one"), hall.ask("two")
    assert (first.had, second.had) == (["a"], [])


def test_a_claim_waits_for_a_worker_that_suits_it_and_others_do_not_wait_behind_it() -> None:
    hall = Hall("a", "b")
    picky, other = hall.ask("one", suits="c"), hall.ask("one")
    late = hall.ask("one", suits="b")
    assert (picky.had, other.had, late.had) == ([], ["a"], ["b"])
    hall.pool.join("c")
    hall.check()
    assert picky.had == ["c"]


def test_a_run_that_no_free_worker_suits_does_not_keep_it_from_another() -> None:
    hall = Hall("a", "b")
    hall.ask("one")
    hall.ask("two", suits="c")
    assert hall.ask("one").had == ["b"]


def test_a_preferred_worker_that_does_not_suit_is_not_given() -> None:
    hall = Hall("a", "b")
    assert hall.ask("one", prefer=["a"], suits="b").had == ["b"]


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.lists(st.integers(0, 99), max_size=30), st.integers(1, 6), st.integers(2, 3))
def test_whatever_comes_back_goes_to_the_run_that_has_the_fewest(
    returns: list[int], workers: int, runs: int
) -> None:
    """All runs have more to do than there are workers, the first had all of them, and workers come back."""
    hall = Hall(*map(str, range(workers)))
    guests = [hall.ask(run, wants=workers + len(returns)) for run in RUNS[:runs]]
    use_all(hall, guests)
    before = hall.busy()[:runs]
    assert before[0] == workers
    for number in returns:
        guest = [one for one in guests for _ in one.working][number % workers]
        hall.finish(guest)
        left = [busy - (one is guest) for busy, one in zip(before, guests, strict=True)]
        after = hall.busy()[:runs]
        (winner,) = [at for at in range(runs) if after[at] > left[at]]
        assert left[winner] == min(left)
        assert max(after) - min(after) <= max(before) - min(before)
        use_all(hall, guests)
        before = after


def use_all(hall: Hall, guests: list[Guest]) -> None:
    for guest in guests:
        while guest.offered:
            hall.work(guest)


STEPS = st.tuples(
    st.sampled_from(["join", "leave", "ask", "want", "work", "finish", "decline", "withdraw"]),
    st.integers(0, 59),
)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.lists(STEPS, max_size=60))
def test_whatever_happens_no_worker_is_lost_shared_or_idle_while_a_claim_waits(
    steps: list[tuple[str, int]],
) -> None:
    """`Hall.check` says what must hold after every step."""
    hall = Hall("0", "1")
    for step, number in steps:
        guest = hall.guests[number % len(hall.guests)] if hall.guests else None
        match step:
            case "join":
                hall.pool.join(str(number % 4))
            case "leave":
                hall.leave(str(number % 4))
            case "ask":
                suits = None if number % 3 else "013"
                hall.ask(RUNS[number % 3], wants=number % 4, prefer=[str(number % 5)], suits=suits)
            case "want" if guest and guest.claim in hall.pool._claims:
                hall.want(guest, len(guest.offered) + number % 3)
            case "work" if guest and guest.offered:
                hall.work(guest)
            case "finish" if guest and guest.working:
                hall.finish(guest)
            case "decline" if guest and guest.offered:
                hall.decline(guest, min(guest.offered))
            case "withdraw" if guest:
                hall.withdraw(guest)
        hall.check()
    for guest in hall.guests:
        hall.withdraw(guest)
        while guest.working:
            hall.finish(guest)
    assert set(hall.pool.free) == hall.pool.workers
