"""`evodevo doctor`: what it finds, what it advises, and its exit status."""

import errno
import fcntl
import json
import os
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from evodevo.cli_machine import doctor
from evodevo.errors import RunFailed
from evodevo.service import doctor as look


def told(directory: Path, *options: str) -> dict[str, dict[str, str]]:
    ended = CliRunner().invoke(doctor, ["--json", "--runs-dir", str(directory), *options])
    if ended.exception:
        assert isinstance(ended.exception, RunFailed)
    return {one["topic"]: one for one in json.loads(ended.stdout)}


def test_a_machine_that_can_run_something_is_good_and_nothing_is_left_in_its_directory(
    tmp_path: Path,
) -> None:
    ended = CliRunner().invoke(doctor, ["--runs-dir", str(tmp_path)], catch_exceptions=False)
    assert ended.exit_code == 0
    assert "FAULT" not in ended.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there_yet_is_not_made(tmp_path: Path) -> None:
    assert told(tmp_path / "a" / "b")["runs"]["state"] == "good"
    assert not (tmp_path / "a").exists()


def test_a_directory_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = told(tmp_path / "file")["runs"]
    assert found["state"] == "fault"
    assert "--runs-dir" in found["advice"]
    with pytest.raises(RunFailed, match="runs"):
        CliRunner().invoke(doctor, ["--runs-dir", str(tmp_path / "file")], catch_exceptions=False)


def test_a_file_system_without_locks_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)
    assert told(tmp_path)["locks"]["state"] == "note"


@pytest.mark.parametrize(("soft", "state"), [(256, "fault"), (4096, "good")])
def test_too_few_open_files_are_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soft: int, state: str
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, 8192))
    found = told(tmp_path)["open files"]
    assert found["state"] == state
    assert ("ulimit -n 8192" in found.get("advice", "")) == (state == "fault")


@pytest.mark.parametrize(
    ("needed", "said"),
    [
        (["dask>=9999"], "dask is"),
        (["no-such-package-anywhere"], "no-such-package-anywhere is not installed"),
        (["no-such-package-anywhere; extra == 's3'"], ""),
    ],
)
def test_a_required_package_that_is_missing_or_too_old_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needed: Sequence[str], said: str
) -> None:
    monkeypatch.setattr(look, "requires", lambda _: needed)
    found = told(tmp_path)["packages"]
    assert found["state"] == ("fault" if said else "good")
    assert said in found["found"]


def test_a_version_of_dask_that_was_not_tested_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "TESTED", {"dask": ">=2020.1", "distributed": ">=2020.1,<2020.2"})
    found = told(tmp_path)["packages"]
    assert found["state"] == "note"
    assert found["advice"].endswith("pip install 'distributed>=2020.1,<2020.2'")


def test_a_gpu_that_torch_cannot_use_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(look, "visible_gpus", lambda: 2)
    assert told(tmp_path)["torch"]["state"] == "fault"


def test_a_scheduler_that_does_not_answer_is_a_fault(tmp_path: Path) -> None:
    missing = str(tmp_path / "scheduler.json")
    assert told(tmp_path, "--scheduler-file", missing)["scheduler"]["state"] == "fault"
