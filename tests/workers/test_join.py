"""How a running worker is set up when a cluster is attached. The preload is tested separately."""

import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from distributed import Status

from evodevo.versions import own_versions
from workers import devices, join, preload

FACTS = {"device": "cpu", "ends_at": None, "problem": None, "versions": {**own_versions(), "torch": "2"}}


class Stub:
    address = "tcp://127.0.0.1:1"
    status = Status.running

    def __init__(self) -> None:
        self.startup_information: dict[str, Callable[[Any], Any]] = {}


@pytest.fixture(autouse=True)
def preloaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The workers that were set up; nothing in this process changes."""
    found: list[Any] = []

    def dask_setup(worker: Any) -> None:
        found.append(worker)
        worker.startup_information["evodevo"] = lambda _: FACTS

    monkeypatch.setattr(preload, "dask_setup", dask_setup)
    monkeypatch.setattr(join, "_joined", None)
    monkeypatch.setattr(devices, "visible_devices", lambda: [])
    yield found
    gc.collect()


def joined(worker: Any) -> dict[str, Any]:
    return join.join(worker)


def test_a_worker_is_set_up_once_and_tells_its_facts_each_time(preloaded: list[Any]) -> None:
    worker = Stub()
    told = joined(worker)
    assert told == {**FACTS, "daemonic": False, "heeds_signals": True}
    assert joined(worker) == told
    assert preloaded == [worker]


def test_a_worker_outside_the_main_thread_says_that_it_ignores_signals() -> None:
    told: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: told.append(joined(Stub())))
    thread.start()
    thread.join()
    assert [facts["heeds_signals"] for facts in told] == [False]


def test_of_two_workers_in_one_process_the_second_is_refused_while_the_first_lives(
    preloaded: list[Any],
) -> None:
    first, second = Stub(), Stub()
    joined(first)
    assert (
        joined(second)["problem"]
        == f"worker {first.address} is in the same process: start one process per worker"
    )
    assert preloaded == [first]
    first.status = Status.closed
    assert joined(second)["problem"] is None
    assert preloaded == [first, second]


@pytest.mark.parametrize(("visible", "can"), [([], True), (["3"], True), (["0", "1"], False)])
def test_where_cuda_is_in_use_only_a_process_with_one_gpu_can_be_given_one(
    monkeypatch: pytest.MonkeyPatch, visible: list[str], can: bool
) -> None:
    monkeypatch.setattr(devices, "visible_devices", lambda: visible)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    problem = joined(Stub())["problem"]
    assert (problem is None) == can
    if problem:
        assert "sees all GPUs (0, 1)" in problem
        assert "restart it" in problem


def test_where_cuda_is_not_in_use_a_process_that_sees_all_gpus_is_given_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "visible_devices", lambda: ["0", "1"])
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    assert joined(Stub())["problem"] is None
