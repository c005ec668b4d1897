"""Who gets the next free worker, and what becomes of it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run.hall import RUNS, Hall


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a coroutine function as a test; what still waits at its end would be reported by asyncio."""

    def run() -> None:
        asyncio.run(test())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@on_a_loop
async def test_a_call_gets_a_worker_that_is_free_at_once() -> None:
    hall = Hall("a", "b")
    calls = [hall.ask("one"), hall.ask("one")]
    await hall.settled()
    assert {call.worker for call in calls} == {"a", "b"}
    assert hall.places.busy("one") == 2


@on_a_loop
async def test_calls_of_one_run_are_served_in_the_order_in_which_they_came() -> None:
    hall = Hall("a")
    first, *others = (hall.ask("one") for _ in range(4))
    await hall.settled()
    for before, after in zip([first, *others], others, strict=False):
        assert [call.worker for call in hall.holding] == ["a"]
        assert before.worker == "a"
        hall.finish(before)
        await hall.settled()
        assert after.worker == "a"


@on_a_loop
async def test_a_late_run_gets_the_next_free_worker() -> None:
    hall = Hall("a", "b", "c")
    early = [hall.ask("one") for _ in range(9)]
    await hall.settled()
    late = hall.ask("two")
    await hall.settled()
    assert late.worker is None
    hall.finish(early[1])
    await hall.settled()
    assert late.worker is not None
    assert [hall.places.busy(run) for run in ("one", "two")] == [2, 1]
    await hall.close()


@on_a_loop
async def test_runs_have_equally_many_workers_when_each_worker_came_back_once() -> None:
    hall = Hall(*"abcdef")
    early = [hall.ask("one") for _ in range(12)][:6]
    await hall.settled()
    for run in ("two", "three"):
        for _ in range(6):
            hall.ask(run)
    for call in early:
        hall.finish(call)
        await hall.settled()
    assert [hall.places.busy(run) for run in RUNS] == [2, 2, 2]
    await hall.close()


@on_a_loop
async def test_a_worker_that_joins_serves_who_waits() -> None:
    hall = Hall()
    call = hall.ask("one")
    await hall.settled()
    assert hall.waiting == [call]
    hall.places.join("a")
    await hall.settled()
    assert call.worker == "a"


@on_a_loop
async def test_a_worker_that_joins_twice_is_one_worker() -> None:
    hall = Hall("a", "a")
    first, second = hall.ask("one"), hall.ask("one")
    await hall.settled()
    hall.places.join("a")
    await hall.settled()
    assert (first.worker, second.worker) == ("a", None)
    await hall.close()


@on_a_loop
async def test_the_preferred_worker_is_given_when_it_is_free() -> None:
    hall = Hall("a", "b", "c")
    assert (await hall.ask("one", prefer="b").task, await hall.ask("one", prefer="c").task) == ("b", "c")


@on_a_loop
async def test_a_call_whose_preferred_worker_is_busy_or_gone_takes_another() -> None:
    hall = Hall("a", "b", "c")
    assert await hall.ask("one", prefer="a").task == "a"
    assert await hall.ask("one", prefer="a").task in {"b", "c"}
    assert await hall.ask("one", prefer="nobody").task in {"b", "c"}


@on_a_loop
async def test_a_free_worker_goes_to_the_call_that_prefers_it_before_others_of_its_run() -> None:
    hall = Hall("a", "b")
    a, b = hall.ask("one", "a"), hall.ask("one", "b")
    await hall.settled()
    first, second = hall.ask("one", "a"), hall.ask("one", "b")
    await hall.settled()
    hall.finish(b)
    await hall.settled()
    assert (first.worker, second.worker) == (None, "b")
    hall.finish(a)
    await hall.settled()
    assert first.worker == "a"


@on_a_loop
async def test_preference_does_not_go_before_fairness() -> None:
    hall = Hall("a", "b")
    a, _ = hall.ask("one", "a"), hall.ask("one", "b")
    await hall.settled()
    mine, other = hall.ask("one", "a"), hall.ask("two", "b")
    await hall.settled()
    hall.finish(a)
    await hall.settled()
    assert (mine.worker, other.worker) == (None, "a")
    await hall.close()


@pytest.mark.parametrize("steps", range(4))
@pytest.mark.parametrize("is_free", [True, False], ids=["given at once", "waiting"])
def test_a_call_that_is_cancelled_at_any_moment_loses_no_worker(is_free: bool, steps: int) -> None:
    """Cancelled before it began, while it waits, and when its worker was given and it has not looked yet."""

    async def main() -> None:
        hall = Hall("a")
        holder = None if is_free else hall.ask("one")
        await hall.settled()
        call = hall.ask("two")
        for _ in range(steps):
            await asyncio.sleep(0)
        if call.worker:
            hall.finish(call)
        else:
            await hall.cancel(call)
        if holder:
            hall.finish(holder)
        await hall.settled()
        assert await hall.free() == {"a"}

    asyncio.run(main())


@on_a_loop
async def test_a_call_that_is_cancelled_at_the_moment_it_is_given_a_worker_hands_it_on() -> None:
    hall = Hall("a")
    holder = hall.ask("one")
    await hall.settled()
    first, second = hall.ask("two"), hall.ask("two")
    await hall.settled()
    hall.finish(holder)  # the worker is the first's now, who does not know it yet
    await hall.cancel(first)
    await hall.settled()
    assert second.worker == "a"


