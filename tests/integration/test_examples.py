"""The programs in examples/ run as their first lines say, and come to a result that beats guessing."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NUMBER = r"(\d+\.\d+)"

pytestmark = pytest.mark.slow


def run(directory: Path, *command: str) -> str:
    """The output of a command, from a directory in which examples/ is, as in a clone."""
    (directory / "examples").symlink_to(ROOT / "examples")
    done = subprocess.run(
        command,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "pattern", "guessing"),
    [
        ("dataloader", f"validation loss {NUMBER}", 2.30),
        ("gan", f"energy distance {NUMBER}", 0.3),
        ("lightning_module", f"validation loss {NUMBER}", 2.30),
        ("own_strategy", f"validation loss {NUMBER}", 2.30),
    ],
)
def test_an_example_runs_and_learns(name: str, pattern: str, guessing: float, tmp_path: Path) -> None:
    if name == "lightning_module" and find_spec("pytorch_lightning") is None:
        pytest.skip("pytorch-lightning is not installed")
    said = run(tmp_path, sys.executable, "-m", f"examples.{name}")
    found = re.search(pattern, said)
    assert found, said
    assert float(found.group(1)) < guessing / 3
    assert "test evaluation" not in said


def test_a_foreign_program_is_evolved_with_its_flags_and_directories(tmp_path: Path) -> None:
    said = run(tmp_path, sys.executable, "-m", "evodevo", "launch", "examples/program.yaml", "--no-progress")
    found = re.search(r"best fom\s+(\S+)", said)
    assert found, said
    assert float(found.group(1)) < 1.0  # it begins at 9
