"""How a config names trackers, and the message if one is unavailable."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from evodevo.config import parse, read_config
from evodevo.config_phases import next_of
from evodevo.errors import UsageError
from evodevo.service.tracking import track
from evodevo.service.trial import parse_fresh
from evodevo.trackers import find
from evodevo.trackers.tensorboard import TensorBoard
from tests.configs import complaint, small
from tests.golden import assert_golden, raises_golden
from tests.trackers.stories import story

DOCS = (Path(__file__).parents[2] / "docs" / "trackers.md").read_text()


def blocks(language: str) -> list[str]:
    """The code blocks of a language in docs/trackers.md."""
    return re.findall(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)


def named(trackers: Any) -> Any:
    return parse(small({"run.trackers": trackers})).run.trackers


def test_trackers_are_a_list_of_names_and_options_or_a_mapping() -> None:
    both = {"tensorboard": {}, "mlflow": {"uri": "http://here:5000"}}
    assert named(["tensorboard", {"mlflow": {"uri": "http://here:5000"}}]) == both
    assert named({"tensorboard": None, "mlflow": {"uri": "http://here:5000"}}) == both
    assert named("tensorboard") == {"tensorboard": {}}
    assert parse(small()).run.trackers == {}


def test_what_a_journal_holds_of_them_is_read_back() -> None:
    config = parse(small({"run.trackers": ["wandb", {"mlflow": {"experiment": "mine"}}]}))
    assert read_config(config.complete().to_json()).run.trackers == config.run.trackers


def test_all_phases_have_the_trackers_and_the_losses_of_the_first() -> None:
    phases = [{"name": "one"}, {"name": "two"}]
    told = {"run.trackers": ["tensorboard"], "run.losses_per_epoch": 5}
    config = parse(small({**told, "phases": phases}))
    following = next_of(config)
    assert following is not None
    own = {"name": "small-two", "seed": 7}
    assert following["run"] == {**own, "trackers": {"tensorboard": {}}, "losses_per_epoch": 5}


def test_a_run_with_other_trackers_is_not_another_run() -> None:
    one, other = parse(small()), parse(small({"run.trackers": ["tensorboard"]}))
    assert one.differs_from(other) == []
    assert one.differs_from(parse(small({"run.seed": 8}))) == ["run"]


def test_the_configs_in_the_docs_are_good() -> None:
    shown = [yaml.safe_load(block)["run"]["trackers"] for block in blocks("yaml")]
    assert [list(named(trackers)) for trackers in shown] == [
        ["tensorboard"],
        ["tensorboard", "mlflow", "wandb"],
        ["tensorboard"],
    ]
    assert parse(small({"run": yaml.safe_load(blocks("yaml")[2])["run"]})).run.losses_per_epoch == 20


@pytest.mark.parametrize(
    ("name", "trackers", "key"),
    [
        ("unknown", ["tensorbord"], "run.trackers"),
        ("no-module", ["nowhere:Nothing"], "run.trackers"),
        ("not-a-tracker", ["evodevo.config:parse"], "run.trackers"),
        ("unknown-key", [{"mlflow": {"url": "x"}}], "run.trackers.mlflow.url"),
        ("number-for-text", [{"mlflow": {"uri": 5}}], "run.trackers.mlflow.uri"),
        ("options-number", [{"mlflow": 5}], "run.trackers.mlflow"),
        ("twice", ["tensorboard", "tensorboard"], "run.trackers"),
        ("number-in-list", [5], "run.trackers"),
        ("number", 5, "run.trackers"),
    ],
)
def test_a_wrong_tracker_gets_one_line_that_names_it(name: str, trackers: Any, key: str) -> None:
    said = complaint(lambda: named(trackers))
    assert said.startswith(f"config: {key}: ")
    assert "\n" not in said
    assert_golden(f"trackers/{name}", said)


def test_a_library_that_is_missing_is_said_with_the_command_before_a_run_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TensorBoard, "module", "no_such_module")
    config = small({"run.trackers": ["tensorboard"]})
    parse(config)  # where the client is, nothing is missing
    with raises_golden("trackers/no-library-for-config", UsageError):
        parse_fresh(config)
    story().save(tmp_path)
    with raises_golden("trackers/no-library-for-track", UsageError, tmp_path):
        track(tmp_path, "tensorboard", {})


def test_a_tracker_of_another_package_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = "diary_for_evodevo"
    (tmp_path / f"{package}.py").write_text(blocks("python")[0])
    metadata = tmp_path / f"{package}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[evodevo.trackers]\ndiary = {package}:Diary\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, package, raising=False)
    assert find("diary").__name__ == "Diary"
    assert named([{"diary": {"file": "mine.txt"}}]) == {"diary": {"file": "mine.txt"}}
    assert_golden("trackers/nearest-of-another-package", complaint(lambda: named(["diry"])))
    story().save(tmp_path / "run")
    track(tmp_path / "run", "diary", {"file": "mine.txt"})
    assert (tmp_path / "run" / "mine.txt").read_text().splitlines()[-1] == "g002s003 1.25"
