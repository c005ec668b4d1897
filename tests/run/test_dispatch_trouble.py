"""What the dispatcher makes of workers that fail: whose fault it was, and who gets no work for how long."""

import asyncio
import errno
import math
import operator
from unittest.mock import patch

import pytest
from distributed.comm import CommClosedError

from evodevo.errors import UsageError
from evodevo.run.crew import ANYTHING, AttemptsLost, Needs, Offered
from evodevo.run.dispatch import call_by_path
from tests.run.test_dispatch import Cluster, on_a_loop, settled, unit_of


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk"),
        (ModuleNotFoundError("No module named 'lib'"), "raised"),
        (CommClosedError("the connection was closed"), "worker"),
        (None, "worker"),
    ],
)
@on_a_loop
async def test_a_unit_whose_task_fails_says_whose_fault_that_was(error: Exception | None, cause: str) -> None:
    cluster = Cluster("w")
    task, box, _ = await cluster.at_work(unit_of("m"))
    if error:
        await task.fail(error)
    else:
        cluster.leave("w")
        await settled()
    (losses,) = box.messages
    assert isinstance(losses, AttemptsLost)
    assert losses.cause == cause


@on_a_loop
async def test_a_worker_that_overran_is_the_members_own_fault() -> None:
    cluster = Cluster()
    cluster.join("w", nanny="tcp://nanny")
    _, box, _ = await cluster.at_work(unit_of("m", timeout_s=5.0))
    await asyncio.sleep(20.0)
    (losses,) = box.messages
    assert isinstance(losses, AttemptsLost)
    assert losses.cause == "own"


@on_a_loop
async def test_a_benched_worker_gets_no_work_from_that_run_says_why_and_comes_back_after_its_pause() -> None:
    cluster = Cluster("a", "b")
    crew, box = cluster.crew(2)
    box.empty()
    crew.bench("a", 4.0, "it fails")
    crew.want(2, ANYTHING, ())
    assert not crew.send("a", unit_of("m"))
    assert not crew.has_another("b")
    assert cluster.dispatcher.roster.problems(Needs(run="run")) == ["worker a: it fails"]
    other, its_box = cluster.crew(1, run="another")
    assert its_box.empty() == [Offered("a")]
    other.dismiss()
    await asyncio.sleep(3.9)
    assert box.empty() == []
    await asyncio.sleep(0.2)
    assert box.empty() == [Offered("a")]
    assert cluster.dispatcher.roster.problems(Needs(run="run")) == []


@on_a_loop
async def test_a_worker_that_is_out_stays_out_until_another_one_comes_in_its_place() -> None:
    cluster = Cluster("a", "b")
    crew, box = cluster.crew(2)
    box.empty()
    crew.bench("a", math.inf, "it fails")
    crew.want(2, ANYTHING, ())
    await asyncio.sleep(1e5)
    assert box.empty() == []
    cluster.leave("a")
    cluster.join("a")
    assert box.empty() == [Offered("a")]
    crew.bench("a", math.inf, "it fails")
    crew.restore("a")
    assert box.empty() == [Offered("a")]


@on_a_loop
async def test_a_worker_that_is_unfit_is_not_made_fit_by_the_end_of_a_pause() -> None:
    cluster = Cluster("a", "b")
    crew, _ = cluster.crew(2)
    cluster.dispatcher.roster.refuse("run", "a", "its data differ")
    crew.bench("a", 1.0, "it fails")
    await asyncio.sleep(2.0)
    crew.restore("a")
    assert cluster.dispatcher.roster.problems(Needs(run="run")) == ["worker a: its data differ"]


@on_a_loop
async def test_a_worker_that_is_to_be_avoided_is_offered_only_when_there_is_no_other_one() -> None:
    cluster = Cluster("a", "b")
    crew, box = cluster.crew(0)
    crew.want(2, Needs(avoid="a"), ())
    assert box.empty() == [Offered("b")]
    cluster.leave("b")
    assert box.empty() == [Offered("a")]


@on_a_loop
async def test_what_is_wrong_by_one_worker_is_believed_when_another_one_says_so_too() -> None:
    cluster = Cluster("a", "b")
    for second in (UsageError("no such module"), None):
        call = await cluster.call()
        first = cluster.submitted[-1]
        await first.fail(UsageError("not here"))
        assert cluster.submitted[-1].worker != first.worker
        if second:
            await cluster.submitted[-1].fail(second)
            with pytest.raises(UsageError, match="not here"):
                await call
        else:
            await cluster.submitted[-1].end(42)
            assert await call == 42


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
def test_nothing_that_a_function_raises_ends_its_worker(kind: type[BaseException]) -> None:
    def function() -> None:
        raise kind("it says so")

    with patch.object(operator, "add", function), pytest.raises(RuntimeError, match=f"{kind.__name__}: it"):
        call_by_path("operator:add", ())
