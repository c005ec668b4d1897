"""The dispatcher's bookkeeping, with a scheduler and a client that only seem to be."""

import asyncio
import functools
import json
import time
from collections.abc import Callable, Coroutine, Sequence
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from evodevo.errors import Unfit, UsageError
from evodevo.run.crew import (
    ANYTHING,
    AttemptLost,
    AttemptsLost,
    Crew,
    Inbox,
    Message,
    Needs,
    NotBegun,
    Offered,
    Reported,
)
from evodevo.run.dispatch import QUEUED_S, Dispatcher
from evodevo.run.posting import KILL_AFTER_S
from evodevo.run.records import STREAM, Assignment, Job, Outcome, WorkUnit
from evodevo.run.roster import MOST_REASONS, Unused
from evodevo.run.setup import RUN_UNIT
from evodevo.versions import own_versions
from tests.golden import assert_golden, raises_golden

GOOD = {"problem": None, "versions": own_versions(), "device": "cpu", "ends_at": None}
DONE = Outcome("done", 0.5)


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop that does not sleep: its clock jumps to when there is something to do."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        selector: Any = self._selector  # type: ignore[attr-defined]
        self._select = selector.select
        selector.select = self._jump

    def time(self) -> float:
        return self.now

    def _jump(self, timeout: float | None) -> Any:
        assert timeout is not None, "everybody waits for ever"
        self.now += timeout
        return self._select(0)


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*arguments: Any, **more: Any) -> None:
        loop = JumpingLoop()
        jumping = SimpleNamespace(monotonic=loop.time, time=time.time)
        clocks = patch("evodevo.run.dispatch.time", jumping), patch("evodevo.run.posting.time", jumping)
        with clocks[0], clocks[1], asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(test(*arguments, **more))

    return run


async def settled() -> None:
    """Everything that can happen now has happened."""
    for _ in range(10):
        await asyncio.sleep(0)


class FakeFuture:
    """A Dask future that a test ends by hand."""

    def __init__(self) -> None:
        self.ending: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.released = False

    def __await__(self) -> Any:
        return asyncio.shield(self.ending).__await__()  # who stops waiting does not end it

    async def exception(self) -> BaseException | None:
        await asyncio.wait([self.ending])
        return None if self.ending.cancelled() else self.ending.exception()

    def cancelled(self) -> bool:
        return self.ending.cancelled()

    def release(self) -> None:
        self.released = True


class Submitted:
    """A task that was given to a worker."""

    def __init__(self, cluster: "Cluster", worker: str, key: str, call: Callable[[], Any]) -> None:
        self.cluster = cluster
        self.worker = worker
        self.key = key
        self.call = call
        """What the worker does."""
        self.future = FakeFuture()

    async def end(self, result: Any = None) -> None:
        self.future.ending.set_result(result)
        await settled()

    async def fail(self, why: Exception) -> None:
        self.future.ending.set_exception(why)
        await settled()

    async def report(self, *reports: dict[str, Any], worker: str | None = None) -> None:
        hear = self.cluster.stream_handlers[STREAM]
        hear(worker=worker or self.worker, key=self.key, reports=json.dumps(reports))
        await settled()


