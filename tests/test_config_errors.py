"""What is wrong in a config: one message that names the key, its value and what would be right."""

import math
from typing import Any

import pytest

from evodevo.config import parse
from tests.configs import ABSENT, complaint, small
from tests.golden import assert_golden


def scheduled(shape: Any) -> dict[str, Any]:
    """Changes that put the learning rate of the small config on a schedule."""
    options = {"epochs": 2, "schedule": {"rate": shape}}
    return {"search.strategy": "scheduled", "search.options": options}


UNKNOWN_KEYS = [
    ("runn", "run"),
    ("run.sead", "seed"),
    ("workload.option", "options"),
    ("objective.metrik", "metric"),
    ("search.popluation", "population"),
    ("search.options.sigm", "sigma"),
    ("search.loci.rate.hihg", "high"),
    ("search.loci.layers.lo", "low"),
    ("search.loci.optimizer.choice", "choices"),
    ("data.rot", "root"),
    ("checkpoints.maxbytes", "max_bytes"),
    ("limits.qqq", ""),
    ("cluster.worker", "workers"),
]
"""Each with the known key that it may have been meant as."""

BAD: list[tuple[str, dict[str, Any], str]] = [
    # bounds
    ("momentum-low-above-high", {"search.loci.momentum.low": 2.0}, "search.loci.momentum"),
    ("layers-low-equals-high", {"search.loci.layers.high": 1}, "search.loci.layers"),
    ("rate-low-zero", {"search.loci.rate.low": 0.0}, "search.loci.rate"),
    ("rate-low-negative", {"search.loci.rate.low": -1.0}, "search.loci.rate"),
    ("rate-low-nan", {"search.loci.rate.low": math.nan}, "search.loci.rate.low"),
    ("rate-high-inf", {"search.loci.rate.high": math.inf}, "search.loci.rate.high"),
    ("momentum-low-inf", {"search.loci.momentum.low": -math.inf}, "search.loci.momentum.low"),
    ("rate-low-text", {"search.loci.rate.low": "0.1"}, "search.loci.rate.low"),
    ("layers-low-fraction", {"search.loci.layers.low": 1.5}, "search.loci.layers.low"),
    ("rate-scale", {"search.loci.rate.scale": "lgo"}, "search.loci.rate.scale"),
    ("rate-low-missing", {"search.loci.rate.low": ABSENT}, "search.loci.rate.low"),
    # initial values
    ("momentum-initial-outside", {"search.loci.momentum.initial": 3.0}, "search.loci.momentum"),
    ("layers-initial-outside", {"search.loci.layers.initial": 0}, "search.loci.layers"),
    ("rate-initial-nan", {"search.loci.rate.initial": math.nan}, "search.loci.rate.initial"),
    ("initial-missing-spread", {"search.loci.rate.initial": ABSENT}, "search.loci.rate"),
    (
        "initial-missing-given",
        {"search.loci.rate.initial": ABSENT, "search.options.initial": "given"},
        "search.loci.rate",
    ),
    ("initial-missing", {"search.loci.rate.initial": ABSENT, "search.options": {}}, "search.loci.rate"),
    # other loci
    ("loci-empty", {"search.loci": {}}, "search.loci"),
    ("loci-list", {"search.loci": ["rate"]}, "search.loci"),
    ("locus-number", {"search.loci.rate": 3}, "search.loci.rate"),
    ("locus-type", {"search.loci.rate.type": "flot"}, "search.loci.rate.type"),
    ("locus-no-type", {"search.loci.rate.type": ABSENT}, "search.loci.rate"),
    ("one-choice", {"search.loci.optimizer.choices": ["adam"]}, "search.loci.optimizer"),
    ("choice-twice", {"search.loci.optimizer.choices": ["sgd", "sgd"]}, "search.loci.optimizer"),
    ("initial-not-a-choice", {"search.loci.optimizer.initial": "lamb"}, "search.loci.optimizer"),
    (
        "bool-initial-text",
        {"search.loci.flag": {"type": "bool", "initial": "yes"}},
        "search.loci.flag.initial",
    ),
    ("fixed-no-value", {"search.loci.fix": {"type": "fixed"}}, "search.loci.fix.value"),
    # conditions
    ("when-unknown-locus", {"search.loci.momentum.when": {"optimiser": "sgd"}}, "search.loci.momentum.when"),
    (
        "when-impossible-value",
        {"search.loci.momentum.when": {"optimizer": ["sgd", "lamb"]}},
        "search.loci.momentum.when",
    ),
    ("when-circle", {"search.loci.optimizer.when": {"momentum": 0.9}}, "search.loci"),
    ("when-text", {"search.loci.momentum.when": "sgd"}, "search.loci.momentum.when"),
    # schedules
    ("schedule-shape", scheduled({"shape": "line"}), "search.options.schedule.rate.shape"),
    ("schedule-no-shape", scheduled({"end": 0.1}), "search.options.schedule.rate"),
    (
        "schedule-unknown-key",
        scheduled({"shape": "cosine", "ends": 0.1}),
        "search.options.schedule.rate.ends",
    ),
    (
        "schedule-no-factors",
        scheduled({"shape": "steps", "at": [0.5]}),
        "search.options.schedule.rate.factors",
    ),
    ("schedule-end", scheduled({"shape": "cosine", "end": 2.0}), "search.options.schedule.rate.end"),
    ("schedule-text", scheduled("cosine"), "search.options.schedule.rate"),
    (
        "schedule-no-float",
        {**scheduled(0.5), "search.loci": {"layers": {"type": "int", "low": 1, "high": 6, "initial": 3}}},
        "search.options.schedule",
    ),
    (
        "mutation-step-taken",
        {"search.options": {"mutation": "self_adaptive"}, "search.loci.mutation_step": {"type": "bool"}},
        "search.loci.mutation_step",
    ),
    # the strategy and the population
    ("mutate-best-population", {"search.strategy": "mutate_best", "search.options": {}}, "search.population"),
    (
        "gains-unknown-locus",
        {"search.strategy": "mutate_best", "search.options": {"gains": {"rat": 1.0}}, "search.population": 1},
        "search.options.gains",
    ),
    ("strategy-list", {"search.strategy": ["a"]}, "search.strategy"),
    (
        "initial-missing-mutate-best",
        {
            "search.strategy": "mutate_best",
            "search.options": {},
            "search.population": ABSENT,
            "search.loci.rate.initial": ABSENT,
        },
        "search.loci.rate",
    ),
    ("weights-zero", {"objective.metric": "sum", "objective.weights": {"validation_loss": 0.0}}, "objective"),
    ("weights-empty", {"objective.weights": {}}, "objective.weights"),
    ("weights-name-the-metric", {"objective.weights": {"validation_loss": 1.0}}, "objective"),
    ("strategy-near", {"search.strategy": "tri_parents"}, "search.strategy"),
    ("strategy-unknown", {"search.strategy": "xyz"}, "search.strategy"),
    ("strategy-no-module", {"search.strategy": "no.such:Thing"}, "search.strategy"),
    ("strategy-no-attribute", {"search.strategy": "math:nothing"}, "search.strategy"),
    ("strategy-not-a-class", {"search.strategy": "math:pi"}, "search.strategy"),
    ("strategy-not-a-strategy", {"search.strategy": "collections:Counter"}, "search.strategy"),
    ("strategy-number", {"search.strategy": 3}, "search.strategy"),
    ("population-too-small", {"search.population": 1}, "search.population"),
    ("population-zero", {"search.population": 0}, "search.population"),
    ("population-bool", {"search.population": True}, "search.population"),
    ("population-text", {"search.population": "12"}, "search.population"),
    ("population-fraction", {"search.population": 1.5}, "search.population"),
    ("population-missing", {"search.population": ABSENT}, "search.population"),
    ("generations-zero", {"search.generations": 0}, "search.generations"),
    ("sigma-negative", {"search.options.sigma": -1.0}, "search.options.sigma"),
    ("sigma-text", {"search.options.sigma": "5"}, "search.options.sigma"),
    ("options-initial", {"search.options.initial": "any"}, "search.options.initial"),
    # the workload
    (
        "losses-of-command",
        {"workload": {"command": "python train.py"}, "objective.metric": "fom", "run.losses_per_epoch": 20},
        "run.losses_per_epoch",
    ),
    ("losses-negative", {"run.losses_per_epoch": -1}, "run.losses_per_epoch"),
    ("losses-too-many", {"run.losses_per_epoch": 1001}, "run.losses_per_epoch"),
    ("use-and-command", {"workload.command": "python train.py"}, "workload"),
    ("no-workload-kind", {"workload.use": ABSENT}, "workload"),
    ("use-no-colon", {"workload.use": "lenet.LeNet"}, "workload"),
    ("use-space", {"workload.use": "a b:C"}, "workload"),
    ("use-two-colons", {"workload.use": "a:b:C"}, "workload"),
    ("command-empty", {"workload": {"command": ""}}, "workload"),
    ("command-no-words", {"workload": {"command": []}}, "workload"),
    ("workload-missing", {"workload": ABSENT}, "workload"),
    # the rest
    ("run-none", {"run": None}, "run"),
    ("seed-negative", {"run.seed": -1}, "run.seed"),
    ("mode", {"objective.mode": "maximise"}, "objective.mode"),
    ("max-bytes-zero", {"checkpoints.max_bytes": 0}, "checkpoints.max_bytes"),
    ("failed-fraction", {"limits.max_failed_fraction": 2}, "limits.max_failed_fraction"),
    ("wall-time-nan", {"limits.wall_time_s": math.nan}, "limits.wall_time_s"),
    ("attempts-zero", {"limits.max_attempts": 0}, "limits.max_attempts"),
    ("workers-zero", {"cluster.workers": 0}, "cluster.workers"),
    ("workers-text", {"cluster.workers": "all"}, "cluster.workers"),
    ("workers-per-member-zero", {"cluster.workers_per_member": 0}, "cluster.workers_per_member"),
    (
        "gang-members-per-task",
        {"cluster.workers_per_member": 2, "cluster.members_per_task": 3},
        "cluster.members_per_task",
    ),
    ("batch-norm-without-gang", {"cluster.batch_norm": "synchronised"}, "cluster.batch_norm"),
    (
        "gang-of-a-program",
        {
            "cluster.workers_per_member": 2,
            "workload": {"command": "./train {learning_rate}"},
            "search.judge": "raw",
        },
        "cluster.workers_per_member",
    ),
    ("members-per-task-zero", {"cluster.members_per_task": 0}, "cluster.members_per_task"),
    ("members-per-device-text", {"cluster.members_per_device": "many"}, "cluster.members_per_device"),
    ("workers-per-device-zero", {"cluster.workers_per_device": 0}, "cluster.workers_per_device"),
    ("pool-without-pools", {"search.pool": 4}, "search.pool"),
    ("pool-one", {"search.pace": "pools", "search.pool": 1}, "search.pool"),
    (
        "pace-steady",
        {"search.strategy": "random_search", "search.options": {}, "search.pace": "steady"},
        "search.pace",
    ),
    ("epochs-and-steps", {"search.epochs_per_generation": 2, "search.steps_per_generation": 9}, "search"),
    ("workers-bool", {"cluster.workers": True}, "cluster.workers"),
    ("workers-float", {"cluster.workers": 2.0}, "cluster.workers"),
]
"""What is changed in the small config, and the key that the message begins with."""


