"""Good configs: what is filled in, and that nothing is lost between YAML, the journal and back.

Bad ones: test_config_errors.py; files, YAML and --set: test_config_yaml.py.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from evodevo.config import RunConfig, parse, read_config
from evodevo.config_file import load
from evodevo.errors import UsageError
from evodevo.evolution.space import Space
from evodevo.evolution.strategies.random_search import RandomSearch
from evodevo.evolution.strategies.tri_parent import TriParent
from tests.configs import ABSENT, QUICKSTART, SMALL, complaint, load_text, small
from tests.evolution.spaces import identical, spaces
from tests.golden import assert_golden

EVERY_LOCUS: dict[str, Any] = {
    "rate": {"type": "float", "low": 1e-4, "high": 1, "scale": "log", "initial": 0.02},
    "shift": {"type": "float", "low": -1.5, "high": 0.1, "initial": -0.0},
    "width": {"type": "int", "low": 1, "high": 512, "scale": "log", "initial": 64},
    "mixed": {
        "type": "choice",
        "choices": [None, True, 1, 1.0, "1", "on", "", "1.5", "ü\n'\""],
        "initial": 1.0,
    },
    "nesterov": {"type": "bool", "initial": False, "when": {"momentum": 0.9, "mixed": [True, 1, None]}},
    "momentum": {"type": "fixed", "value": 0.9},
    "nothing": {"type": "fixed", "value": None, "when": {"nesterov": True}},
}


def assert_comes_back(config: RunConfig, tmp_path: Path) -> None:
    """The config survives its own YAML and the journal's JSON, to the type and the order of every value."""
    assert identical(load_text(tmp_path, config.to_yaml()), config)
    assert identical(parse(json.loads(json.dumps(config.to_json(), allow_nan=False))), config)


def test_the_quickstart_is_valid_and_comes_back_as_it_was(tmp_path: Path) -> None:
    config = load(QUICKSTART)
    assert (config.run.name, config.search.strategy) == ("quickstart", "tri_parent")
    assert config.space().without_initial() == []
    assert_comes_back(config, tmp_path)


@pytest.mark.parametrize("name", EVERY_LOCUS)
def test_a_locus_of_each_type_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    one = {name: {key: value for key, value in EVERY_LOCUS[name].items() if key != "when"}}
    config = parse(small({"search.loci": one}))
    given = one[name].get("initial", one[name].get("value"))
    assert identical(config.space().given(), {name: given})
    assert_comes_back(config, tmp_path)


def test_conditional_loci_come_back_as_they_were(tmp_path: Path) -> None:
    config = parse(small({"search.loci": EVERY_LOCUS}))
    assert config.search.loci["nesterov"].when == {"momentum": 0.9, "mixed": [True, 1, None]}
    assert list(config.space().loci) == list(EVERY_LOCUS)
    assert_comes_back(config, tmp_path)


def test_loci_without_initial_come_back_as_they_were_where_founders_are_random(tmp_path: Path) -> None:
    changes = {f"search.loci.{name}.initial": ABSENT for name in ("rate", "layers", "optimizer")}
    config = parse(small({**changes, "search.options.initial": "random"}))
    assert config.space().without_initial() == ["rate", "layers", "optimizer"]
    assert_comes_back(config, tmp_path)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(space=spaces(), options=st.dictionaries(st.text(max_size=3), st.booleans() | st.integers()))
def test_any_space_and_options_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, space: Space, options: dict[str, Any]
) -> None:
    loci = {name: locus.model_dump() for name, locus in space.loci.items()}
    config = parse(
        small({"search.loci": loci, "workload.options": options, "search.options.initial": "random"})
    )
    assert config.space().loci == space.loci
    assert_comes_back(config, tmp_path_factory.getbasetemp())


@pytest.mark.parametrize("command", ["python train.py --epochs 1", ["python", "my train.py", "--x=1"]])
def test_a_command_comes_back_as_it_was_written(command: str | list[str], tmp_path: Path) -> None:
    config = parse(small({"workload": {"command": command}}))
    assert config.workload.command == command
    assert_comes_back(config, tmp_path)