class Box(Inbox):
    """Keeps what comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Message] = []

    def put(self, message: Message) -> None:
        self.messages.append(message)

    def empty(self) -> list[Message]:
        messages, self.messages = self.messages, []
        return messages


class Cluster:
    """A scheduler's workers, and the tasks that were submitted to them."""

    def __init__(self, *workers: str) -> None:
        self.workers: dict[str, Any] = {}
        self.stream_handlers: dict[str, Any] = {}
        self.submitted: list[Submitted] = []
        self.closed: list[str] = []
        self.restarted: list[str] = []
        self.now = 1000.0
        self.dispatcher = Dispatcher(self, self, lambda: self.now)  # type: ignore[arg-type]
        for worker in workers:
            self.join(worker)

    def join(self, worker: str, about: dict[str, Any] | None = GOOD, nanny: str | None = None) -> None:
        self.workers[worker] = SimpleNamespace(extra={"evodevo": about} if about else {}, nanny=nanny)
        self.dispatcher.worker_joined(worker)

    def leave(self, worker: str) -> None:
        del self.workers[worker]
        self.dispatcher.worker_left(worker)

    def submit(
        self, function: Callable[..., Any], *arguments: Any, workers: list[str], **options: Any
    ) -> FakeFuture:
        assert (options["allow_other_workers"], options["pure"]) == (False, False)
        (worker,) = workers
        call = functools.partial(function, *arguments)
        self.submitted.append(Submitted(self, worker, options["key"], call))
        return self.submitted[-1].future

    def close_worker(self, worker: str) -> None:
        self.closed.append(worker)

    async def restart_workers(self, workers: list[str], **_: Any) -> None:
        self.restarted += workers
        for worker in workers:
            self.leave(worker)

    async def call(self, **needs: Any) -> "asyncio.Task[Any]":
        task = asyncio.create_task(self.dispatcher.call("run", "operator:add", 40, 2, needs=Needs(**needs)))
        await settled()
        return task

    def crew(self, wants: int = 1, run: str = "run") -> tuple[Crew, Box]:
        """A crew that wants workers, and what it hears."""
        box = Box()
        crew = self.dispatcher.enlist(run, box)
        crew.want(wants, ANYTHING, ())
        return crew, box

    async def at_work(self, unit: WorkUnit) -> tuple[Submitted, Box, Crew]:
        """A unit that is on a worker; its run wants no other."""
        crew, box = self.crew()
        ((worker),) = [message.worker for message in box.empty() if isinstance(message, Offered)]
        assert crew.send(worker, unit)
        crew.want(0, ANYTHING, ())
        await settled()
        return self.submitted[-1], box, crew


def unit_of(*members: str, timeout_s: float | None = None, epochs: int = 1, at_once: int = 1) -> WorkUnit:
    job = Job("run", {}, "loss", "/params", None, 1, timeout_s, members_per_device=at_once)
    return WorkUnit(job, [Assignment(member, 1, {}, None, 0, 1, epochs=epochs) for member in members])


def began(index: int) -> dict[str, Any]:
    return {"index": index}


def done(index: int) -> dict[str, Any]:
    return {"index": index, "outcome": DONE.to_json(), "started_at": 7.0 + index}


def lost(index: int) -> dict[str, Any]:
    return {"index": index, "lost": "OSError: the disk is full", "seconds": 2.5}


def summed_up(messages: Sequence[Message]) -> list[tuple[str, list[str]]]:
    """What kind of message each is, and about which members, or worker."""
    found = []
    for message in messages:
        match message:
            case Reported():
                about = [message.assignment.member]
            case Offered():
                about = [message.worker]
            case AttemptsLost() | NotBegun():
                about = [assignment.member for assignment in message.assignments]
        found.append((type(message).__name__, about))
    return found


@on_a_loop
async def test_a_call_answers_with_the_result_of_the_function_on_a_worker() -> None:
    cluster = Cluster("w")
    call = await cluster.call()
    (task,) = cluster.submitted
    assert (task.worker, cluster.dispatcher.idle()) == ("w", set())
    await task.end(task.call())
    assert await call == 42
    assert task.future.released
    assert cluster.dispatcher.idle() == {"w"}


@on_a_loop
async def test_a_call_whose_worker_is_lost_before_it_is_submitted_is_a_lost_attempt() -> None:
    cluster = Cluster()
    call = await cluster.call()
    cluster.join("w")
    cluster.leave("w")
    with raises_golden("dispatch/lost-early", AttemptLost):
        await call
    assert cluster.submitted == []


@on_a_loop
async def test_a_worker_that_is_lost_during_a_call_is_a_lost_attempt_and_the_call_is_released() -> None:
    cluster = Cluster("w")
    call = await cluster.call()
    cluster.leave("w")
    with raises_golden("dispatch/lost", AttemptLost):
        await call
    assert cluster.submitted[0].future.released


@on_a_loop
async def test_what_a_function_raises_is_a_lost_attempt_but_a_usage_error_is_passed_on() -> None:
    cluster = Cluster("w")
    for error, expected in ((OSError("disk"), AttemptLost), (UsageError("wrong"), UsageError)):
        call = await cluster.call()
        await cluster.submitted[-1].fail(error)
        with pytest.raises(expected, match=str(error)):
            await call
    assert cluster.dispatcher.idle() == {"w"}


@on_a_loop
async def test_a_call_that_the_scheduler_cancels_is_a_lost_attempt() -> None:
    cluster = Cluster("w")
    call = await cluster.call()
    cluster.submitted[0].future.ending.cancel()
    with raises_golden("dispatch/cancelled", AttemptLost):
        await call


