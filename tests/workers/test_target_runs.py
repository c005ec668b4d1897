"""Whole runs whose fom is the cost to reach a target, by the code that workers have, without a cluster."""

import random
from pathlib import Path
from typing import Any

import pytest

from evodevo.config import RunConfig
from evodevo.run.history import History
from evodevo.run.records import Assignment, Job, Outcome
from tests.run.fakes import FakeCaller, carry_out, config_of, finished, history_of, new_run
from tests.run.test_controller_legs import at_times, full_story
from tests.run.test_controller_resumed import resumed_everywhere
from tests.workers.toys import TOY, run_unit
from workers import cache

LOCI = {
    "learning_rate": {"type": "float", "low": 1e-3, "high": 1.0, "scale": "log", "initial": 0.02},
    "momentum": {"type": "float", "low": 0.1, "high": 0.95, "initial": 0.9},
}
GOALS = [
    {"metric": "validation_loss", "at_most": 0.85},
    {"metric": "validation_accuracy", "at_least": 0.6},
]


class Working(FakeCaller):
    """Legs are trained in this process."""

    def _leg(self, job: Job, assignment: Assignment, fate: str) -> tuple[Outcome | None, str]:  # type: ignore[override]
        if fate != "done":
            return None, f"attempt {assignment.attempt} of {assignment.member} was lost"
        report = run_unit(job, [assignment])[0]
        if "lost" in report:
            return None, report["lost"]
        return Outcome.from_json(report["outcome"]), ""

    def _examine(self, *_: Any) -> dict[str, float]:  # type: ignore[override]
        return {}


def config(cost: str, **changes: Any) -> RunConfig:
    limit = 40.0 if cost == "steps" else 40 * 4352.0
    target = {"all": GOALS, "evaluations": 2, "every_steps": 4, "cost": cost, "limit": limit}
    about: dict[str, Any] = {"legs": 4, "generations": 3, "population": 3, "loci": LOCI, "inherit": "none"}
    keys = {f"search__{key}": value for key, value in about.items()}
    return config_of(workload={"use": TOY}, objective={"target": target}, **{**keys, **changes})


def told(history: History) -> list[Any]:
    """All that has to be the same: also metrics and progress, without seconds."""
    kept = [
        [
            (
                dict(one.metrics),
                one.over,
                {key: one.progress[key] for key in one.progress if key != "seconds"},
            )
            for one in life.outcomes()
        ]
        for life in history.lives()
    ]
    return [*full_story(history), kept]


@pytest.mark.parametrize("cost", ["steps", "flops"])
def test_with_steps_or_flops_the_history_is_the_same_whatever_workers_do(cost: str, tmp_path: Path) -> None:
    history = finished(tmp_path / "undisturbed", config(cost), Working())
    lives = list(history.lives())
    assert any(life.outcome.over for life in lives if life.outcome)
    assert len({life.fom for life in lives}) > 2
    assert any(life.legs for life in lives)
    lost = at_times(("g000s000", 1), ("g000s001", 2), ("g001s002", 1), fate="worker")
    again = finished(tmp_path / "lost", config(cost), Working(lost._fate, shuffle=random.Random(3)))
    assert again.lost_attempts > 0
    assert told(again) == told(history)


def test_with_steps_the_history_is_the_same_if_the_controller_is_killed_at_any_record(tmp_path: Path) -> None:
    expected = told(finished(tmp_path / "run", config("steps"), Working()))
    for run, _, _ in resumed_everywhere(tmp_path, config("steps"), Working):
        assert told(history_of(run)) == expected


def test_a_damaged_checkpoint_within_a_life_is_made_again_with_the_same_bytes(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", config("steps"))
    done: list[str] = []

    def damage(assignment: Assignment) -> None:
        """The checkpoint of a leg is damaged when the next one begins."""
        parent = assignment.parent
        if parent and assignment.leg == 1 and not done and not assignment.remakes:
            done.append(parent.name)
            (run / "params" / parent.name).write_bytes(b"")
            cache._checkpoints.clear()

    expected = told(finished(tmp_path / "undisturbed", config("steps"), Working()))
    caller = Working(watch=damage)
    history = carry_out(run, caller)
    assert done
    assert [one.until_step for one in caller.assignments if one.remakes] == [None]
    assert told(history) == expected
