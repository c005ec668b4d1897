"""The objective of a config that is the cost to reach a target, and what does not go with it."""

from typing import Any

import pytest

from evodevo import display
from evodevo.config import RunConfig, parse, read_config
from evodevo.run.setup import job_of
from tests.configs import ABSENT, complaint, small

TARGET = {
    "metric": "validation_accuracy",
    "at_least": 0.986,
    "evaluations": 2,
    "every_steps": 100,
    "cost": "steps",
    "limit": 5000,
}
SEVERAL = {
    "all": [
        {"metric": "validation_site_macro_f1", "at_least": 0.275},
        {"metric": "validation_loss", "at_most": 0.5},
    ],
    "every_steps": 10,
    "cost": "seconds",
    "limit": 60.5,
}


def given(target: Any, **changes: Any) -> dict[str, Any]:
    """A small config of members that are trained from scratch, with this target."""
    keys = {key.replace("__", "."): value for key, value in changes.items()}
    scratch = {"search.strategy": "mutate_best", "search.population": 1, "search.options": {}}
    return small({"objective": {"target": target}, **scratch, **keys})


def with_target(target: Any = TARGET, **changes: Any) -> RunConfig:
    return parse(given(target, **changes))


def refusal(target: Any = TARGET, **changes: Any) -> str:
    return complaint(lambda: with_target(target, **changes))


def test_the_metric_and_the_mode_follow_from_the_cost(tmp_path: Any) -> None:
    for target in (TARGET, SEVERAL):
        config = with_target(target)
        assert config.objective.metric == f"{target['cost']}_to_target"
        assert config.objective.mode == "min"
        assert read_config(config.complete().to_json()).objective == config.objective
        assert parse(config.to_json()) == config


def test_workers_are_told_of_it(tmp_path: Any) -> None:
    job = job_of(with_target(search__legs=3, limits__member_time_s="00:01:30"), tmp_path)
    assert job.target == {
        "goals": [{"metric": "validation_accuracy", "at_least": 0.986}],
        "evaluations": 2,
        "every_steps": 100,
        "cost": "steps",
        "limit": 5000,
    }
    assert (job.metric, job.legs, job.member_time_s, job.stacked) == ("steps_to_target", 3, 90.0, False)
    assert job_of(with_target(SEVERAL), tmp_path).target == {
        "goals": SEVERAL["all"], "evaluations": 1, "every_steps": 10, "cost": "seconds", "limit": 60.5
    }  # fmt: skip


def without(*keys: str, **changes: Any) -> dict[str, Any]:
    return {**{key: value for key, value in TARGET.items() if key not in keys}, **changes}


@pytest.mark.parametrize(
    "target, expected",
    [
        (5, "objective.target: should be a mapping of keys to values, not 5"),
        ({}, "objective.target.every_steps: is missing"),
        (without("cost"), "objective.target.cost: is missing"),
        (without(cost="hours"), "objective.target.cost: value should be 'seconds', 'steps' or 'flops'"),
        (without("limit"), "objective.target.limit: is missing"),
        (without(limit=0), "objective.target.limit: value should be greater than 0, not 0"),
        (without("every_steps"), "objective.target.every_steps: is missing"),
        (without(evaluations=0), "objective.target.evaluations: value should be greater than or equal to 1"),
        (without("metric"), "objective.target: metric is missing"),
        (without("at_least"), "objective.target: give validation_accuracy either at_least or at_most"),
        (without(at_most=1.0), "objective.target: give validation_accuracy either at_least or at_most"),
        (without(metric="test_accuracy"), "metric 'test_accuracy' is not of the validation split"),
        (without(metric="train_loss"), "give one that begins with validation_"),
        (
            without(all=SEVERAL["all"]),
            "objective.target: give either metric with at_least or at_most",
        ),
        (without("metric", "at_least"), "objective.target: give either metric with at_least or at_most, or"),
        (without(limit=150), "limit is 150 steps, and the last of 2 evaluations, one every 100 steps, is at"),
        (without(at_leats=1), "objective.target.at_leats: unknown key; did you mean at_least?"),
        ({**SEVERAL, "all": []}, "objective.target.all: is empty"),
        (
            {**SEVERAL, "all": [{"metrik": "validation_loss", "at_most": 1.0}]},
            "objective.target.all.0.metrik: unknown key; did you mean metric? Known: metric, at_least, at_m",
        ),
        (
            {**SEVERAL, "all": [{"metric": "loss", "at_most": 1.0}]},
            "objective.target.all.0: metric 'loss' is not of the validation split",
        ),
        ({**SEVERAL, "all": [SEVERAL["all"][0]] * 2}, "all has validation_site_macro_f1 twice"),  # type: ignore[index]
    ],
)
def test_a_target_that_cannot_be_one_is_refused_in_words(target: Any, expected: str) -> None:
    assert expected in refusal(target)


