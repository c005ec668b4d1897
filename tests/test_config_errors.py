"""What is wrong in a config: one message that names the key, its value and what would be right."""

import math
from typing import Any

import pytest

from evodevo.config import parse
from tests.configs import ABSENT, complaint, small

SECTIONS = (
    "Known: run, workload, objective, search, data, checkpoints, limits, cluster, compare, "
    "phases, phase, versions"
)
A_NAME = "use letters, digits, '_', '-' and single dots, beginning with a letter or digit, 100 at the most"
FORM = "should have the form module:Class"
ONE_OF_TWO = "workload: give either `use: module:Class` or `command: program ...`"
STRATEGIES = (
    "There are tri_parent, vose2019, truncation_pbt, random_search, scheduled, mutate_best, "
    "natural_selection, truncation_ga, variable_length, replay, or give an import path"
)


def scheduled(shape: Any) -> dict[str, Any]:
    """Changes that put the learning rate of the small config on a schedule."""
    options = {"epochs": 2, "schedule": {"rate": shape}}
    return {"search.strategy": "scheduled", "search.options": options}


A_MAPPING = "should be a mapping of keys to values, not"

UNKNOWN_KEYS = {
    "runn": f"did you mean run? {SECTIONS}",
    "run.sead": "did you mean seed? Known: name, seed",
    "workload.option": "did you mean options? Known: use, command, options",
    "objective.metrik": "did you mean metric? Known: metric, mode",
    "search.popluation": "did you mean population? Known: strategy, population, generations, pace",
    "search.options.sigm": "did you mean sigma? Known: ",
    "search.loci.rate.hihg": "did you mean high? Known: ",
    "search.loci.layers.lo": "did you mean low? Known: ",
    "search.loci.optimizer.choice": "did you mean choices? Known: ",
    "data.rot": "did you mean root? Known: root",
    "checkpoints.maxbytes": "did you mean max_bytes? Known: url, max_bytes",
    "limits.qqq": "Known: epoch_timeout_s, wall_time_s, member_epochs, member_time_s, max_attempts",
    "cluster.worker": "did you mean workers? Known: workers, workers_per_device, members_per_device",
}

