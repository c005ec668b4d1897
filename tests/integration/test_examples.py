"""The programs in examples/ run as their first lines say, and come to a result that beats guessing."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NUMBER = r"(\d+\.\d+)"
NEEDS = {
    "gradient_boosting": ["lightgbm", "sklearn"],
    "hugging_face": ["transformers", "accelerate"],
    "lightning_module": ["pytorch_lightning"],
    "lightning_trainer": ["pytorch_lightning"],
    "scikit_learn": ["sklearn"],
}
LOSSES = {
    "dataloader": (f"validation loss {NUMBER}", 2.30),
    "gan": (f"energy distance {NUMBER}", 0.3),
    "hugging_face": (f"{NUMBER} by the Trainer", 2.30),
    "lightning_module": (f"validation loss {NUMBER}", 2.30),
    "lightning_trainer": (f"{NUMBER} by the Trainer", 2.30),
    "own_strategy": (f"validation loss {NUMBER}", 2.30),
}
"""What an example prints, and what guessing would give."""
SHARES = {
    "gradient_boosting": (f"AUC {NUMBER} on held-out patients", 0.97),
    "scikit_learn": (f"accuracy {NUMBER} on held-out digits", 0.95),
}
"""What an example prints, and what it reaches at least."""
OTHERS = {"program"}

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


def said_by(name: str, directory: Path) -> str:
    for library in NEEDS.get(name, []):
        try:
            importlib.import_module(library)
        except (ImportError, OSError) as why:  # LightGBM's needs libgomp
            pytest.skip(f"{library} cannot be imported: {why}")
    return run(directory, sys.executable, "-m", f"examples.{name}")


def test_each_example_is_tried_here() -> None:
    names = {path.stem for path in (ROOT / "examples").glob("*.py")}
    assert names == {*LOSSES, *SHARES, *OTHERS}


@pytest.mark.parametrize("name", LOSSES)
def test_an_example_runs_and_learns(name: str, tmp_path: Path) -> None:
    pattern, guessing = LOSSES[name]
    said = said_by(name, tmp_path)
    found = re.search(pattern, said)
    assert found, said
    assert float(found.group(1)) < guessing / 3
    assert "test evaluation" not in said


@pytest.mark.parametrize("name", SHARES)
def test_an_example_of_a_function_finds_settings_that_hold_on_new_data(name: str, tmp_path: Path) -> None:
    pattern, least = SHARES[name]
    said = said_by(name, tmp_path)
    found = re.search(pattern, said)
    assert found, said
    assert float(found.group(1)) > least


def test_a_foreign_program_is_evolved_with_its_flags_and_directories(tmp_path: Path) -> None:
    said = run(tmp_path, sys.executable, "-m", "evodevo", "launch", "examples/program.yaml", "--no-progress")
    found = re.search(r"best fom\s+(\S+)", said)
    assert found, said
    assert float(found.group(1)) < 1.0  # it begins at 9
