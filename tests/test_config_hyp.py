"""`search.hyp`: the loci of a config from a hyp.yaml of YOLOv5's."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from evodevo.config import RunConfig
from evodevo.config_file import load
from evodevo.evolution.hyp import DEFAULTS
from evodevo.evolution.space import FixedLocus, FloatLocus
from tests.configs import complaint
from tests.golden import assert_golden

HYP = Path(__file__).resolve().parents[1] / "configs" / "hyp.yaml"
VALUES: dict[str, Any] = yaml.safe_load(HYP.read_text())


def load_with(folder: Path, values: dict[str, Any], **search: Any) -> RunConfig:
    """A config of `mutate_best`, or another strategy, that names a hyp.yaml with these values."""
    (folder / "hyp.yaml").write_text(yaml.safe_dump(values))
    config = {
        "run": {"name": "evolve"},
        "workload": {"use": "workers.workloads.detector:YOLO"},
        "objective": {"metric": "validation_map", "mode": "max"},
        "search": {"strategy": "mutate_best", "hyp": str(folder / "hyp.yaml"), **search},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return load(folder / "config.yaml")


def test_the_loci_and_gains_are_those_of_the_file(tmp_path: Path) -> None:
    config = load_with(tmp_path, VALUES)
    assert list(config.search.loci) == sorted(VALUES)  # in the file's order, which safe_dump sorts
    assert config.space().given() == VALUES
    assert config.search.options["gains"]["momentum"] == 0.3
    assert isinstance(config.search.loci["iou_t"], FixedLocus)
    assert isinstance(config.search.loci["lr0"], FloatLocus)


def test_what_the_config_gives_itself_goes_before_the_file(tmp_path: Path) -> None:
    own = {
        "fliplr": {"type": "float", "low": 0.0, "high": 1.0, "initial": 0.5},  # fixed in the file
        "blur": {"type": "float", "low": 0.0, "high": 2.0, "initial": 1.0},
    }
    config = load_with(tmp_path, VALUES, loci=own, options={"gains": {"lr0": 0.0}})
    assert config.space().given() == {**VALUES, "blur": 1.0}
    assert isinstance(config.search.loci["fliplr"], FloatLocus)
    assert config.search.options["gains"]["lr0"] == 0.0
    assert not {"fliplr", "blur"} & config.search.options["gains"].keys()


def test_a_gain_lets_a_name_evolve_that_the_table_fixes_and_a_gain_of_zero_fixes_one(tmp_path: Path) -> None:
    config = load_with(tmp_path, VALUES, options={"gains": {"fliplr": 1.0, "lr0": 0.0}})
    assert isinstance(config.search.loci["fliplr"], FloatLocus)
    assert isinstance(config.search.loci["lr0"], FixedLocus)
    asked = config.strategy()
    births = [asked.founder(generation, 0).genome for generation in range(1, 20)]
    assert len({birth["fliplr"] for birth in births}) > 10
    assert {birth["lr0"] for birth in births} == {VALUES["lr0"]}


def test_names_that_the_file_lacks_have_the_values_of_yolov5s_guide(tmp_path: Path) -> None:
    config = load_with(tmp_path, {"lr0": 0.02, "mixup": 0.1})
    assert config.space().given() == {**DEFAULTS, "lr0": 0.02, "mixup": 0.1}


def test_the_text_of_the_file_is_kept_and_is_no_difference_between_configs(tmp_path: Path) -> None:
    config = load_with(tmp_path, VALUES)
    assert config.search.hyp_text == (tmp_path / "hyp.yaml").read_text()
    text = "# another comment\n" + (tmp_path / "hyp.yaml").read_text()
    (tmp_path / "hyp.yaml").write_text(text)
    other = load(tmp_path / "config.yaml")
    assert other.search.hyp_text == text
    assert config.differs_from(other) == []
    (tmp_path / "hyp.yaml").write_text(text + "# " + 50_000 * "-")
    assert load(tmp_path / "config.yaml").search.hyp_text is None


def test_another_strategy_takes_the_loci_and_no_gains(tmp_path: Path) -> None:
    config = load_with(tmp_path, VALUES, strategy="tri_parent", population=4, generations=2)
    assert config.space().given() == VALUES
    assert config.search.options == {}


def test_a_resolved_config_stands_for_itself(tmp_path: Path) -> None:
    config = load_with(tmp_path, VALUES)
    (tmp_path / "hyp.yaml").unlink()
    (tmp_path / "resolved.yaml").write_text(config.to_yaml())
    assert load(tmp_path / "resolved.yaml") == config


def test_a_bad_file_is_one_message_that_names_it_and_all_that_is_wrong(tmp_path: Path) -> None:
    values = {**VALUES, "learning": 0.01, "momentun": 0.9, "box": "much"}
    message = complaint(lambda: load_with(tmp_path, values))
    assert message.startswith(f"{tmp_path / 'hyp.yaml'}: ")
    for name in ("learning", "momentun", "momentum", "box", "'much'"):
        assert name in message
    assert_golden("config/hyp/bad-values", message, tmp_path)


@pytest.mark.parametrize(
    ("name", "search"),
    [
        ("loci-list", {"loci": [1]}),
        ("options-text", {"options": "none"}),
        ("gains-number", {"options": {"gains": 1.0}}),
    ],
)
def test_sections_that_are_none_are_one_message(name: str, search: dict[str, Any], tmp_path: Path) -> None:
    assert_golden(f"config/hyp/{name}", complaint(lambda: load_with(tmp_path, VALUES, **search)), tmp_path)


@pytest.mark.parametrize("hyp", [5, False, ["a"], ""])
def test_what_is_no_path_is_refused(hyp: Any, tmp_path: Path) -> None:
    message = complaint(lambda: load_with(tmp_path, VALUES, hyp=hyp))
    assert message.startswith("search.hyp: ")
    assert_golden("config/hyp/not-a-path", message, value=repr(hyp))


def test_a_name_beyond_the_known_ones_is_good_where_the_config_has_its_locus(tmp_path: Path) -> None:
    ema = {"type": "float", "low": 0.9, "high": 1.0, "initial": 0.99}
    assert load_with(tmp_path, {**VALUES, "ema": 0.95}, loci={"ema": ema}).space().given()["ema"] == 0.99


def test_a_negative_value_is_refused(tmp_path: Path) -> None:
    message = complaint(lambda: load_with(tmp_path, {**VALUES, "lr0": -0.01}))
    assert_golden("config/hyp/negative-value", message, tmp_path)


@pytest.mark.parametrize(("name", "text"), [("empty", ""), ("list", "- lr0")])
def test_what_is_no_hyp_yaml_is_said_with_an_example(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "none.yaml").write_text(text)
    message = complaint(lambda: load_with(tmp_path, VALUES, hyp=str(tmp_path / "none.yaml")))
    assert message.startswith(f"{tmp_path / 'none.yaml'}: ")
    assert "configs/hyp.yaml" in message
    assert_golden(f"config/hyp/{name}", message, tmp_path)


def test_a_strategy_by_its_import_path_has_the_gains_too(tmp_path: Path) -> None:
    path = "evodevo.evolution.strategies.mutate_best:MutateBest"
    size = {"population": 1, "generations": 300}  # only a strategy of evodevo's own has such defaults
    by_path = load_with(tmp_path, VALUES, strategy=path, **size).strategy().options
    by_name = load_with(tmp_path, VALUES, strategy="mutate_best").strategy().options
    assert by_path == by_name
    assert by_name.gains["momentum"] == 0.3


@pytest.mark.parametrize("strategy", ["none", 5, ["a"], None, "json:dumps"])
def test_a_strategy_that_is_none_is_one_message(strategy: Any, tmp_path: Path) -> None:
    assert "search.strategy" in complaint(lambda: load_with(tmp_path, VALUES, strategy=strategy))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    message = complaint(lambda: load_with(tmp_path, VALUES, hyp="nowhere.yaml"))
    assert message.startswith("nowhere.yaml: ")
    assert_golden("config/hyp/no-file", message, cwd=Path.cwd())