@pytest.mark.parametrize("text", ["1e-4", "2E5"])
def test_text_that_looks_like_a_number_stays_text(text: str, tmp_path: Path) -> None:
    assert_comes_back(parse(small({"run.name": text})), tmp_path)


@pytest.mark.parametrize(
    "key, value",
    [
        ("workload.options.a", ".nan"),
        ("workload.options.a", ".inf"),
        ("workload.options.a", "2020-01-01"),
        ("workload.options.a", "{1: one}"),
        ("workload.options.a", "!!binary /w=="),
        ("search.options.sigma", ".inf"),
    ],
)
def test_an_option_that_json_cannot_hold_is_refused_or_comes_back_as_it_was(
    key: str, value: str, tmp_path: Path
) -> None:
    old = {"workload.options.a": "batch_size: 50", "search.options.sigma": "sigma: 5.0"}[key]
    try:
        config = load_text(tmp_path, SMALL.replace(old, f"{key.rpartition('.')[2]}: {value}"))
    except UsageError:
        return
    assert_comes_back(config, tmp_path)


def test_a_resolved_config_has_every_default_filled_in() -> None:
    resolved = parse(small()).to_json()
    assert resolved["search"]["strategy"] == "tri_parent"
    assert resolved["search"]["loci"]["layers"]["scale"] == "linear"
    assert resolved["data"] == {"root": None}
    assert resolved["checkpoints"] == {"url": None, "max_bytes": None, "on_mismatch": "stop"}
    assert resolved["limits"] == {
        "epoch_timeout_s": None,
        "wall_time_s": None,
        "member_epochs": None,
        "member_time_s": None,
        "max_attempts": 3,
        "confirm_failures": True,
        "max_lost_workers": None,
        "straggler_factor": 5.0,
        "max_failed_fraction": 0.5,
    }
    slurm = resolved["cluster"].pop("slurm")
    assert resolved["cluster"] == {
        "workers": "auto",
        "workers_per_device": 1,
        "members_per_device": 1,
        "stacked": "auto",
        "members_per_task": "auto",
        "threads_per_member": 1,
        "workers_per_member": 1,
        "batch_norm": "local",
        "device": "any",
    }
    assert (slurm["gpus"], slurm["min_workers"], slurm["max_workers"]) == (1, 1, 8)
    assert list(resolved) == list(RunConfig.model_fields)


def test_a_journal_has_the_losses_per_epoch_only_if_they_are_set_and_the_file_has_every_key() -> None:
    without, recording = parse(small()), parse(small({"run.losses_per_epoch": 3}))
    assert without.to_json()["run"] == {"name": "small", "seed": 7, "trackers": {}}
    assert read_config(without.to_json()) == without
    assert recording.to_json()["run"]["losses_per_epoch"] == 3
    assert read_config(recording.to_json()) == recording
    assert yaml.safe_load(without.to_yaml())["run"]["losses_per_epoch"] == 0


def test_configs_differ_in_what_a_result_depends_on_and_in_nothing_else() -> None:
    here = parse(small())
    elsewhere = {
        "cluster.workers": 7,
        "cluster.workers_per_device": 2,
        "cluster.members_per_device": 8,
        "cluster.members_per_task": 3,
        "cluster.device": "gpu",
        "cluster.slurm": {"max_workers": 99},
    }
    assert here.differs_from(parse(small(elsewhere))) == []
    other = parse(small({"search.population": 11, "cluster.threads_per_member": 2}))
    assert here.differs_from(other) == ["search", "cluster.threads_per_member"]
    gang = parse(small({"cluster.workers_per_member": 2}))
    assert here.differs_from(gang) == ["cluster.workers_per_member"]
    recording = parse(small({"run.losses_per_epoch": 3}))
    assert here.differs_from(recording) == ["run.losses_per_epoch"]
    synchronised = parse(small({"cluster.workers_per_member": 2, "cluster.batch_norm": "synchronised"}))
    assert gang.differs_from(synchronised) == ["cluster.batch_norm"]