@pytest.mark.parametrize("steps", range(4))
@pytest.mark.parametrize("is_free", [True, False], ids=["given at once", "waiting"])
def test_a_call_that_is_cancelled_at_any_moment_before_it_began_loses_no_worker(
    is_free: bool, steps: int
) -> None:
    @on_a_loop
    async def main() -> None:
        cluster = Cluster("w")
        holder = None if is_free else await cluster.call()
        call = asyncio.create_task(cluster.dispatcher.call("run", "module:function"))
        for _ in range(steps):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        for task in cluster.submitted:
            await task.end(42)
        if holder:
            assert await holder == 42
        assert cluster.dispatcher.idle() == {"w"}

    main()


@on_a_loop
async def test_a_call_that_is_cancelled_at_the_moment_it_is_given_a_worker_hands_it_on() -> None:
    cluster = Cluster()
    first, second = await cluster.call(), await cluster.call()
    cluster.join("w")  # it is the first's now, who does not know it yet
    first.cancel()
    await settled()
    (task,) = cluster.submitted
    await task.end(42)
    assert await second == 42


@on_a_loop
async def test_the_worker_of_a_cancelled_call_is_restarted_and_the_place_stays_taken_until_then() -> None:
    cluster = Cluster()
    cluster.join("w", nanny="tcp://nanny")
    call = await cluster.call()
    call.cancel()
    await settled()
    assert cluster.restarted == ["w"]
    assert cluster.submitted[0].future.released
    assert cluster.dispatcher.idle() == set()
    cluster.join("w", nanny="tcp://nanny")
    assert cluster.dispatcher.idle() == {"w"}


@on_a_loop
async def test_a_worker_without_a_nanny_has_to_finish_a_cancelled_call_first() -> None:
    cluster = Cluster("w")
    call = await cluster.call()
    call.cancel()
    await settled()
    assert (cluster.restarted, cluster.dispatcher.idle()) == ([], set())
    await cluster.submitted[0].end()
    assert cluster.dispatcher.idle() == {"w"}


@on_a_loop
async def test_closing_does_not_wait_for_what_was_abandoned() -> None:
    cluster = Cluster("w")
    call = await cluster.call()
    call.cancel()
    await settled()
    await cluster.dispatcher.close()
    await cluster.submitted[0].end()
    assert cluster.dispatcher.idle() == set()


@on_a_loop
async def test_a_worker_without_the_preload_or_of_another_version_gets_no_work() -> None:
    cluster = Cluster()
    cluster.join("plain", None)
    cluster.join("old", {**GOOD, "versions": {**own_versions(), "evodevo": "0.0"}})
    cluster.join("full", {**GOOD, "problem": "all devices are taken"})
    roster = cluster.dispatcher.roster
    assert (roster.fit(), cluster.dispatcher.idle()) == ([], set())
    plain, old, full = roster.problems()
    assert "worker plain: it was started without --preload workers.preload" in plain
    assert f"evodevo {own_versions()['evodevo']}/0.0" in old
    assert "worker full: all devices are taken" in full
    cluster.leave("full")
    assert roster.problems() == [plain, old]
    cluster.join("old")
    assert (roster.problems(), cluster.dispatcher.idle()) == ([plain], {"old"})


@on_a_loop
async def test_workers_that_are_there_already_are_known() -> None:
    cluster = Cluster("w")
    again = Dispatcher(cluster, cluster)  # type: ignore[arg-type]
    assert again.idle() == {"w"}


@on_a_loop
async def test_a_worker_that_leaves_finishes_its_call_and_is_closed() -> None:
    cluster = Cluster("w")
    call = await cluster.call()
    cluster.dispatcher.worker_leaves("w", "it got SIGTERM")
    waiting = await cluster.call()
    assert (cluster.closed, cluster.dispatcher.roster.fit()) == ([], [])
    await cluster.submitted[0].end(42)
    assert await call == 42
    assert (cluster.closed, len(cluster.submitted)) == (["w"], 1)
    waiting.cancel()


@on_a_loop
async def test_a_worker_that_leaves_while_it_is_idle_is_closed_at_once_and_only_once() -> None:
    cluster = Cluster("w")
    cluster.dispatcher.worker_leaves("w", "it got SIGTERM")
    cluster.dispatcher.worker_leaves("w", "it got SIGUSR1")
    cluster.dispatcher.worker_leaves("unknown", "it got SIGTERM")
    assert cluster.closed == ["w"]
    cluster.leave("w")


