"""What is said of a target before a run begins."""

from pathlib import Path
from typing import Any

import pytest

from evodevo.errors import UsageError
from tests.golden import assert_golden, raises_golden
from tests.workers.conftest import UserModule
from tests.workers.test_describe import HEAD, refusal
from tests.workers.toys import HYPERPARAMETERS, TOY, job, section
from workers.describe import describe


def target(**changes: Any) -> dict[str, Any]:
    goals = [{"metric": "validation_accuracy", "at_least": 0.9}]
    return {"goals": goals, "evaluations": 2, "every_steps": 4, "cost": "steps", "limit": 1000, **changes}


def aimed(directory: Path, use: str = TOY, legs: int = 200, **changes: Any) -> dict[str, Any]:
    """What is said of a target; an epoch has 6 steps."""
    about = target(**changes)
    metric = f"{about['cost']}_to_target"
    return describe(job(directory, section(use), metric=metric, legs=legs, target=about), [HYPERPARAMETERS])


def test_a_target_needs_metrics_that_are_reported(tmp_path: Path) -> None:
    assert aimed(tmp_path)["warnings"] == []
    about = target(goals=[{"metric": "validation_f1", "at_least": 0.9}])
    message = refusal(tmp_path, section(), metric="steps_to_target", target=about, legs=200)
    assert message.startswith("objective.target: ")
    assert_golden("prospects/target-metric", message)


def test_a_target_whose_evaluations_never_come_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, section(), metric="steps_to_target", target=target(every_steps=10), legs=3)
    assert message.startswith("objective.target.every_steps: ")
    assert_golden("prospects/evaluations-never-come", message)
    assert aimed(tmp_path, legs=4, every_steps=10, limit=24)["warnings"] == []


def test_a_limit_beyond_the_end_of_a_life_is_warned_of(tmp_path: Path) -> None:
    (warning,) = aimed(tmp_path, legs=3)["warnings"]
    assert warning.startswith("objective.target.limit: ")
    assert_golden("prospects/limit-beyond-a-life", warning)


def test_flops_are_told_and_a_limit_of_too_few_is_warned_of(tmp_path: Path) -> None:
    about = aimed(tmp_path, cost="flops", limit=5e6)
    assert "4.35e+03 FLOPs in a training step of the first founder, both passes" in about["facts"]
    assert not [warning for warning in about["warnings"] if "at step" in warning]
    (warning,) = aimed(tmp_path, cost="flops", limit=30000)["warnings"]
    assert warning.startswith("objective.target.limit: ")
    assert_golden("prospects/few-flops", warning)


def test_seconds_are_said_to_differ_and_to_be_noisy_on_a_busy_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for load, warned in ((0.0, 0), (1000.0, 1)):
        monkeypatch.setattr("os.getloadavg", lambda load=load: (load, 0.0, 0.0))
        about = aimed(tmp_path, cost="seconds", limit=60.0)
        assert "seconds, and so the history, differ from run to run" in str(about["facts"])
        assert len([one for one in about["warnings"] if "this machine is shared" in one]) == warned


def test_evaluations_that_change_a_member_are_refused_only_with_a_target(
    user_module: UserModule, tmp_path: Path
) -> None:
    use = user_module(
        HEAD + "    def metrics(self, model, batch):\n"
        "        model[1].running_mean += 1.0\n"
        "        return super().metrics(model, batch)\n"
    )
    with raises_golden("prospects/evaluation-changes-a-member", UsageError):
        aimed(tmp_path, f"{use}:Net")
    assert describe(job(tmp_path, section(f"{use}:Net")), [HYPERPARAMETERS])["warnings"] == []
