"""The objective of a config that is the cost to reach a target, and what does not go with it."""

from typing import Any

import pytest

from evodevo import display
from evodevo.config import RunConfig, parse, read_config
from evodevo.run.setup import job_of
from tests.configs import ABSENT, complaint, small
from tests.golden import assert_golden

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
    ("name", "target", "key"),
    [
        ("number", 5, "objective.target"),
        ("empty", {}, "objective.target.every_steps"),
        ("no-cost", without("cost"), "objective.target.cost"),
        ("cost", without(cost="hours"), "objective.target.cost"),
        ("no-limit", without("limit"), "objective.target.limit"),
        ("limit-zero", without(limit=0), "objective.target.limit"),
        ("no-every-steps", without("every_steps"), "objective.target.every_steps"),
        ("evaluations-zero", without(evaluations=0), "objective.target.evaluations"),
        ("no-metric", without("metric"), "objective.target"),
        ("no-bound", without("at_least"), "objective.target"),
        ("two-bounds", without(at_most=1.0), "objective.target"),
        ("test-metric", without(metric="test_accuracy"), "objective.target"),
        ("train-metric", without(metric="train_loss"), "objective.target"),
        ("metric-and-all", without(all=SEVERAL["all"]), "objective.target"),
        ("neither-metric-nor-all", without("metric", "at_least"), "objective.target"),
        ("limit-too-small", without(limit=150), "objective.target"),
        ("unknown-key", without(at_leats=1), "objective.target.at_leats"),
        ("all-empty", {**SEVERAL, "all": []}, "objective.target.all"),
        (
            "all-unknown-key",
            {**SEVERAL, "all": [{"metrik": "validation_loss", "at_most": 1.0}]},
            "objective.target.all.0.metrik",
        ),
        (
            "all-not-validation",
            {**SEVERAL, "all": [{"metric": "loss", "at_most": 1.0}]},
            "objective.target.all.0",
        ),
        ("all-twice", {**SEVERAL, "all": [SEVERAL["all"][0]] * 2}, "objective.target"),  # type: ignore[index]
    ],
)
def test_a_target_that_cannot_be_one_is_refused_in_words(name: str, target: Any, key: str) -> None:
    said = refusal(target)
    assert f"{key}: " in said
    assert_golden(f"config/target/{name}", said)


def test_what_the_target_decides_cannot_be_said_otherwise() -> None:
    metric = complaint(lambda: parse(given(TARGET, objective__metric="validation_loss")))
    assert_golden("config/target-and-metric", metric)
    assert_golden("config/target-and-mode", complaint(lambda: parse(given(TARGET, objective__mode="max"))))
    weights = complaint(lambda: parse(given(TARGET, objective__weights={"validation_loss": 1.0})))
    assert_golden("config/target-and-weights", weights)
    absent = complaint(lambda: parse(small({"objective.metric": ABSENT})))
    assert_golden("config/metric-missing", absent)


@pytest.mark.parametrize(
    ("name", "changes", "key"),
    [
        (
            "inheriting",
            {"search__strategy": "tri_parent", "search__population": 4, "search__options": {"sigma": 5.0}},
            "objective.target",
        ),
        ("command", {"workload": {"command": "train"}}, "objective.target"),
        ("gang", {"cluster__workers_per_member": 2}, "objective.target"),
        ("stacked", {"cluster__stacked": True}, "cluster.stacked"),
        ("soup", {"search__soup": True}, "search.soup"),
        (
            "evaluations-beyond-a-life",
            {"search__steps_per_generation": 60, "search__legs": 3},
            "objective.target.every_steps",
        ),
    ],
)
def test_what_does_not_go_with_a_target_is_refused(name: str, changes: dict[str, Any], key: str) -> None:
    said = refusal(**changes)
    assert f"{key}: " in said
    assert_golden(f"config/beside-target/{name}", said)


def test_members_at_once_are_refused_where_seconds_are_compared_and_only_there() -> None:
    assert with_target(cluster__members_per_device=4).cluster.members_per_device == 4
    for members in (2, "auto"):
        message = refusal(without(cost="seconds"), cluster__members_per_device=members)
        assert_golden("config/target-of-seconds-and-members-at-once", message, members=members)


def test_noise_of_seconds_is_warned_of() -> None:
    quiet = with_target(cluster__workers=1000)
    assert quiet.warnings() == []
    noisy = with_target(without(cost="seconds"), cluster__workers=1000, cluster__workers_per_device=2)
    workers, device = noisy.warnings()
    assert workers.startswith("cluster.workers: ")
    assert device.startswith("cluster.workers_per_device: ")
    assert_golden("config/target-of-seconds-and-a-shared-device", device)


def test_the_time_of_a_member_is_of_trainings_in_python_by_one_worker() -> None:
    program = small({"workload": {"command": "train"}, "limits.member_time_s": 5})
    assert_golden("config/member-time-of-a-program", complaint(lambda: parse(program)))
    gang = small({"cluster.workers_per_member": 2, "limits.member_time_s": 5})
    assert_golden("config/member-time-of-a-gang", complaint(lambda: parse(gang)))
    assert parse(small({"limits.member_time_s": 5})).cluster.stacked is False
    assert parse(small()).cluster.stacked == "auto"


def test_a_target_is_said_in_words_where_a_config_is_checked() -> None:
    facts = {"facts": [], "metrics": ["validation_loss"]}
    shown = dict(display.plan(with_target(SEVERAL), facts))
    assert_golden("config/target-in-words", shown["target"])
    assert_golden("config/objective-in-words", shown["objective"])