@on_a_loop
async def test_a_worker_that_leaves_while_it_is_free_is_not_given() -> None:
    hall = Hall("a", "b")
    hall.places.leave("a")
    hall.places.leave("a")
    assert hall.places.workers == {"b"}
    assert await hall.ask("one", prefer="a").task == "b"


@on_a_loop
async def test_a_worker_that_left_while_it_was_taken_does_not_come_back_with_its_call() -> None:
    hall = Hall("a")
    call = hall.ask("one")
    await hall.settled()
    hall.places.leave("a")
    hall.places.leave("a")
    assert (hall.places.workers, hall.places.busy("one")) == (set(), 0)
    hall.places.give_back("a")
    assert hall.places.workers == set()
    hall.calls.remove(call)
    hall.places.join("a")
    assert await hall.free() == {"a"}


@on_a_loop
async def test_a_worker_that_is_given_back_twice_is_given_to_one_call() -> None:
    hall = Hall("a")
    call = hall.ask("one")
    await hall.settled()
    hall.finish(call)
    hall.places.give_back("a")
    calls = [hall.ask("one"), hall.ask("two")]
    await hall.settled()
    assert [call.worker for call in calls] == ["a", None]
    await hall.close()


async def shared_by_busy_runs(returns: list[int], workers: int, runs: int) -> None:
    """All runs have more to do than there are workers, the first had all of them, and workers come back."""
    hall = Hall(*map(str, range(workers)))
    for run in RUNS[:runs]:
        for _ in range(workers + len(returns)):
            hall.ask(run)
        await hall.settled()
    before = {run: hall.places.busy(run) for run in RUNS[:runs]}
    assert before[RUNS[0]] == workers
    for number in returns:
        call = hall.holding[number % workers]
        hall.finish(call)
        await hall.settled()
        after = {run: hall.places.busy(run) for run in before}
        left = {run: busy - (run == call.run) for run, busy in before.items()}
        (winner,) = [run for run in after if after[run] > left[run]]
        assert left[winner] == min(left.values())
        assert max(after.values()) - min(after.values()) <= max(before.values()) - min(before.values())
        before = after
    await hall.close()


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.lists(st.integers(0, 99), max_size=30), st.integers(1, 6), st.integers(2, 3))
def test_whatever_comes_back_goes_to_the_run_that_has_the_fewest(
    returns: list[int], workers: int, runs: int
) -> None:
    asyncio.run(shared_by_busy_runs(returns, workers, runs))


STEPS = st.tuples(
    st.sampled_from(["join", "leave", "ask", "ask", "ask", "finish", "cancel"]), st.integers(0, 59)
)


async def anything(batches: list[list[tuple[str, int]]]) -> None:
    """What is in one batch happens before anybody can look up; `Hall.settled` says what must hold then."""
    hall = Hall("0", "1")
    for batch in batches:
        for step, number in batch:
            match step:
                case "join":
                    hall.places.join(str(number % 4))
                case "leave":
                    await hall.settled()
                    hall.places.leave(str(number % 4))
                    hall.calls = [call for call in hall.calls if call.worker != str(number % 4)]
                case "ask":
                    hall.ask(RUNS[number % 3], prefer=str(number % 5))
                case "finish" if hall.holding:
                    hall.finish(hall.holding[number % len(hall.holding)])
                case "cancel" if hall.waiting:
                    hall.waiting[number % len(hall.waiting)].task.cancel()
        await hall.settled()
        hall.calls = [call for call in hall.calls if not call.task.cancelled()]
    await hall.close()
    for call in hall.holding:
        hall.finish(call)
    assert await hall.free() == hall.places.workers


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.lists(st.lists(STEPS, min_size=1, max_size=4), max_size=25))
def test_whatever_happens_no_worker_is_lost_shared_or_idle_while_a_call_waits(
    batches: list[list[tuple[str, int]]],
) -> None:
    asyncio.run(anything(batches))


@on_a_loop
async def test_a_call_waits_for_a_worker_that_suits_it_and_others_do_not_wait_behind_it() -> None:
    hall = Hall("a", "b")
    picky, other = hall.ask("one", suits="c"), hall.ask("one")
    late = hall.ask("one", suits="b")
    for _ in range(4):
        await asyncio.sleep(0)
    assert (picky.worker, other.worker, late.worker) == (None, "a", "b")
    hall.places.join("c")
    await hall.settled()
    assert picky.worker == "c"


@on_a_loop
async def test_a_run_that_no_free_worker_suits_does_not_keep_it_from_another() -> None:
    hall = Hall("a", "b")
    first = hall.ask("one")
    await hall.settled()
    hall.ask("two", suits="c")
    mine = hall.ask("one")
    for _ in range(4):
        await asyncio.sleep(0)
    assert (first.worker, mine.worker) == ("a", "b")
    hall.places.join("c")
    await hall.settled()


@on_a_loop
async def test_a_preferred_worker_that_does_not_suit_is_not_given() -> None:
    hall = Hall("a", "b")
    assert await hall.ask("one", prefer="a", suits="b").task == "b"