BAD: list[tuple[dict[str, Any], list[str]]] = [
    # bounds
    ({"search.loci.momentum.low": 2.0}, ["search.loci.momentum: low 2.0 is not below high 0.99"]),
    ({"search.loci.layers.high": 1}, ["search.loci.layers: low 1 is not below high 1"]),
    ({"search.loci.rate.low": 0.0}, ["search.loci.rate: a log scale needs low above 0, not 0.0"]),
    ({"search.loci.rate.low": -1.0}, ["search.loci.rate: a log scale needs low above 0, not -1.0"]),
    ({"search.loci.rate.low": math.nan}, ["search.loci.rate.low: ", "finite number", "not nan"]),
    ({"search.loci.rate.high": math.inf}, ["search.loci.rate.high: ", "finite number", "not inf"]),
    ({"search.loci.momentum.low": -math.inf}, ["search.loci.momentum.low: ", "finite number", "not -inf"]),
    ({"search.loci.rate.low": "0.1"}, ["search.loci.rate.low: ", "valid number", "not '0.1'"]),
    ({"search.loci.layers.low": 1.5}, ["search.loci.layers.low: ", "valid integer", "not 1.5"]),
    ({"search.loci.rate.scale": "lgo"}, ["search.loci.rate.scale: ", "'linear' or 'log'", "not 'lgo'"]),
    ({"search.loci.rate.low": ABSENT}, ["search.loci.rate.low: is missing"]),
    # initial values
    ({"search.loci.momentum.initial": 3.0}, ["search.loci.momentum: initial 3.0 is outside [0.5, 0.99]"]),
    ({"search.loci.layers.initial": 0}, ["search.loci.layers: initial 0 is outside [1, 6]"]),
    ({"search.loci.rate.initial": math.nan}, ["search.loci.rate.initial: ", "finite number", "not nan"]),
    (
        {"search.loci.rate.initial": ABSENT},
        ["search.loci.rate: initial is missing", "'spread'", "search.options.initial to random"],
    ),
    (
        {"search.loci.rate.initial": ABSENT, "search.options.initial": "given"},
        ["search.loci.rate: initial is missing", "'given'", "search.options.initial to random"],
    ),
    (
        {"search.loci.rate.initial": ABSENT, "search.options": {}},
        ["search.loci.rate: initial is missing", "search.options.initial to random"],
    ),
    # other loci
    ({"search.loci": {}}, ["search.loci: is empty"]),
    ({"search.loci": ["rate"]}, [f"search.loci: {A_MAPPING} ['rate']"]),
    ({"search.loci.rate": 3}, [f"search.loci.rate: {A_MAPPING} 3"]),
    (
        {"search.loci.rate.type": "flot"},
        [
            "search.loci.rate.type: unknown type 'flot'; did you mean float? ",
            "Known: float, int, choice, bool, fixed",
        ],
    ),
    (
        {"search.loci.rate.type": ABSENT},
        ["search.loci.rate: has no type; Known: float, int, choice, bool, fixed"],
    ),
    ({"search.loci.optimizer.choices": ["adam"]}, ["search.loci.optimizer: choices ['adam']", "two or more"]),
    ({"search.loci.optimizer.choices": ["sgd", "sgd"]}, ["search.loci.optimizer: ", "name 'sgd' twice"]),
    (
        {"search.loci.optimizer.initial": "lamb"},
        ["search.loci.optimizer: initial 'lamb' is not one of the choices ['adam', 'sgd']"],
    ),
    (
        {"search.loci.flag": {"type": "bool", "initial": "yes"}},
        ["search.loci.flag.initial: ", "boolean", "'yes'"],
    ),
    ({"search.loci.fix": {"type": "fixed"}}, ["search.loci.fix.value: is missing"]),
    # conditions
    (
        {"search.loci.momentum.when": {"optimiser": "sgd"}},
        ["search.loci.momentum.when names 'optimiser', but the loci are rate, layers, optimizer, momentum"],
    ),
    (
        {"search.loci.momentum.when": {"optimizer": ["sgd", "lamb"]}},
        ["search.loci.momentum.when asks for optimizer = 'lamb', which optimizer can never be"],
    ),
    (
        {"search.loci.optimizer.when": {"momentum": 0.9}},
        ["search.loci", "optimizer.when goes round in a circle: optimizer -> momentum -> optimizer"],
    ),
    ({"search.loci.momentum.when": "sgd"}, [f"search.loci.momentum.when: {A_MAPPING} 'sgd'"]),
    # schedules
    (
        scheduled({"shape": "line"}),
        ["search.options.schedule.rate.shape: unknown shape 'line'; ", "Known: constant, steps, cosine"],
    ),
    (scheduled({"end": 0.1}), ["search.options.schedule.rate: has no shape; Known: constant, steps, cosine"]),
    (
        scheduled({"shape": "cosine", "ends": 0.1}),
        ["search.options.schedule.rate.ends: unknown key; did you mean end? ", "warmup"],
    ),
    (
        scheduled({"shape": "steps", "at": [0.5]}),
        ["search.options.schedule.rate.factors: is missing"],
    ),
    (
        scheduled({"shape": "cosine", "end": 2.0}),
        ["search.options.schedule.rate.end: ", "less than or equal to 1", "not 2.0"],
    ),
    (scheduled("cosine"), [f"search.options.schedule.rate: {A_MAPPING} 'cosine'"]),
    (
        {**scheduled(0.5), "search.loci": {"layers": {"type": "int", "low": 1, "high": 6, "initial": 3}}},
        ["search.options.schedule: 'rate' is no float locus; there are none"],
    ),
    (
        {"search.options": {"mutation": "self_adaptive"}, "search.loci.mutation_step": {"type": "bool"}},
        ["search.loci.mutation_step: tri_parent has a locus of that name of its own"],
    ),
    # the strategy and the population
    (
        {"search.strategy": "mutate_best", "search.options": {}},
        ["search.population: is 4, but a generation of mutate_best is one member; leave population out"],
    ),
    (
        {"search.strategy": "mutate_best", "search.options": {"gains": {"rat": 1.0}}, "search.population": 1},
        ["search.options.gains: there is no locus 'rat'; there are rate, layers, optimizer, momentum"],
    ),
    ({"search.strategy": ["a"]}, ["search.strategy: ", "['a']"]),
    (
        {
            "search.strategy": "mutate_best",
            "search.options": {},
            "search.population": ABSENT,
            "search.loci.rate.initial": ABSENT,
        },
        ["search.loci.rate: initial is missing"],
    ),
    (
        {"objective.metric": "sum", "objective.weights": {"validation_loss": 0.0}},
        ["objective: weights are all zero, so that no member would be better than another"],
    ),
    (
        {"objective.weights": {}},
        ["objective.weights: is empty"],
    ),
    (
        {"objective.weights": {"validation_loss": 1.0}},
        ["objective: metric 'validation_loss' is one of the weights; give their sum another name"],
    ),
    (
        {"search.strategy": "tri_parents"},
        ["search.strategy: no strategy 'tri_parents'; did you mean tri_parent? "],
    ),
    ({"search.strategy": "xyz"}, [f"search.strategy: no strategy 'xyz'; {STRATEGIES}", "module:Class"]),
    (
        {"search.strategy": "no.such:Thing"},
        ["search.strategy: cannot import 'no.such:Thing': ModuleNotFoundError: No module named 'no'"],
    ),
    ({"search.strategy": "math:nothing"}, ["search.strategy: cannot import 'math:nothing': ", "'nothing'"]),
    (
        {"search.strategy": "math:pi"},
        ["search.strategy: 'math:pi' is not a subclass of ", "evodevo.Strategy"],
    ),
    (
        {"search.strategy": "collections:Counter"},
        ["search.strategy: 'collections:Counter' is not a subclass of "],
    ),
    ({"search.strategy": 3}, ["search.strategy: ", "valid string", "not 3"]),
    (
        {"search.population": 1},
        ["search.population: 1 is too small for tri_parent, which needs 2 or more"],
    ),
    ({"search.population": 0}, ["search.population: ", "greater than or equal to 1", "not 0"]),
    ({"search.population": True}, ["search.population: ", "valid integer", "not True"]),
    ({"search.population": "12"}, ["search.population: ", "valid integer", "not '12'"]),
    ({"search.population": 1.5}, ["search.population: ", "valid integer", "not 1.5"]),
    ({"search.population": ABSENT}, ["search.population: is missing"]),
    ({"search.generations": 0}, ["search.generations: ", "greater than or equal to 1", "not 0"]),
    ({"search.options.sigma": -1.0}, ["search.options.sigma: ", "greater than or equal to 0", "not -1.0"]),
    ({"search.options.sigma": "5"}, ["search.options.sigma: ", "valid number", "not '5'"]),
    (
        {"search.options.initial": "any"},
        ["search.options.initial: ", "'given', 'spread' or 'random'", "not 'any'"],
    ),
    # the workload
    ({"workload.command": "python train.py"}, [ONE_OF_TWO]),
    ({"workload.use": ABSENT}, [ONE_OF_TWO]),
    ({"workload.use": "lenet.LeNet"}, [f"workload: use is 'lenet.LeNet' and {FORM}"]),
    ({"workload.use": "a b:C"}, [f"workload: use is 'a b:C' and {FORM}"]),
    ({"workload.use": "a:b:C"}, [f"workload: use is 'a:b:C' and {FORM}"]),
    ({"workload": {"command": ""}}, ["workload: command is empty"]),
    ({"workload": {"command": []}}, ["workload: command is empty"]),
    ({"workload": ABSENT}, ["workload: is missing"]),
    # the rest
    ({"run": None}, [f"run: {A_MAPPING} None"]),
    ({"run.seed": -1}, ["run.seed: ", "greater than or equal to 0", "not -1"]),
    ({"objective.mode": "maximise"}, ["objective.mode: ", "'min' or 'max'", "not 'maximise'"]),
    ({"checkpoints.max_bytes": 0}, ["checkpoints.max_bytes: ", "greater than 0", "not 0"]),
    ({"limits.max_failed_fraction": 2}, ["limits.max_failed_fraction: ", "less than or equal to 1", "not 2"]),
    ({"limits.wall_time_s": math.nan}, ["limits.wall_time_s: ", "finite number", "not nan"]),
    ({"limits.max_attempts": 0}, ["limits.max_attempts: ", "greater than or equal to 1", "not 0"]),
    ({"cluster.workers": 0}, ["cluster.workers: 0 should be auto, or the number of workers, 1 or more"]),
    ({"cluster.workers": "all"}, ["cluster.workers: 'all' should be auto, or the number of workers"]),
    ({"cluster.workers_per_member": 0}, ["cluster.workers_per_member: ", "greater than or equal to 1"]),
    (
        {"cluster.workers_per_member": 2, "cluster.members_per_task": 3},
        ["cluster.members_per_task: several workers are given one member at a time"],
    ),
    (
        {"cluster.batch_norm": "synchronised"},
        ["cluster.batch_norm: counts only with cluster.workers_per_member of 2 or more"],
    ),
    (
        {
            "cluster.workers_per_member": 2,
            "workload": {"command": "./train {learning_rate}"},
            "search.judge": "raw",
        },
        ["cluster.workers_per_member: a program is trained by one worker"],
    ),
    (
        {"cluster.members_per_task": 0},
        ["cluster.members_per_task: 0 should be auto, or the number of members"],
    ),
    (
        {"cluster.members_per_device": "many"},
        ["cluster.members_per_device: 'many' should be auto, or the number of members, 1 or more"],
    ),
    ({"cluster.workers_per_device": 0}, ["cluster.workers_per_device: ", "greater than or equal to 1"]),
    ({"search.pool": 4}, ["search.pool: is 4, and counts only with search.pace: pools"]),
    ({"search.pace": "pools", "search.pool": 1}, ["search.pool: ", "greater than or equal to 2"]),
    (
        {"search.strategy": "random_search", "search.options": {}, "search.pace": "steady"},
        ["search.pace: is 'steady', and random_search knows generations only"],
    ),
    (
        {"search.epochs_per_generation": 2, "search.steps_per_generation": 9},
        ["search: give epochs_per_generation or steps_per_generation, not both"],
    ),
    ({"cluster.workers": True}, ["cluster.workers: True should be auto, or the number of workers"]),
    ({"cluster.workers": 2.0}, ["cluster.workers: 2.0 should be auto, or the number of workers"]),
]