def complaint_about(changes: dict[str, Any]) -> str:
    """What is said of the small config with these changes, less the name of the file."""
    said = complaint(lambda: parse(small(changes), "my config.yaml"))
    assert said.startswith("my config.yaml: ")
    return said.removeprefix("my config.yaml: ")


@pytest.mark.parametrize(("key", "near"), UNKNOWN_KEYS)
def test_an_unknown_key_is_refused_at_every_level_with_the_nearest_known_one(key: str, near: str) -> None:
    said = complaint_about({key: 1})
    assert said.startswith(f"{key}: ")
    assert near in said.removeprefix(key)
    assert "\n" not in said
    assert_golden(f"config/unknown-key/{key}", said)


@pytest.mark.parametrize(("name", "changes", "key"), BAD, ids=[name for name, *_ in BAD])
def test_a_bad_value_is_refused_with_its_key_the_value_and_what_would_be_right(
    name: str, changes: dict[str, Any], key: str
) -> None:
    said = complaint_about(changes)
    assert said.startswith(key)
    assert "\n" not in said
    assert_golden(f"config/bad-value/{name}", said)


@pytest.mark.parametrize(
    "name",
    ["a/b", "..", ".", "", "-a", ".a", "a..b", "a\n", "a\nb", "a b", "ä", "a\\b", "~", "a\0", "a" * 101],
)
def test_a_run_name_that_cannot_name_a_directory_is_refused(name: str) -> None:
    said = complaint_about({"run.name": name})
    assert said.startswith("run.name: ")
    assert_golden("config/run-name", said, name=repr(name))


