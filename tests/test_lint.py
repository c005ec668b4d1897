"""The code is formatted, linted and type-checked, so that pytest alone checks everything."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
COMMANDS = [("ruff", "check"), ("ruff", "format", "--check"), ("mypy",)]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_is_found_by(command: tuple[str, ...]) -> None:
    told = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr


def test_pre_commit_runs_the_same_and_downloads_nothing() -> None:
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = repo["hooks"]
    assert repo["repo"] == "local"
    assert {hook["language"] for hook in hooks} == {"system"}
    run = [hook["entry"].removeprefix("python -m ").partition(" --")[0] for hook in hooks]
    assert run == [" ".join(word for word in command if word != "--check") for command in COMMANDS]
