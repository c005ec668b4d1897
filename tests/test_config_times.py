"""Times in a config, as people write them: 12:00:00 without quotes is what it says."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from evodevo import yaml_text
from evodevo.config import parse
from evodevo.config_file import parse_override
from tests.configs import SMALL, complaint, load_text, small
from tests.golden import assert_golden

SECONDS = [
    ("12:00:00", 43200.0),
    ("1:30:00", 5400.0),
    ("90:00", 5400.0),
    ("0:05", 5.0),
    ("2-00:00:00", 172800.0),
    ("1-12:30", 131400.0),
    ("43200", 43200.0),
    ("0.5", 0.5),
]


@pytest.mark.parametrize("walltime", ["12:00:00", "1:30:00", "90:00", "04:00:00", "2-00:00:00", "8:00"])
def test_a_walltime_without_quotes_is_the_time_it_says(walltime: str, tmp_path: Path) -> None:
    config = load_text(tmp_path, f"{SMALL}cluster: {{slurm: {{walltime: {walltime}}}}}\n")
    assert config.cluster.slurm.walltime == walltime
    assert parse_override(f"cluster.slurm.walltime={walltime}")[1] == walltime


@pytest.mark.parametrize("key", ["epoch_timeout_s", "wall_time_s"])
@pytest.mark.parametrize(("text", "seconds"), SECONDS)
def test_a_limit_may_be_a_time_as_well_as_seconds(
    key: str, text: str, seconds: float, tmp_path: Path
) -> None:
    config = load_text(tmp_path, f"{SMALL}limits: {{{key}: {text}}}\n")
    assert getattr(config.limits, key) == seconds
    assert getattr(parse(config.to_json()).limits, key) == seconds


@pytest.mark.parametrize("value", [43200, 240, 1.5])
def test_a_walltime_that_is_a_number_is_refused_as_it_has_no_unit(value: float) -> None:
    said = complaint(lambda: parse(small({"cluster.slurm": {"walltime": value}})))
    assert said.startswith("config: cluster.slurm.walltime: ")
    assert_golden("config/walltime-number", said, value=value)


@pytest.mark.parametrize("value", ["soon", "1:75:00", "12h", "1:00:00:00", "-1:00", "", "1:00:00\n"])
def test_a_limit_that_is_no_time_is_refused_with_both_forms(value: str) -> None:
    said = complaint(lambda: parse(small({"limits.wall_time_s": value})))
    assert said.startswith("config: limits.wall_time_s: ")
    assert_golden("config/not-a-time", said, value=repr(value))


@pytest.mark.parametrize("value", [0, "0:00", -5, True, [1]])
def test_a_limit_that_is_nothing_or_no_number_is_refused(value: Any) -> None:
    assert complaint(lambda: parse(small({"limits.epoch_timeout_s": value}))).startswith(
        "config: limits.epoch_timeout_s: "
    )


@pytest.mark.parametrize("text", ["12:00:00", "1:30", "190:20:30", "-1:30", "1:30.5", "190:20:30.15"])
def test_numbers_to_the_base_60_are_text(text: str) -> None:
    assert yaml_text.load(f"[{text}, {{a: {text}}}]") == [text, {"a": text}]
    assert yaml_text.load(yaml_text.dump({"a": text})) == {"a": text}
    assert isinstance(yaml.safe_load(text), int | float)  # for others YAML is as it was


def test_other_numbers_stay_numbers() -> None:
    assert yaml_text.load("[1, -2, 0x1f, 017, 1_000, 1.5, .5, 2e3, .inf]") == [
        *(1, -2, 31, 15, 1000, 1.5, 0.5, 2000.0, float("inf"))
    ]