def test_all_problems_are_listed_at_once_a_line_each() -> None:
    said = complaint_about(
        {"run.sead": 1, "objective.mode": "x", "search.population": 0, "search.loci.a": {}}
    )
    _, *lines = said.split("\n")
    assert_golden("config/four-problems", said)
    assert [line.split(":")[0].strip() for line in lines] == [
        "run.sead",
        "objective.mode",
        "search.population",
        "search.loci.a",
    ]


def test_all_that_the_strategy_finds_wrong_is_listed_at_once() -> None:
    absent = {f"search.loci.{name}.initial": ABSENT for name in ("rate", "layers")}
    said = complaint_about({**absent, "search.population": 1})
    _, *lines = said.split("\n")
    assert_golden("config/three-problems-of-the-strategy", said)
    assert [line.split(":")[0].strip() for line in lines] == [
        "search.population",
        "search.loci.rate",
        "search.loci.layers",
    ]


def test_all_unknown_options_of_the_strategy_are_listed_at_once() -> None:
    said = complaint_about(
        {"search.strategy": "random_search", "search.options": {"sigma": 5.0, "keep": "one"}}
    )
    assert_golden("config/two-unknown-options", said)
    assert [line.split(":")[0].strip() for line in said.split("\n")[1:]] == [
        "search.options.sigma",
        "search.options.keep",
    ]


