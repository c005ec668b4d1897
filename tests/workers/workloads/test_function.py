"""Any Python function as a workload, without a cluster."""

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from evodevo.errors import UsageError
from evodevo.run.records import SENT_FUNCTION, Job
from tests.golden import raises_golden
from tests.workers.toys import assignment
from workers.leg import Stopwatch, train_leg
from workers.workloads import function as under_test
from workers.workloads.function import Function, number

HERE = "tests.workers.workloads.test_function"


def product(x: float, y: float = 2.0) -> float:
    return x * y


def fails(x: float) -> float:
    raise ValueError(f"not with {x}")


def nothing(x: float) -> None:
    return None


def nan(x: float) -> float:
    return math.nan


def drawn(x: float) -> float:
    return random.random() + float(np.random.rand()) + float(torch.rand(()))


def slow(x: float) -> float:
    clock.now += 10
    return x


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


clock = Clock()
not_a_function = 3


def outcome_of(
    function: Callable[..., Any], tmp_path: Any, timeout_s: float | None = None, **values: Any
) -> Any:
    options = {"function": f"{HERE}:{function.__name__}"}
    workload = {"use": "workers.workloads.function:Function", "command": None, "options": options}
    job = Job("run", workload, "fom", str(tmp_path), None, 1, timeout_s)
    handed = []
    found = train_leg(job, assignment(hyperparameters=values), Stopwatch(), lambda *what: handed.append(what))
    assert handed in ([], [(None, ".checkpoint")])
    return found


def test_the_fom_is_what_the_function_returns(tmp_path: Any) -> None:
    outcome = outcome_of(product, tmp_path, x=3.0)
    assert (outcome.status, outcome.fom, outcome.metrics) == ("done", 6.0, {"fom": 6.0})


def test_a_function_that_raises_has_failed_with_its_traceback(tmp_path: Any) -> None:
    outcome = outcome_of(fails, tmp_path, x=3.0)
    assert outcome.status == "failed"
    assert "ValueError: not with 3.0" in outcome.error
    assert "in fails" in outcome.error


def test_a_function_that_returns_nan_has_diverged(tmp_path: Any) -> None:
    assert outcome_of(nan, tmp_path, x=3.0).status == "diverged"


def test_what_is_not_a_number_fails_and_says_what_it_is(tmp_path: Any) -> None:
    outcome = outcome_of(nothing, tmp_path, x=3.0)
    assert outcome.status == "failed"
    assert "should return a number, not None" in outcome.error


def test_a_call_that_takes_too_long_is_lost(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.leg.time", clock)
    with pytest.raises(TimeoutError, match=r"limits.epoch_timeout_s = 5"):
        outcome_of(slow, tmp_path, timeout_s=5.0, x=1.0)
    assert outcome_of(slow, tmp_path, timeout_s=15.0, x=1.0).fom == 1.0


def test_random_numbers_of_a_call_depend_on_its_seed_alone() -> None:
    workload = Function(f"{HERE}:drawn")

    def call(seed: int) -> float | None:
        state = workload.begin({"x": 1.0}, seed, None)
        list(workload.train(state))
        return state.fom

    assert call(1) == call(1) != call(2)


@pytest.mark.parametrize(
    "value", [3, 3.0, True, np.float32(3), np.int64(3), np.array(3.0), torch.tensor(3)], ids=repr
)
def test_whatever_can_be_a_float_is_a_number(value: Any) -> None:
    assert number(value) in (3.0, 1.0)


@pytest.mark.parametrize("value", [None, "3", b"3", (3,), [1, 2], torch.ones(2), np.ones(2), 1j], ids=repr)
def test_whatever_else_is_not(value: Any) -> None:
    with pytest.raises(TypeError, match="should return a number"):
        number(value)


def test_a_rehearsal_calls_nothing_and_refuses_names_that_the_function_does_not_take() -> None:
    assert Function(f"{HERE}:fails").rehearse({"x": 1.0}) == (["fom"], {"x"})
    with raises_golden("function/another-signature", UsageError, module=HERE):
        Function(f"{HERE}:product").rehearse({"x": 1.0, "z": 2.0})
    with raises_golden("function/argument-missing", UsageError, module=HERE):
        Function(f"{HERE}:product").rehearse({"x": 1.0, "y": 1.0}, {"y": 1.0})
    assert Function("math:hypot").rehearse({"x": 1.0})[0] == ["fom"], "written in C, without a signature"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("no-module", "no_such_module:f"),
        ("no-attribute", f"{HERE}:missing"),
        ("not-a-function", f"{HERE}:not_a_function"),
    ],
)
def test_a_function_that_is_not_there_is_refused(name: str, path: str) -> None:
    with raises_golden(f"function/{name}", UsageError, module=HERE):
        Function(path)


class AWorker:
    def __init__(self, **plugins: Any) -> None:
        self.plugins = plugins


def test_a_function_that_was_sent_is_found_in_the_memory_of_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugin = type("Plugin", (), {"function": staticmethod(lambda x: x + 1)})
    monkeypatch.setattr(under_test, "get_worker", lambda: AWorker(**{f"{SENT_FUNCTION}k1": plugin}))
    assert Function("<lambda>", "k1").function(1) == 2


def test_one_that_is_not_there_any_more_says_that_the_run_cannot_be_carried_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(under_test, "get_worker", AWorker)
    with raises_golden("function/of-another-process", UsageError):
        Function("<lambda>", "k1")