@on_a_loop
async def test_a_worker_that_leaves_while_it_is_offered_is_closed_and_cannot_be_sent_to() -> None:
    cluster = Cluster("w")
    crew, box = cluster.crew()
    assert box.empty() == [Offered("w")]
    cluster.dispatcher.worker_leaves("w", "it got SIGTERM")
    assert cluster.closed == ["w"]
    assert not crew.send("w", unit_of("m"))
    crew.decline("w")
    assert (cluster.submitted, cluster.dispatcher.idle()) == ([], set())


@on_a_loop
async def test_a_call_whose_worker_had_to_go_says_why_and_another_may_come_with_its_address() -> None:
    cluster = Cluster("w")
    call = await cluster.call()
    cluster.dispatcher.worker_leaves("w", "it got SIGTERM")
    cluster.leave("w")
    with raises_golden("dispatch/lost-to-a-signal", AttemptLost):
        await call
    cluster.join("w")
    assert cluster.dispatcher.roster.fit() == ["w"]


@on_a_loop
async def test_no_call_begins_on_a_worker_that_cannot_finish_it_before_its_end() -> None:
    cluster = Cluster()
    cluster.join("w", {**GOOD, "ends_at": 1100.0})
    short = await cluster.call(seconds=80.0)
    await cluster.submitted[0].end()
    await short
    cluster.now += 1
    long = await cluster.call(seconds=80.0)
    assert len(cluster.submitted) == 1
    roster = cluster.dispatcher.roster
    assert roster.fit(Needs(seconds=80.0)) == []
    (problem,) = roster.problems(Needs(seconds=80.0))
    assert problem == "worker w: it ends in 99 s, too soon for another epoch (80 s)"
    assert roster.fit(Needs(seconds=70.0)) == ["w"]
    long.cancel()


@on_a_loop
async def test_a_worker_without_a_gpu_takes_no_call_that_demands_one_and_says_so() -> None:
    cluster = Cluster("cpu")
    call = await cluster.call(gpu=True)
    assert cluster.submitted == []
    assert "worker cpu: it sees no GPU" in cluster.dispatcher.roster.problems(Needs(gpu=True))[0]
    cluster.join("gpu", {**GOOD, "device": "0"})
    await settled()
    assert cluster.submitted[0].worker == "gpu"
    call.cancel()


@on_a_loop
async def test_a_crew_is_offered_as_many_workers_as_it_wants_and_knows_how_many_more_are_idle() -> None:
    cluster = Cluster("a", "b", "c")
    crew, box = cluster.crew(0)
    assert (box.messages, crew.idle(9)) == ([], 3)
    crew.want(2, ANYTHING, ["c"])
    assert box.empty() == [Offered("c"), Offered("a")]
    assert crew.idle(9) == 1
    crew.want(3, ANYTHING, ())
    assert (box.empty(), crew.idle(9)) == ([Offered("b")], 0)


@on_a_loop
async def test_a_crew_neither_is_offered_nor_counts_workers_without_what_it_needs() -> None:
    cluster = Cluster("cpu")
    cluster.join("gpu", {**GOOD, "device": "0"})
    cluster.join("other", {**GOOD, "device": "1"})
    crew, box = cluster.crew(0)
    crew.want(1, Needs(gpu=True), ["cpu"])
    assert (box.empty(), crew.idle(9)) == ([Offered("gpu")], 1)


@on_a_loop
async def test_a_worker_that_is_declined_is_free_for_another_run() -> None:
    cluster = Cluster("w")
    crew, box = cluster.crew(run="one")
    other, its_box = cluster.crew(run="two")
    assert (box.empty(), its_box.empty()) == ([Offered("w")], [])
    crew.want(0, ANYTHING, ())
    crew.decline("w")
    assert its_box.empty() == [Offered("w")]
    assert not crew.send("w", unit_of("m"))
    crew.decline("w")
    assert other.send("w", unit_of("m"))


@on_a_loop
async def test_a_run_is_queued_once_it_has_had_none_of_the_workers_for_a_while() -> None:
    cluster = Cluster("w")
    task, _, crew = await cluster.at_work(unit_of("m"))
    other, _ = cluster.crew(run="two")
    (said,) = cluster.dispatcher.why_queued("two")
    assert_golden("dispatch/queued", said)
    crew.want(1, ANYTHING, ())
    await task.report(done(0))
    await task.end()
    assert other.send("w", unit_of("n"))
    assert (cluster.dispatcher.why_queued("run"), cluster.dispatcher.why_queued("two")) == ([], [])
    await asyncio.sleep(QUEUED_S)
    assert (cluster.dispatcher.why_queued("run"), cluster.dispatcher.why_queued("two")) == ([said], [])