def complaint_about(changes: dict[str, Any]) -> str:
    """What is said of the small config with these changes, less the name of the file."""
    said = complaint(lambda: parse(small(changes), "my config.yaml"))
    assert said.startswith("my config.yaml: ")
    return said.removeprefix("my config.yaml: ")


@pytest.mark.parametrize("key", UNKNOWN_KEYS)
def test_an_unknown_key_is_refused_at_every_level_with_the_nearest_known_one(key: str) -> None:
    said = complaint_about({key: 1})
    assert said.startswith(f"{key}: unknown key; {UNKNOWN_KEYS[key]}")
    assert "\n" not in said


@pytest.mark.parametrize("changes, parts", BAD, ids=[str(changes) for changes, _ in BAD])
def test_a_bad_value_is_refused_with_its_key_the_value_and_what_would_be_right(
    changes: dict[str, Any], parts: list[str]
) -> None:
    said = complaint_about(changes)
    assert said.startswith(parts[0])
    assert [part for part in parts if part not in said] == []
    assert "\n" not in said


@pytest.mark.parametrize(
    "name",
    ["a/b", "..", ".", "", "-a", ".a", "a..b", "a\n", "a\nb", "a b", "ä", "a\\b", "~", "a\0", "a" * 101],
)
def test_a_run_name_that_cannot_name_a_directory_is_refused(name: str) -> None:
    assert complaint_about({"run.name": name}) == f"run.name: {name!r} cannot name a directory; {A_NAME}"


