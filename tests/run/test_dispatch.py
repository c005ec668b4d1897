"""The dispatcher's bookkeeping, with a scheduler and a client that only seem to be."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from evodevo.errors import UsageError
from evodevo.run.dispatch import Answer, AttemptLost, Dispatcher, Needs, Preempted
from evodevo.versions import own_versions

GOOD = {"problem": None, "versions": own_versions(), "device": "cpu", "ends_at": None}


def on_a_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    @functools.wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


class FakeFuture:
    """A Dask future that a test ends by hand."""

    def __init__(self) -> None:
        self.ending: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.released = False

    def __await__(self) -> Any:
        return self.ending.__await__()

    def release(self) -> None:
        self.released = True


class Cluster:
    """A scheduler's workers, and the calls that were submitted to them."""

    def __init__(self) -> None:
        self.workers: dict[str, Any] = {}
        self.submitted: list[tuple[str, FakeFuture]] = []
        self.closed: list[str] = []
        self.now = 1000.0
        self.dispatcher = Dispatcher(self, self, lambda: self.now)  # type: ignore[arg-type]

    def join(self, worker: str, about: dict[str, Any] | None = GOOD) -> None:
        self.workers[worker] = SimpleNamespace(extra={"evodevo": about} if about else {}, nanny=None)
        self.dispatcher.worker_joined(worker)

    def leave(self, worker: str) -> None:
        del self.workers[worker]
        self.dispatcher.worker_left(worker)

    def submit(self, function: Any, *arguments: Any, workers: list[str], **_: Any) -> FakeFuture:
        future = FakeFuture()
        self.submitted.append((workers[0], future))
        return future

    def close_worker(self, worker: str) -> None:
        self.closed.append(worker)

    async def call(self, **needs: Any) -> asyncio.Task[Answer]:
        task = asyncio.create_task(self.dispatcher.call("run", "module:function", needs=Needs(**needs)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return task


@on_a_loop
async def test_a_call_answers_with_the_result_and_where_it_was_computed() -> None:
    cluster = Cluster()
    cluster.join("w")
    call = await cluster.call()
    worker, future = cluster.submitted[0]
    future.ending.set_result(42)
    answer = await call
    assert (answer.result, answer.worker, worker) == (42, "w", "w")
    assert future.released


@on_a_loop
async def test_arguments_are_asked_for_when_there_is_a_worker_and_what_they_raise_frees_it() -> None:
    cluster = Cluster()
    asked: list[str] = []

    async def prepare() -> list[int]:
        asked.append("yes")
        if len(asked) == 1:
            raise ValueError("nothing to do")
        return [1]

    def begin() -> asyncio.Task[Answer]:
        return asyncio.create_task(cluster.dispatcher.call_when_free("run", "module:function", prepare))

    first = begin()
    await asyncio.sleep(0)
    assert not asked
    cluster.join("w")
    with pytest.raises(ValueError, match="nothing to do"):
        await first
    assert cluster.dispatcher.idle() == {"w"}
    begin().add_done_callback(lambda task: task.exception())
    for _ in range(3):
        await asyncio.sleep(0)
    assert [worker for worker, _ in cluster.submitted] == ["w"]


@on_a_loop
async def test_a_worker_that_is_lost_while_its_call_is_prepared_is_a_lost_attempt() -> None:
    cluster = Cluster()
    cluster.join("w")

    async def prepare() -> list[int]:
        cluster.leave("w")
        return []

    with pytest.raises(AttemptLost, match="worker w was lost"):
        await cluster.dispatcher.call_when_free("run", "module:function", prepare)
    assert not cluster.submitted


@on_a_loop
async def test_a_worker_that_leaves_before_its_call_begins_is_a_lost_attempt() -> None:
    cluster = Cluster()
    call = await cluster.call()
    cluster.join("w")
    cluster.leave("w")
    with pytest.raises(AttemptLost, match="worker w was lost"):
        await call


@on_a_loop
async def test_a_worker_that_leaves_during_a_call_is_a_lost_attempt_and_the_call_is_released() -> None:
    cluster = Cluster()
    cluster.join("w")
    call = await cluster.call()
    cluster.leave("w")
    with pytest.raises(AttemptLost, match="worker w was lost"):
        await call
    assert cluster.submitted[0][1].released


@on_a_loop
async def test_what_a_function_raises_is_a_lost_attempt_but_a_usage_error_is_passed_on() -> None:
    cluster = Cluster()
    cluster.join("w")
    for error, expected in ((OSError("disk"), AttemptLost), (UsageError("wrong"), UsageError)):
        call = await cluster.call()
        cluster.submitted[-1][1].ending.set_exception(error)
        with pytest.raises(expected, match=str(error)):
            await call


@on_a_loop
async def test_a_call_that_the_scheduler_cancels_is_a_lost_attempt() -> None:
    cluster = Cluster()
    cluster.join("w")
    call = await cluster.call()
    cluster.submitted[0][1].ending.cancel()
    with pytest.raises(AttemptLost, match="cancelled in the scheduler"):
        await call


@on_a_loop
async def test_a_worker_without_the_preload_or_of_another_version_gets_no_work() -> None:
    cluster = Cluster()
    cluster.join("plain", None)
    cluster.join("old", {**GOOD, "versions": {**own_versions(), "evodevo": "0.0"}})
    cluster.join("full", {**GOOD, "problem": "all devices are taken"})
    assert cluster.dispatcher.workers() == []
    plain, old, full = cluster.dispatcher.problems()
    assert "worker plain: it was started without --preload workers.preload" in plain
    assert f"evodevo {own_versions()['evodevo']}/0.0" in old
    assert "worker full: all devices are taken" in full
    cluster.leave("full")
    assert cluster.dispatcher.problems() == [plain, old]


@on_a_loop
async def test_a_worker_that_leaves_finishes_its_call_and_is_closed() -> None:
    cluster = Cluster()
    cluster.join("w")
    call = await cluster.call()
    cluster.dispatcher.worker_leaves("w", "it got SIGTERM")
    waiting = await cluster.call()
    assert (cluster.closed, cluster.dispatcher.workers()) == ([], [])
    cluster.submitted[0][1].ending.set_result(42)
    assert (await call).result == 42
    assert (cluster.closed, len(cluster.submitted)) == (["w"], 1)
    waiting.cancel()


@on_a_loop
async def test_a_worker_that_leaves_while_it_is_idle_is_closed_at_once_and_only_once() -> None:
    cluster = Cluster()
    cluster.join("w")
    cluster.dispatcher.worker_leaves("w", "it got SIGTERM")
    cluster.dispatcher.worker_leaves("w", "it got SIGUSR1")
    cluster.dispatcher.worker_leaves("unknown", "it got SIGTERM")
    assert cluster.closed == ["w"]
    cluster.leave("w")


@on_a_loop
async def test_an_attempt_whose_worker_had_to_go_was_preempted() -> None:
    cluster = Cluster()
    cluster.join("w")
    call = await cluster.call()
    cluster.dispatcher.worker_leaves("w", "it got SIGTERM")
    cluster.leave("w")
    with pytest.raises(Preempted, match=r"worker w was lost \(it got SIGTERM\)"):
        await call
    cluster.join("w")
    assert cluster.dispatcher.workers() == ["w"]


@on_a_loop
async def test_no_call_begins_on_a_worker_that_cannot_finish_it_before_its_end() -> None:
    cluster = Cluster()
    cluster.join("w", {**GOOD, "ends_at": 1100.0})
    short = await cluster.call(seconds=80.0)
    cluster.submitted[0][1].ending.set_result(None)
    await short
    cluster.now += 1
    long = await cluster.call(seconds=80.0)
    assert len(cluster.submitted) == 1
    assert cluster.dispatcher.workers(Needs(seconds=80.0)) == []
    (problem,) = cluster.dispatcher.problems(Needs(seconds=80.0))
    assert problem == "worker w: it ends in 99 s, too soon for another epoch (80 s)"
    assert cluster.dispatcher.workers(Needs(seconds=70.0)) == ["w"]
    long.cancel()


@on_a_loop
async def test_a_worker_without_a_gpu_takes_no_call_that_demands_one_and_says_so() -> None:
    cluster = Cluster()
    cluster.join("cpu")
    call = await cluster.call(gpu=True)
    assert cluster.submitted == []
    assert "worker cpu: it sees no GPU" in cluster.dispatcher.problems(Needs(gpu=True))[0]
    cluster.join("gpu", {**GOOD, "device": "0"})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert cluster.submitted[0][0] == "gpu"
    call.cancel()
