"""`--json`: stdout is one JSON document with the keys that docs/command-line.md lists."""

import json
import os
import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from evodevo.cli import main
from evodevo.cli_common import only_json
from evodevo.report.comparison_page import comparison_json
from evodevo.run.view import Status
from evodevo.service import comparison
from tests.run.fakes import config_of, finished
from tests.test_comparison_plan import carried_out, plan

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "command-line.md").read_text()


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> object:
    main(list(arguments))
    return json.loads(capsys.readouterr().out)


def test_status_prints_a_list_with_every_field_of_each_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed(capsys, "status", "--json", "--runs-dir", str(tmp_path)) == []
    finished(tmp_path / "one")
    (found,) = printed(capsys, "status", "one", "--json", "--runs-dir", str(tmp_path))
    assert list(found) == [field.name for field in fields(Status)]
    assert (found["name"], found["state"]) == ("one", "done")


def test_compare_prints_what_comparison_json_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = config_of()
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(config.to_json()))
    arms = ["tri_parent", "random_search"]
    carried_out(plan(config, arms, 1), tmp_path)
    options = ("--arms", ",".join(arms), "--seeds", "1", "--runs-dir", str(tmp_path))
    found = printed(capsys, "compare", str(tmp_path / "small.yaml"), "--json", *options)
    assert found == json.loads((tmp_path / "small-compare" / "comparison.json").read_text())
    assert isinstance(found, dict)
    assert list(found["arms"]) == arms


def test_a_comparison_of_which_no_seed_is_complete_has_the_same_keys() -> None:
    found = json.loads(comparison_json(config_of(), {}))
    assert list(found) == ["name", "metric", "mode", "confidence", "seeds", "arms", "differences"]
    assert (found["seeds"], found["arms"], found["differences"]) == ([], {}, [])


def test_what_is_printed_by_this_process_and_its_children_goes_to_stderr(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with only_json(True):
        print("progress")
        os.write(1, b"library\n")
        subprocess.run(["echo", "worker"], check=True)
    print("[]")
    told = capfd.readouterr()
    assert told.out == "[]\n"
    assert sorted(told.err.split()) == ["library", "progress", "worker"]
    with only_json(False):
        print("progress")
    assert capfd.readouterr().out == "progress\n"


def keys_in(data: object) -> set[str]:
    """The keys at all levels, but names of arms and metrics and what configs hold."""
    if isinstance(data, list):
        return {key for one in data for key in keys_in(one)}
    if not isinstance(data, dict):
        return set()
    inner = {key: value for key, value in data.items() if key not in ("search", "metrics", "member", "soup")}
    arms = inner.pop("arms", {})
    return {*data, *keys_in(list(inner.values())), *keys_in(list(arms.values()))}


def test_the_page_lists_the_keys(tmp_path: Path) -> None:
    config = config_of(search__soup=True)
    planned = plan(config, ["tri_parent", "random_search"], 1)
    carried_out(planned, tmp_path)
    data = json.loads(comparison_json(config, comparison.finished(planned, tmp_path)))
    keys = {*keys_in(data), *(field.name for field in fields(Status))}
    assert {"name", "soup", "seed", "relative", "generation"} <= keys
    assert [key for key in sorted(keys) if f"`{key}`" not in PAGE] == []


def test_the_page_lists_the_environment_variables() -> None:
    root = Path(__file__).resolve().parents[1]
    sources = [*root.glob("evodevo/**/*.py"), *root.glob("workers/**/*.py"), *root.glob("scripts/slurm/*")]
    names = {name for path in sources for name in re.findall(r"\bEVODEVO_[A-Z_]+\b", path.read_text())}
    assert names == set(re.findall(r"\bEVODEVO_[A-Z_]+\b", PAGE))