@pytest.mark.parametrize("memory", ["8", "lots", "0GB", "-1GB"])
def test_what_is_not_an_amount_of_memory_is_refused(memory: str) -> None:
    said = complaint(lambda: parse(small({"cluster.slurm": {"memory": memory}})))
    assert said.startswith("config: cluster.slurm.memory: ")
    assert_golden("config/slurm-memory", said, value=repr(memory))


def test_a_run_cannot_have_the_name_of_the_directory_of_slurms_logs() -> None:
    assert_golden("config/run-named-slurm", complaint(lambda: parse(small({"run.name": "slurm"}))))


@pytest.mark.parametrize("walltime", ["4", "4h", "00:30:00:00", "-1:00", "99:99:99"])
def test_a_walltime_that_sbatch_would_not_take_is_refused(walltime: str) -> None:
    said = complaint(lambda: parse(small({"cluster.slurm": {"walltime": walltime}})))
    assert said.startswith("config: cluster.slurm.walltime: ")


def test_fewer_workers_at_most_than_at_least_are_refused() -> None:
    said = complaint(lambda: parse(small({"cluster.slurm": {"min_workers": 3, "max_workers": 2}})))
    assert_golden("config/slurm-fewer-at-most-than-at-least", said)


def test_a_run_name_may_have_a_hundred_characters_with_dots_and_dashes(tmp_path: Path) -> None:
    name = "0" + ("a.b-c_D" * 15)[:99]
    config = parse(small({"run.name": name}))
    assert config.run.name == name
    assert_comes_back(config, tmp_path)


def test_versions_come_back_as_they_were(tmp_path: Path) -> None:
    config = parse(small()).model_copy(update={"versions": {"torch": "2.6", "python": "3.11"}})
    assert_comes_back(config, tmp_path)
    assert load_text(tmp_path, config.to_yaml()).versions == {"torch": "2.6", "python": "3.11"}


def test_the_strategy_gets_the_space_the_population_the_mode_the_seed_and_its_options() -> None:
    config = parse(small({"objective.mode": "max", "search.options.keep": "both"}))
    strategy = config.strategy()
    assert type(strategy) is TriParent
    assert (strategy.population, strategy.mode, strategy.seed) == (4, "max", 7)
    assert config.strategy().options.model_dump(include={"sigma", "keep"}) == {"sigma": 5.0, "keep": "both"}
    assert strategy.space.loci == config.search.loci


def test_a_strategy_may_be_given_by_its_import_path() -> None:
    path = "evodevo.evolution.strategies.random_search:RandomSearch"
    config = parse(small({"search.strategy": path, "search.options": {}}))
    assert type(config.strategy()) is RandomSearch


def test_replay_may_have_a_population_of_one() -> None:
    options = {"genomes": [{}, {}], "training_seeds": [1, 2]}
    changes = {"search.strategy": "replay", "search.options": options, "search.population": 1}
    assert parse(small(changes)).strategy().founder(0, 0).training_seed == 1


def test_a_config_does_not_change() -> None:
    config = parse(small())
    with pytest.raises(ValidationError):
        config.run.seed = 8  # type: ignore[misc]
    assert config.run.seed == 7


@pytest.mark.parametrize("key", ["data.root", "checkpoints.url"])
@pytest.mark.parametrize(
    "given, kept",
    [
        ("here/sets", "{cwd}/here/sets"),
        ("/abs/sets", "/abs/sets"),
        ("s3://bucket/sets", "s3://bucket/sets"),
        (None, None),
    ],
)
def test_a_relative_path_is_taken_from_the_current_directory_and_a_url_is_left_alone(
    key: str, given: str | None, kept: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    section, name = key.split(".")
    config = load_text(tmp_path, SMALL, {key: given})
    expected = kept and kept.format(cwd=tmp_path / "elsewhere")
    assert getattr(getattr(config, section), name) == expected