def test_an_empty_config_lists_every_section_that_must_be_there() -> None:
    said = complaint(lambda: parse({}))
    assert_golden("config/empty", said)
    assert [line.split(":")[0].strip() for line in said.split("\n")[1:]] == [
        *("run", "workload", "objective", "search")
    ]


@pytest.mark.parametrize(
    "key, value",
    [
        ("workload", {"command": 3}),
        ("workload", {"command": ["python", 3]}),
        ("search.loci.optimizer.choices", ["sgd", {"a": 1}]),
        ("search.loci.optimizer.choices", ["sgd", [[{"a": 1}]]]),
        ("search.loci.optimizer.choices", ["sgd", math.nan]),
        ("search.loci.momentum.when", {"optimizer": {"not": "sgd"}}),
    ],
)
def test_one_bad_value_is_one_problem(key: str, value: Any) -> None:
    said = complaint_about({key: value})
    assert said.startswith(key)
    assert "\n" not in said
    assert "list[" not in said


@pytest.mark.parametrize(
    ("name", "path"), [("relative", ".relative:Strategy"), ("spoilt", "spoilt_strategy:Strategy")]
)
def test_a_strategy_whose_module_does_not_import_is_refused(
    name: str, path: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("modules")
    (folder / "spoilt_strategy.py").write_text("def f(:")
    monkeypatch.syspath_prepend(folder)
    said = complaint_about({"search.strategy": path})
    assert said.startswith("search.strategy: ")
    assert_golden(f"config/strategy-not-imported/{name}", said)


def test_a_misspelled_strategy_is_named_beside_what_is_missing_without_it() -> None:
    bad = small({"search.strategy": "mutate_bets", "search.population": ABSENT})
    message = complaint(lambda: parse(bad))
    assert [line.split(":")[0].strip() for line in message.split("\n")[1:]] == [
        "search.population",
        "search.strategy",
    ]
    assert_golden("config/strategy-and-population", message)