@on_a_loop
async def test_a_unit_goes_unchanged_to_its_worker_under_a_unique_key() -> None:
    cluster = Cluster("a", "b", "c")
    unit = unit_of("m", "n")
    first, _, _ = await cluster.at_work(unit)
    second, _, _ = await cluster.at_work(unit)
    assert [task.worker for task in (first, second)] == ["a", "b"]
    with patch("evodevo.run.dispatch.call_by_path", lambda path, arguments: (path, arguments)):
        third, _, _ = await cluster.at_work(unit)
        assert third.call() == (RUN_UNIT, (unit.to_text(),))
    assert first.key != second.key


@on_a_loop
async def test_results_are_told_one_by_one_while_the_unit_is_still_at_work() -> None:
    cluster = Cluster("w")
    unit = unit_of("m", "n", "o")
    task, box, crew = await cluster.at_work(unit)
    await task.report(began(0))
    assert box.empty() == []
    await task.report(done(0), began(1))
    assert box.empty() == [Reported(unit.assignments[0], DONE, "w", 7.0)]
    await task.report(done(1))
    await task.report(began(2))
    assert summed_up(box.empty()) == [("Reported", ["n"])]
    assert (crew.idle(9), task.future.released) == (0, False)
    await task.report(done(2))
    await task.end()
    assert summed_up(box.empty()) == [("Reported", ["o"])]
    assert (crew.idle(9), task.future.released) == (1, True)


@on_a_loop
async def test_results_may_come_in_another_order_than_their_assignments() -> None:
    cluster = Cluster("w")
    task, box, _ = await cluster.at_work(unit_of("m", "n", "o"))
    await task.report(began(0), began(1), done(1), done(0), began(2), done(2))
    await task.end()
    assert summed_up(box.empty()) == [("Reported", ["n"]), ("Reported", ["m"]), ("Reported", ["o"])]


@on_a_loop
async def test_a_worker_is_offered_again_when_its_unit_is_over_and_only_once() -> None:
    cluster = Cluster("w")
    task, box, crew = await cluster.at_work(unit_of("m"))
    crew.want(1, ANYTHING, ())
    await task.report(began(0))
    assert box.empty() == []
    await task.report(done(0))
    await task.end()
    assert summed_up(box.empty()) == [("Reported", ["m"]), ("Offered", ["w"])]
    assert crew.send("w", unit_of("n"))
    await settled()
    assert cluster.dispatcher.idle() == set()
    assert not cluster.submitted[1].future.released


@pytest.mark.parametrize(
    ("reports", "attempts", "rest"),
    [
        ([], ["m", "n"], ["o"]),
        ([began(0)], ["m", "n"], ["o"]),
        ([began(0), done(0)], ["n"], ["o"]),
        ([began(0), began(1)], ["m", "n", "o"], []),
        ([began(0), began(1), done(1)], ["m", "o"], []),
        ([began(0), done(0), began(1), done(1), began(2)], ["o"], []),
    ],
)
@on_a_loop
async def test_a_worker_that_is_lost_loses_what_was_begun_and_not_reported_and_gives_the_rest_back(
    reports: list[dict[str, Any]], attempts: list[str], rest: list[str]
) -> None:
    """The one after those that are known to be begun may have been begun as well."""
    cluster = Cluster("w")
    task, box, _ = await cluster.at_work(unit_of("m", "n", "o"))
    await task.report(*reports)
    box.empty()
    cluster.leave("w")
    await settled()
    assert task.future.released
    losses, *others = box.messages
    assert isinstance(losses, AttemptsLost)
    assert (losses.worker, losses.why, losses.preempted) == ("w", "worker w was lost", False)
    assert summed_up(box.messages) == [("AttemptsLost", attempts)] + [("NotBegun", rest)] * bool(others)
    assert bool(others) == bool(rest)


@on_a_loop
async def test_a_worker_that_is_lost_after_its_last_report_loses_nothing() -> None:
    cluster = Cluster("w")
    task, box, _ = await cluster.at_work(unit_of("m"))
    await task.report(began(0), done(0))
    cluster.leave("w")
    await settled()
    assert summed_up(box.messages) == [("Reported", ["m"])]


