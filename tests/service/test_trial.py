"""The trial of a config before a run: how many members a worker trains concurrently."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from evodevo.config import parse
from evodevo.errors import UsageError
from evodevo.evolution.strategies import TriParent
from evodevo.run.crew import ANYTHING, AttemptLost, Needs
from evodevo.run.setup import DESCRIBE, MEASURE, job_of
from evodevo.service.trial import describe
from tests.configs import small
from tests.golden import raises_golden

FACTS = {"facts": [], "warnings": [], "metrics": ["validation_loss"], "data": {}, "torch": "2"}


class Worker:
    """Answers that 8 members are best, if it is not lost each time."""

    def __init__(self, is_lost: bool = False) -> None:
        self.is_lost = is_lost
        self.calls: list[str] = []

    async def call(self, run: str, function: str, *arguments: Any, needs: Needs = ANYTHING) -> Any:
        self.calls.append(function)
        if function == DESCRIBE:
            return FACTS
        if self.is_lost:
            raise AttemptLost("worker w was lost")
        _, founder, most, fixed, stacked = arguments
        assert "rate" in founder
        members = fixed or min(8, most)
        return {"members": members, "stacked": stacked is not False, "said": f"{members} (measured)"}

    def enlist(self, run: str, inbox: Any) -> Any:
        raise NotImplementedError


def described(directory: Path, worker: Worker, measured: dict[str, Any], **changes: Any) -> dict[str, Any]:
    config = parse(small({key.replace("__", "."): value for key, value in changes.items()}))
    job = job_of(config, directory)
    return asyncio.run(describe(config, job, worker, lambda needs: None, measured=measured))


def test_it_is_measured_once_for_all_runs_of_a_workload_if_the_config_leaves_it_open(tmp_path: Path) -> None:
    worker, measured = Worker(), dict[str, Any]()
    open_one = {"cluster__members_per_device": "auto"}
    for seed in (1, 2):
        told = described(tmp_path, worker, measured, run__seed=seed, search__population=20, **open_one)
        assert told["members"] == {"members": 8, "stacked": True, "said": "8 (measured)"}
    assert worker.calls == [DESCRIBE, MEASURE, DESCRIBE]
    assert described(tmp_path, worker, measured, search__population=4, **open_one)["members"]["members"] == 4


@pytest.mark.parametrize(("number", "stacked"), [(1, "auto"), (3, True), (3, False)])
def test_what_the_config_says_is_not_measured(tmp_path: Path, number: int, stacked: bool | str) -> None:
    worker = Worker()
    said = {"cluster__members_per_device": number, "cluster__stacked": stacked}
    assert "members" not in described(tmp_path, worker, {}, **said)
    assert worker.calls == [DESCRIBE]


def test_whether_a_given_number_is_stacked_is_measured_for_that_number(tmp_path: Path) -> None:
    told = described(tmp_path, Worker(), {}, cluster__members_per_device=3)
    assert told["members"] == {"members": 3, "stacked": True, "said": "3 (measured)"}
    told = described(tmp_path, Worker(), {}, cluster__members_per_device="auto", cluster__stacked=False)
    assert told["members"]["stacked"] is False


def test_if_it_cannot_be_measured_it_is_one_by_one_and_the_run_begins_with_a_warning(tmp_path: Path) -> None:
    told = described(tmp_path, Worker(is_lost=True), {}, cluster__members_per_device="auto")
    assert told["members"]["members"] == 1
    assert "cluster.members_per_device: cannot be measured, so it is 1, not stacked: " in told["warnings"][-1]


def test_a_strategy_that_fails_is_refused_before_a_worker_is_asked_anything(tmp_path: Path) -> None:
    worker = Worker()
    with raises_golden("trial/not-a-birth", UsageError):
        described(tmp_path, worker, {}, search__strategy=f"{__name__}:Wrong")
    assert worker.calls == []


class Wrong(TriParent):
    def birth(self, *_: Any) -> Any:
        return {"rate": 0.1}
