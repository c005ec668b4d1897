"""How workers of a running cluster are prepared, and what is said of it; the cluster only seems to be."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

import evodevo
from evodevo.errors import UsageError
from evodevo.service.attach import refusal
from evodevo.service.attachment import Attachment, facts_of, harms, install, problem_of
from evodevo.versions import own_versions
from tests.golden import raises_golden

GOOD = {
    "problem": None,
    "versions": own_versions(),
    "device": "cpu",
    "ends_at": None,
    "daemonic": False,
    "heeds_signals": True,
}


@dataclass(eq=False)
class Worker:
    address: str
    extra: dict[str, Any] = field(default_factory=dict)
    nanny: str | None = "tcp://nanny"
    memory_limit: int = 0


class Cluster:
    """A scheduler, its service and a client of it; calls to workers end when `answer` is called."""

    def __init__(self) -> None:
        self.workers: dict[str, Worker] = {}
        self.plugins: dict[str, Any] = {}
        self.worker_ttl = None
        self.told: list[str] = []
        self.calls: list[tuple[str, asyncio.Future[Any]]] = []
        self.attachment = Attachment(self, "runs")  # type: ignore[arg-type]
        self.attachment._client = self  # type: ignore[assignment]
        self.attachment._service = SimpleNamespace(  # type: ignore[assignment]
            add_worker=lambda scheduler, worker: self.told.append(worker)
        )

    def join(self, address: str, **facts: Any) -> Worker:
        self.workers[address] = Worker(address, **facts)
        self.attachment.add_worker(self, address)  # type: ignore[arg-type]
        return self.workers[address]

    async def run(self, function: Any, workers: list[str], on_error: str) -> dict[str, Any]:
        assert on_error == "return"
        self.calls.append((workers[0], asyncio.get_running_loop().create_future()))
        return {workers[0]: await self.calls[-1][1]}

    async def answer(self, number: int, answer: Any) -> None:
        self.calls[number][1].set_result(answer)
        await turns()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_worker_is_announced_once_it_has_told_its_facts_and_is_asked_only_once() -> None:
    async def test() -> None:
        cluster = Cluster()
        worker = cluster.join("w")
        assert cluster.attachment.prepare("w")
        await turns()
        assert [address for address, _ in cluster.calls] == ["w"]
        assert cluster.told == []
        assert cluster.attachment.warnings() == ["1 worker is not ready yet, and will join later"]
        await cluster.answer(0, GOOD)
        assert worker.extra["evodevo"] == GOOD
        assert cluster.told == ["w"]
        assert not cluster.attachment.prepare("w")
        assert cluster.attachment.warnings() == []

    asyncio.run(test())


def test_a_worker_that_was_preloaded_is_left_alone() -> None:
    async def test() -> None:
        cluster = Cluster()
        cluster.join("w", extra={"evodevo": GOOD})
        await turns()
        assert cluster.calls == []

    asyncio.run(test())


def test_the_answer_of_a_worker_that_has_left_is_not_taken_for_its_successors() -> None:
    async def test() -> None:
        cluster = Cluster()
        cluster.join("w")
        await turns()
        successor = cluster.join("w")
        await turns()
        await cluster.answer(0, GOOD)
        assert (cluster.told, successor.extra) == ([], {})
        await cluster.answer(1, GOOD)
        assert (cluster.told, successor.extra) == (["w"], {"evodevo": GOOD})

    asyncio.run(test())


def test_equal_problems_of_many_workers_are_one_warning() -> None:
    async def test() -> None:
        cluster = Cluster()
        for address in "abc":
            cluster.join(address)
        await turns()
        for number in range(3):
            await cluster.answer(number, ModuleNotFoundError("No module named 'torch'"))
        (warning,) = cluster.attachment.warnings()
        assert "No module named 'torch'" in warning
        assert warning.endswith("(3 workers)")
        assert cluster.told == ["a", "b", "c"]
        cluster.attachment.remove_worker(cluster, "a")  # type: ignore[arg-type]
        assert cluster.attachment.warnings()[0].endswith("(2 workers)")

    asyncio.run(test())


def test_only_a_worker_that_had_a_problem_is_tried_again() -> None:
    async def test() -> None:
        cluster = Cluster()
        for address in "ab":
            cluster.join(address)
        await turns()
        await cluster.answer(0, GOOD)
        await cluster.answer(1, ModuleNotFoundError("No module named 'torch'"))
        again = asyncio.create_task(cluster.attachment.try_again())
        await turns()
        assert [address for address, _ in cluster.calls] == ["a", "b", "b"]
        await cluster.answer(2, GOOD)
        await again
        assert cluster.attachment.warnings() == []
        assert cluster.told == ["a", "b", "b"]

    asyncio.run(test())


def test_a_scheduler_of_another_version_is_refused_before_anything_is_installed() -> None:
    cluster = Cluster()
    versions = {**own_versions(), "evodevo": "0.0.0"}
    told = asyncio.run(install("runs", versions, cluster))  # type: ignore[arg-type]
    assert told["error"].startswith(
        "versions differ between client and scheduler (client/scheduler): evodevo"
    )
    assert "evodevo 0.0.0/" in told["error"]
    assert cluster.plugins == {}


@pytest.mark.parametrize(
    ("why", "said"),
    [
        (ModuleNotFoundError("No module named 'evodevo'"), "it cannot import what it needs"),
        (Exception("ModuleNotFoundError(\"No module named 'evodevo'\")"), "it cannot import what it needs"),
        (
            Exception("ValueError(\"The 'run' handler has been explicitly disallowed in Worker\")"),
            "not accept",
        ),
        (OSError("gone"), "preparing it failed: OSError: gone"),
    ],
)
def test_a_worker_that_fails_to_prepare_has_a_problem_with_what_to_do(why: Exception, said: str) -> None:
    problem = problem_of(facts_of(why))
    assert problem is not None
    assert said in problem


def test_a_worker_of_another_version_has_that_as_its_problem() -> None:
    problem = problem_of({**GOOD, "versions": {**own_versions(), "evodevo": "0.0.0"}})
    assert problem is not None
    assert "/0.0.0" in problem


@pytest.mark.parametrize(
    ("why", "said"),
    [
        (ModuleNotFoundError("No module named 'evodevo'"), "install evodevo"),
        (AttributeError("module has no attribute 'install'"), "install evodevo"),
        (ValueError("explicitly disallowed from deserializing"), "--preload evodevo.service"),
        (OSError("timed out"), "does not answer: timed out"),
        (ValueError("something else"), None),
    ],
)
def test_what_the_scheduler_lacks_is_said_and_a_bug_is_not_hidden(why: Exception, said: str | None) -> None:
    message = refusal(why, "tcp://host:8786")
    assert (message is None) == (said is None)
    if message:
        assert "the scheduler at tcp://host:8786" in message
        assert str(said) in message


def test_a_cluster_that_does_no_harm_is_not_warned_of() -> None:
    assert harms([GOOD, GOOD], [0, 0], None) == []
    assert harms([GOOD], [], 300.0) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([GOOD, {**GOOD, "daemonic": True}], [0], None), "1 worker is daemonic"),
        (([{**GOOD, "heeds_signals": False}] * 2, [0], None), "2 workers do not run in the main thread"),
        (([GOOD], [0, 4 << 30, 2 << 30], None), "2 workers have a memory limit (lowest: 2.00 GiB)"),
        (([GOOD], [0], 30.0), "worker-ttl is 30 s"),
    ],
)
def test_a_setting_that_costs_epochs_is_warned_of(arguments: tuple[Any, Any, Any], said: str) -> None:
    (warning,) = harms(*arguments)
    assert said in warning


def test_what_is_not_a_client_of_dask_is_refused_by_its_name() -> None:
    with raises_golden("attach/not-a-client", UsageError):
        evodevo.attach("tcp://host:8786")  # type: ignore[arg-type]
