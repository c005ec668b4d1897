"""The dispatcher and members that several workers train: one attempt, and what becomes of each worker."""

import asyncio
from typing import Any

import pytest

from evodevo.errors import Unfit
from evodevo.run.crew import ANYTHING, AttemptsLost, Crew, Offered
from evodevo.run.gangs import GRACE_S
from evodevo.run.posting import KILL_AFTER_S
from evodevo.run.records import WorkUnit
from tests.run.test_dispatch import (
    Box,
    Cluster,
    Submitted,
    began,
    done,
    lost,
    on_a_loop,
    settled,
    summed_up,
    unit_of,
)

ADDRESS = ["10.0.0.1", 40001]


class Team:
    """A unit of one member on three workers with nannies, `a` the first; `z` is free."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        for worker in "abcz":
            self.cluster.join(worker, nanny=f"tcp://nanny-{worker}")

    async def begin(self, unit: WorkUnit, tell: bool = True) -> None:
        self.box = Box()
        self.crew: Crew = self.cluster.dispatcher.enlist("run", self.box, 3)
        self.crew.want(1, ANYTHING, ())
        assert self.box.empty() == [Offered("a")]
        assert self.crew.send("a", unit)
        self.crew.want(0, ANYTHING, ())
        await settled()
        if tell:
            await self.tasks["a"].report({"index": 0, "gang": ADDRESS})

    @property
    def tasks(self) -> dict[str, Submitted]:
        return {task.worker: task for task in self.cluster.submitted}

    @property
    def idle(self) -> set[str]:
        return self.cluster.dispatcher.idle()

    def loss(self) -> AttemptsLost:
        (found,) = self.box.empty()
        assert isinstance(found, AttemptsLost)
        return found


@on_a_loop
async def test_the_others_are_given_their_tasks_when_the_first_has_said_where_it_listens() -> None:
    team = Team()
    await team.begin(unit_of("m"), tell=False)
    assert [task.worker for task in team.cluster.submitted] == ["a"]
    assert team.idle == {"z"}
    await team.tasks["a"].report({"index": 0, "gang": ADDRESS})
    assert [task.worker for task in team.cluster.submitted] == ["a", "b", "c"]
    first, *others = team.cluster.submitted
    assert first.call.args[0] == "workers.ranks:lead"
    for rank, task in enumerate(others, start=1):
        path, (text, *rest) = task.call.args
        assert (path, rest) == ("workers.ranks:follow", [rank, *ADDRESS])
        assert WorkUnit.from_text(text).assignments[0].member == "m"


@on_a_loop
async def test_each_worker_is_free_when_its_own_task_has_ended_and_one_attempt_is_reported() -> None:
    team = Team()
    await team.begin(unit_of("m"))
    await team.tasks["c"].end()
    assert team.idle == {"c", "z"}
    await team.tasks["b"].end()
    assert (team.idle, team.box.messages) == ({"b", "c", "z"}, [])
    await team.tasks["a"].report(began(0), done(0))
    await team.tasks["a"].end()
    assert summed_up(team.box.messages) == [("Reported", ["m"])]
    assert team.idle == {"a", "b", "c", "z"}
    assert team.cluster.restarted == []


@pytest.mark.parametrize("gone", ["a", "b", "c"])
@on_a_loop
async def test_a_worker_that_is_lost_loses_one_attempt_and_those_that_notice_are_not_restarted(
    gone: str,
) -> None:
    team = Team()
    await team.begin(unit_of("m"))
    team.cluster.leave(gone)
    await settled()
    for worker in {"a", "b", "c"} - {gone}:
        await team.tasks[worker].fail(OSError("connection closed"))
    await asyncio.sleep(2 * GRACE_S)
    assert "lost" in team.loss().why
    assert team.idle == {"a", "b", "c", "z"} - {gone}
    assert team.cluster.restarted == []


@pytest.mark.parametrize("gone", ["a", "b"])
@on_a_loop
async def test_workers_that_do_not_notice_that_one_is_lost_are_restarted_soon(gone: str) -> None:
    team = Team()
    await team.begin(unit_of("m"))
    team.cluster.leave(gone)
    await asyncio.sleep(3 * GRACE_S)
    loss = team.loss()
    assert (loss.why, loss.preempted) == (f"worker {gone} was lost", False)
    assert sorted(team.cluster.restarted) == sorted({"a", "b", "c"} - {gone})
    assert team.idle == {"z"}


@on_a_loop
async def test_a_loss_that_the_first_reports_itself_is_one_loss() -> None:
    team = Team()
    await team.begin(unit_of("m"))
    team.cluster.leave("b")
    await team.tasks["a"].report(lost(0))
    await team.tasks["a"].end()
    await team.tasks["c"].fail(OSError("connection closed"))
    await asyncio.sleep(2 * GRACE_S)
    assert "the disk is full" in team.loss().why
    assert team.idle == {"a", "c", "z"}


@on_a_loop
async def test_a_gang_that_loses_one_that_had_to_go_was_preempted() -> None:
    team = Team()
    await team.begin(unit_of("m"))
    team.cluster.dispatcher.worker_leaves("c", "it got SIGTERM")
    team.cluster.leave("c")
    await asyncio.sleep(3 * GRACE_S)
    loss = team.loss()
    assert loss.preempted
    assert "it got SIGTERM" in loss.why


@on_a_loop
async def test_one_that_leaves_finishes_its_share_and_is_closed() -> None:
    team = Team()
    await team.begin(unit_of("m"))
    team.cluster.dispatcher.worker_leaves("b", "it got SIGTERM")
    assert team.cluster.closed == []
    await team.tasks["b"].end()
    await team.tasks["c"].end()
    assert team.cluster.closed == ["b"]
    await team.tasks["a"].report(done(0))
    assert summed_up(team.box.messages) == [("Reported", ["m"])]


@pytest.mark.parametrize("first_ends_first", [True, False])
@on_a_loop
async def test_one_that_is_unfit_is_refused_and_no_attempt_is_lost(first_ends_first: bool) -> None:
    team = Team()
    await team.begin(unit_of("m"))
    ends: list[tuple[str, Exception]] = [
        ("a", OSError("worker 2 of 3 takes no part")),
        ("b", Unfit("it has other data")),
    ]
    for worker, why in ends if first_ends_first else reversed(ends):
        await team.tasks[worker].fail(why)
    await team.tasks["c"].fail(OSError("connection closed"))
    await asyncio.sleep(2 * GRACE_S)
    assert summed_up(team.box.empty()) == [("NotBegun", ["m"])]
    team.crew.want(9, ANYTHING, ())
    assert team.box.empty() == [Offered("z")]  # with a and c
    assert team.idle == {"b"}


@on_a_loop
async def test_a_gang_whose_first_is_lost_before_it_listens_frees_the_others() -> None:
    team = Team()
    await team.begin(unit_of("m"), tell=False)
    team.cluster.leave("a")
    await settled()
    assert team.loss().why == "worker a was lost"
    assert team.idle == {"b", "c", "z"}
    assert team.cluster.restarted == []


@on_a_loop
async def test_all_workers_of_a_gang_that_overruns_the_time_limit_are_restarted() -> None:
    team = Team()
    await team.begin(unit_of("m", timeout_s=5.0))
    await asyncio.sleep(5.0 + KILL_AFTER_S + 2 * GRACE_S)
    assert "overran limits.epoch_timeout_s = 5" in team.loss().why
    assert sorted(team.cluster.restarted) == ["a", "b", "c"]


@pytest.mark.parametrize("told", [True, False])
@on_a_loop
async def test_a_run_that_is_dismissed_restarts_the_workers_that_are_at_work_and_frees_the_others(
    told: bool,
) -> None:
    team = Team()
    await team.begin(unit_of("m"), tell=told)
    team.crew.dismiss()
    await settled()
    assert sorted(team.cluster.restarted) == (["a", "b", "c"] if told else ["a"])
    assert team.idle == ({"z"} if told else {"b", "c", "z"})


@on_a_loop
async def test_a_run_that_is_dismissed_after_its_last_report_restarts_nobody() -> None:
    team = Team()
    await team.begin(unit_of("m"))
    await team.tasks["a"].report(done(0))
    team.crew.dismiss()
    await settled()
    for task in team.cluster.submitted:
        await task.end()
    await asyncio.sleep(2 * GRACE_S)
    assert (team.cluster.restarted, team.idle) == ([], {"a", "b", "c", "z"})


@on_a_loop
async def test_a_gang_is_of_workers_of_one_kind() -> None:
    cluster = Cluster()
    about: dict[str, Any] = {"problem": None, "ends_at": None}
    from evodevo.versions import own_versions

    for worker, device in (("a", "cpu"), ("b", "0"), ("c", "cpu"), ("d", "1")):
        cluster.join(worker, {**about, "versions": own_versions(), "device": device})
    box = Box()
    crew = cluster.dispatcher.enlist("run", box, 2)
    crew.want(2, ANYTHING, ())
    assert cluster.dispatcher._pool.use("a") == ("a", "c")
    assert cluster.dispatcher._pool.use("b") == ("b", "d")
    assert cluster.dispatcher.roster.fit_together() == 2