def test_what_the_target_decides_cannot_be_said_otherwise() -> None:
    metric = complaint(lambda: parse(given(TARGET, objective__metric="validation_loss")))
    assert "metric is 'validation_loss', and target makes it 'steps_to_target'" in metric
    assert "mode is 'max'" in complaint(lambda: parse(given(TARGET, objective__mode="max")))
    weights = complaint(lambda: parse(given(TARGET, objective__weights={"validation_loss": 1.0})))
    assert "give target or weights, not both" in weights
    assert "objective.metric: is missing" in complaint(lambda: parse(small({"objective.metric": ABSENT})))


@pytest.mark.parametrize(
    "changes, expected",
    [
        (
            {"search__strategy": "tri_parent", "search__population": 4, "search__options": {"sigma": 5.0}},
            "objective.target: is the cost of a training from scratch, and members inherit parameters",
        ),
        (
            {"workload": {"command": "train"}},
            "target: a program cannot be evaluated while it trains",
        ),
        ({"cluster__workers_per_member": 2}, "objective.target: 2 workers that train each member"),
        ({"cluster__stacked": True}, "cluster.stacked: members of one network cannot stop one by one"),
        ({"search__soup": True}, "search.soup: is an average for a better metric"),
        (
            {"search__steps_per_generation": 60, "search__legs": 3},
            "objective.target.every_steps: the last of 2 evaluations, one every 100 steps, is at step 200, "
            "and a life has 180",
        ),
    ],
)
def test_what_does_not_go_with_a_target_is_refused(changes: dict[str, Any], expected: str) -> None:
    assert expected in refusal(**changes)


def test_members_at_once_are_refused_where_seconds_are_compared_and_only_there() -> None:
    assert with_target(cluster__members_per_device=4).cluster.members_per_device == 4
    for members in (2, "auto"):
        message = refusal(without(cost="seconds"), cluster__members_per_device=members)
        assert "members that a worker trains at once slow each other down" in message


def test_noise_of_seconds_is_warned_of() -> None:
    quiet = with_target(cluster__workers=1000)
    assert quiet.warnings() == []
    noisy = with_target(without(cost="seconds"), cluster__workers=1000, cluster__workers_per_device=2)
    workers, device = noisy.warnings()
    assert workers.startswith("cluster.workers: 1000 workers with 1 threads each share")
    assert device.startswith("cluster.workers_per_device: 2 workers share a GPU")


def test_the_time_of_a_member_is_of_trainings_in_python_by_one_worker() -> None:
    program = small({"workload": {"command": "train"}, "limits.member_time_s": 5})
    assert "limits.member_time_s: a program cannot be ended after a step" in complaint(lambda: parse(program))
    gang = small({"cluster.workers_per_member": 2, "limits.member_time_s": 5})
    assert "limits.member_time_s: 2 workers that train each member" in complaint(lambda: parse(gang))
    assert parse(small({"limits.member_time_s": 5})).cluster.stacked is False
    assert parse(small()).cluster.stacked == "auto"


def test_a_target_is_said_in_words_where_a_config_is_checked() -> None:
    facts = {"facts": [], "metrics": ["validation_loss"]}
    shown = dict(display.plan(with_target(SEVERAL), facts))
    assert shown["target"] == (
        "validation_site_macro_f1 of at least 0.275 and validation_loss of at most 0.5, evaluated every 10 "
        "steps, within 60.5 seconds"
    )
    assert shown["objective"] == "min seconds_to_target, of validation_loss"