@on_a_loop
async def test_an_attempt_that_was_lost_took_the_seconds_since_the_last_report() -> None:
    cluster = Cluster("w")
    task, box, _ = await cluster.at_work(unit_of("m", "n"))
    await asyncio.sleep(100)
    await task.report(began(0), done(0), began(1))
    await asyncio.sleep(3)
    cluster.leave("w")
    await settled()
    losses = box.messages[-1]
    assert isinstance(losses, AttemptsLost)
    assert losses.seconds == pytest.approx(3.0)


@on_a_loop
async def test_an_attempt_whose_worker_had_to_go_was_preempted() -> None:
    cluster = Cluster("w")
    task, box, _ = await cluster.at_work(unit_of("m", "n"))
    await task.report(began(0))
    cluster.dispatcher.worker_leaves("w", "it got SIGTERM")
    cluster.leave("w")
    await settled()
    (losses,) = box.messages
    assert isinstance(losses, AttemptsLost)
    assert (losses.preempted, losses.why) == (True, "worker w was lost (it got SIGTERM)")
    assert summed_up([losses]) == [("AttemptsLost", ["m", "n"])]


@on_a_loop
async def test_a_unit_that_its_departing_worker_ends_early_gives_the_rest_back_and_loses_nothing() -> None:
    cluster = Cluster("w")
    task, box, _ = await cluster.at_work(unit_of("m", "n", "o"))
    await task.report(began(0))
    cluster.dispatcher.worker_leaves("w", "it got SIGTERM")
    assert cluster.closed == []
    await task.report(done(0))
    await task.end()
    assert summed_up(box.messages) == [("Reported", ["m"]), ("NotBegun", ["n", "o"])]
    assert cluster.closed == ["w"]


@on_a_loop
async def test_what_the_task_raises_or_that_it_is_cancelled_loses_what_was_begun() -> None:
    for why, said in ((OSError("disk"), "OSError on w: disk"), (None, "cancelled in the scheduler")):
        cluster = Cluster("w")
        task, box, crew = await cluster.at_work(unit_of("m", "n", "o", "p"))
        await task.report(began(0), done(0), began(1))
        if why:
            await task.fail(why)
        else:
            task.future.ending.cancel()
            await settled()
        _, losses, rest = box.messages
        assert summed_up([losses, rest]) == [("AttemptsLost", ["n", "o"]), ("NotBegun", ["p"])]
        assert isinstance(losses, AttemptsLost)
        assert said in losses.why
        assert (losses.preempted, crew.idle(9)) == (False, 1)


@on_a_loop
async def test_an_attempt_that_fails_for_the_disk_is_lost_alone_and_the_unit_continues() -> None:
    cluster = Cluster("w")
    unit = unit_of("m", "n")
    task, box, _ = await cluster.at_work(unit)
    await task.report(began(0), lost(0), began(1))
    loss = AttemptsLost([unit.assignments[0]], "w", "OSError: the disk is full", False, 2.5)
    assert box.empty() == [loss]
    await task.report(done(1))
    await task.end()
    assert summed_up(box.messages) == [("Reported", ["n"])]


@on_a_loop
async def test_a_report_of_another_worker_or_of_a_unit_that_nobody_knows_is_ignored() -> None:
    cluster = Cluster("w", "x")
    task, box, _ = await cluster.at_work(unit_of("m"))
    await task.report(done(0), worker="x")
    cluster.stream_handlers[STREAM](worker="w", key="unknown", reports=json.dumps([done(0)]))
    assert box.empty() == []
    await task.report(done(0))
    await task.end()
    assert summed_up(box.empty()) == [("Reported", ["m"])]
    await task.report(done(0))
    assert box.empty() == []


@pytest.mark.parametrize("epochs", [1, 3])
@on_a_loop
async def test_a_worker_that_overruns_the_time_limit_of_a_leg_is_restarted(epochs: int) -> None:
    cluster = Cluster()
    cluster.join("w", nanny="tcp://nanny")
    task, box, _ = await cluster.at_work(unit_of("m", "n", "o", timeout_s=5.0, epochs=epochs))
    await asyncio.sleep(5.0 * epochs + KILL_AFTER_S - 0.1)
    assert (box.messages, cluster.restarted) == ([], [])
    await asyncio.sleep(0.2)
    losses, rest = box.messages
    assert summed_up([losses, rest]) == [("AttemptsLost", ["m", "n"]), ("NotBegun", ["o"])]
    assert isinstance(losses, AttemptsLost)
    assert losses.why == "worker w overran limits.epoch_timeout_s = 5 and was restarted"
    assert losses.seconds == pytest.approx(5.0 * epochs + KILL_AFTER_S)
    assert cluster.restarted == ["w"]
    assert task.future.released