def test_all_problems_are_listed_at_once_a_line_each() -> None:
    said = complaint_about(
        {"run.sead": 1, "objective.mode": "x", "search.population": 0, "search.loci.a": {}}
    )
    first, *lines = said.split("\n")
    assert first == "4 things are wrong:"
    assert [line.split(":")[0].strip() for line in lines] == [
        "run.sead",
        "objective.mode",
        "search.population",
        "search.loci.a",
    ]


def test_all_that_the_strategy_finds_wrong_is_listed_at_once() -> None:
    absent = {f"search.loci.{name}.initial": ABSENT for name in ("rate", "layers")}
    said = complaint_about({**absent, "search.population": 1})
    first, *lines = said.split("\n")
    assert first == "3 things are wrong:"
    assert [line.split(":")[0].strip() for line in lines] == [
        "search.population",
        "search.loci.rate",
        "search.loci.layers",
    ]


def test_all_unknown_options_of_the_strategy_are_listed_at_once() -> None:
    said = complaint_about(
        {"search.strategy": "random_search", "search.options": {"sigma": 5.0, "keep": "one"}}
    )
    assert said.split("\n")[1:] == [
        "  search.options.sigma: unknown key; Known: initial, initial_spread",
        "  search.options.keep: unknown key; Known: initial, initial_spread",
    ]


def test_an_empty_config_lists_every_section_that_must_be_there() -> None:
    said = complaint(lambda: parse({}))
    assert [line.strip() for line in said.split("\n")[1:]] == [
        f"{section}: is missing" for section in ("run", "workload", "objective", "search")
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
    assert "things are wrong" not in said
    assert "list[" not in said


@pytest.mark.parametrize("path", [".relative:Strategy", "spoilt_strategy:Strategy"])
def test_a_strategy_whose_module_does_not_import_is_refused(
    path: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("modules")
    (folder / "spoilt_strategy.py").write_text("def f(:")
    monkeypatch.syspath_prepend(folder)
    assert complaint_about({"search.strategy": path}).startswith(f"search.strategy: cannot import {path!r}: ")


def test_a_misspelled_strategy_is_named_beside_what_is_missing_without_it() -> None:
    bad = small({"search.strategy": "mutate_bets", "search.population": ABSENT})
    message = complaint(lambda: parse(bad))
    assert "search.strategy: no strategy 'mutate_bets'; did you mean mutate_best? " in message
    assert "search.population: is missing" in message