@on_a_loop
async def test_members_that_take_turns_have_the_time_of_all_of_them() -> None:
    cluster = Cluster()
    cluster.join("w", nanny="tcp://nanny")
    task, box, _ = await cluster.at_work(unit_of("m", "n", "o", "p", timeout_s=5.0, at_once=3))
    await task.report(began(0), began(1), began(2))
    await asyncio.sleep(3 * 5.0 + KILL_AFTER_S - 0.1)
    await task.report({"index": 1, "waits": "for memory"})
    await asyncio.sleep(3 * 5.0 + KILL_AFTER_S - 0.1)
    assert (box.messages, cluster.restarted) == ([], [])
    await asyncio.sleep(0.2)
    assert cluster.restarted == ["w"]
    assert summed_up(box.messages) == [("AttemptsLost", ["m", "n", "o", "p"])]


@on_a_loop
async def test_a_worker_that_is_lost_with_several_at_work_loses_those_and_no_more() -> None:
    cluster = Cluster("w")
    task, box, _ = await cluster.at_work(unit_of(*"klmnop", at_once=3))
    await task.report(began(0), began(1), began(2), done(1), began(3), done(0))
    box.empty()
    cluster.leave("w")
    await settled()
    assert summed_up(box.messages) == [("AttemptsLost", ["m", "n", "o"]), ("NotBegun", ["p"])]


@on_a_loop
async def test_the_time_limit_counts_from_the_last_report() -> None:
    cluster = Cluster()
    cluster.join("w", nanny="tcp://nanny")
    task, box, _ = await cluster.at_work(unit_of("m", "n", timeout_s=5.0))
    for reports in ([began(0)], [done(0), began(1)]):
        await asyncio.sleep(14.0)
        await task.report(*reports)
    await asyncio.sleep(14.9)
    assert cluster.restarted == []
    await asyncio.sleep(0.2)
    assert cluster.restarted == ["w"]
    assert summed_up(box.messages) == [("Reported", ["m"]), ("AttemptsLost", ["n"])]


@on_a_loop
async def test_without_a_time_limit_a_unit_may_take_for_ever() -> None:
    cluster = Cluster()
    cluster.join("w", nanny="tcp://nanny")
    task, box, _ = await cluster.at_work(unit_of("m"))
    await asyncio.sleep(1e6)
    assert (box.messages, cluster.restarted, task.future.released) == ([], [], False)


@on_a_loop
async def test_a_worker_without_a_nanny_that_overran_gets_nothing_before_it_has_finished() -> None:
    cluster = Cluster("w")
    task, box, crew = await cluster.at_work(unit_of("m", timeout_s=5.0))
    crew.want(1, ANYTHING, ())
    await asyncio.sleep(20.0)
    assert summed_up(box.empty()) == [("AttemptsLost", ["m"])]
    await task.report(done(0))
    assert box.empty() == []
    await task.end()
    assert box.empty() == [Offered("w")]


@on_a_loop
async def test_a_crew_that_is_dismissed_releases_what_it_was_offered_and_is_told_nothing_more() -> None:
    cluster = Cluster("a")
    cluster.join("b", nanny="tcp://nanny")
    crew, box = cluster.crew(2)
    other, its_box = cluster.crew(2, run="two")
    assert crew.send("b", unit_of("m", "n"))
    await settled()
    (task,) = cluster.submitted
    await task.report(began(0))
    box.empty()
    crew.dismiss()
    await settled()
    assert its_box.empty() == [Offered("a")]
    assert cluster.restarted == ["b"]
    await task.report(done(0))
    assert box.messages == []
    cluster.join("b", nanny="tcp://nanny")
    assert its_box.empty() == [Offered("b")]
    assert other.send("b", unit_of("o"))


@on_a_loop
async def test_a_crew_can_be_dismissed_twice_and_when_nothing_is_at_work() -> None:
    cluster = Cluster("w")
    task, _, crew = await cluster.at_work(unit_of("m"))
    await task.report(began(0), done(0))
    await task.end()
    crew.dismiss()
    crew.dismiss()
    await settled()
    assert (cluster.restarted, cluster.dispatcher.idle()) == ([], {"w"})


@on_a_loop
async def test_a_worker_that_is_unfit_gives_all_that_is_not_reported_back_and_no_attempt_is_lost() -> None:
    cluster = Cluster("w")
    task, box, crew = await cluster.at_work(unit_of("m", "n", "o"))
    await task.report(began(0), done(0), began(1))
    await task.fail(Unfit("its data differ"))
    assert summed_up(box.empty()) == [("Reported", ["m"]), ("NotBegun", ["n", "o"])]
    assert task.future.released
    assert (crew.idle(9), cluster.dispatcher.idle()) == (0, {"w"})


@on_a_loop
async def test_a_worker_that_is_unfit_for_one_run_works_for_others_and_says_why() -> None:
    cluster = Cluster("w")
    task, box, crew = await cluster.at_work(unit_of("m"))
    crew.want(1, ANYTHING, ())
    _, its_box = cluster.crew(run="two")
    await task.fail(Unfit("its data differ"))
    assert summed_up(box.empty()) == [("NotBegun", ["m"])]
    assert its_box.empty() == [Offered("w")]
    roster = cluster.dispatcher.roster
    assert roster.unused(Needs(run="run")) == Unused(1, ["worker w: its data differ"])
    assert roster.unused(Needs(run="two")) == roster.unused() == Unused(0, [])
    assert (roster.fit(Needs(run="run")), roster.fit()) == ([], ["w"])


@on_a_loop
async def test_a_unit_of_an_unfit_worker_goes_to_one_that_is_fit() -> None:
    cluster = Cluster("a", "b")
    task, box, crew = await cluster.at_work(unit_of("m"))
    await task.fail(Unfit("its data differ"))
    box.empty()
    crew.want(2, ANYTHING, ["a"])
    assert box.empty() == [Offered("b")]


@on_a_loop
async def test_a_worker_is_unfit_until_it_leaves_or_a_new_run_has_that_name() -> None:
    cluster = Cluster("a", "b")
    crew, box = cluster.crew(2)
    for worker in ("a", "b"):
        assert crew.send(worker, unit_of(worker))
    await settled()
    for task in cluster.submitted:
        await task.fail(Unfit("its data differ"))
    box.empty()
    cluster.leave("a")
    cluster.join("a")
    crew.want(2, ANYTHING, ())
    assert box.empty() == [Offered("a")]
    cluster.dispatcher.roster.pardon("run")
    crew.want(2, ANYTHING, ())
    assert box.empty() == [Offered("b")]


@on_a_loop
async def test_an_unfit_worker_that_was_lost_meanwhile_does_not_spoil_the_next_with_its_address() -> None:
    cluster = Cluster("w")
    task, box, _ = await cluster.at_work(unit_of("m"))
    task.future.ending.set_exception(Unfit("its data differ"))
    cluster.leave("w")
    cluster.join("w")
    await settled()
    assert summed_up(box.messages) == [("NotBegun", ["m"])]
    assert cluster.dispatcher.roster.fit(Needs(run="run")) == ["w"]


@on_a_loop
async def test_a_call_that_finds_its_worker_unfit_is_made_on_another() -> None:
    cluster = Cluster("a", "b")
    call = await cluster.call()
    await cluster.submitted[0].fail(Unfit("its data differ"))
    assert [task.worker for task in cluster.submitted] == ["a", "b"]
    await cluster.submitted[1].end(42)
    assert await call == 42
    assert cluster.dispatcher.idle() == {"a", "b"}


@on_a_loop
async def test_a_call_whose_workers_are_all_unfit_waits_for_one_that_is_fit() -> None:
    cluster = Cluster("a")
    call = await cluster.call()
    await cluster.submitted[0].fail(Unfit("its data differ"))
    assert (len(cluster.submitted), call.done()) == (1, False)
    cluster.join("b")
    await settled()
    await cluster.submitted[1].end(42)
    assert await call == 42


@on_a_loop
async def test_of_very_many_unused_workers_all_are_counted_and_some_are_named() -> None:
    cluster = Cluster()
    for number in range(500):
        cluster.join(f"w{number}", {**GOOD, "problem": "all devices are taken"})
    unused = cluster.dispatcher.roster.unused()
    assert (unused.count, len(unused.reasons)) == (500, MOST_REASONS)
