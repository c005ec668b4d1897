"""Driver scripts like the public ones of crayai, with one changed import, on a real local cluster."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import argparse, os
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--kind", choices=["slow", "fast"])
parser.add_argument("--save")
parser.add_argument("--load")
given = parser.parse_args()
at = 0.0
if given.load and os.path.exists(given.load):
    at = float(open(given.load).read())
at += given.lr * (3 - at) * (2 if given.kind == "fast" else 1)
if given.save:
    open(given.save, "w").write(repr(at))
print("FoM:", abs(3 - at))
"""
DRIVER = """
from evodevo.compat.crayai import hpo
from os import path

src_path = path.join(path.dirname(path.abspath(__file__)), "source")
evaluator = hpo.Evaluator("COMMAND", src_path=src_path, verbose=True, num_parallel_evals=2, MORE)
params = hpo.Params([["--lr", 0.3, (0.01, 0.4)], ["--kind", "fast", ["slow", "fast"]]])
optimizer = hpo.OPTIMIZER
optimizer.optimize(params)
print(optimizer.best_fom)
print(optimizer.best_params)
"""
GENETIC = "GeneticOptimizer(evaluator, generations=3, pop_size=3, num_demes=2, seed=1, log_fn='genetic.log')"


def run(directory: Path, optimizer: str, command: str = "", more: str = "") -> list[str]:
    (directory / "source").mkdir()
    (directory / "source" / "train.py").write_text(PROGRAM)
    command = command or f"{sys.executable} train.py"
    text = DRIVER.replace("COMMAND", command).replace("OPTIMIZER", optimizer).replace("MORE", more)
    (directory / "driver.py").write_text(text)
    told = subprocess.run(
        [sys.executable, "driver.py"],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=400,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout.splitlines()


def test_population_based_training_continues_from_checkpoints_and_logs_each_generation(
    tmp_path: Path,
) -> None:
    command = f"{sys.executable} train.py --load @checkpoint/at --save @checkpoint/at"
    lines = run(tmp_path, GENETIC, command, 'checkpoint="kept"')
    summary = pd.read_csv(tmp_path / "genetic.log", sep=r"\s+")
    assert [*summary.generation] == [0, 1, 2]
    assert float(lines[-2]) == summary.best_fom.min() == summary.best_fom[2]
    one_evaluation_at_best = 3 * (1 - 2 * 0.4)
    assert float(lines[-2]) < one_evaluation_at_best, "what is better needs its parents' checkpoints"
    demes = pd.concat(pd.read_csv(tmp_path / f"Deme{at}_genetic.log", sep=r"\s+") for at in (1, 2))
    assert len(demes) == 3 * 3 * 2
    assert summary.best_fom[0] == demes.FoM[demes.generation == 0].min()
    assert (tmp_path / "kept").is_dir()
    assert not (tmp_path / "source" / "at").exists()


def test_a_grid_search_finds_the_best_point_of_its_grid(tmp_path: Path) -> None:
    lines = run(tmp_path, "GridOptimizer(evaluator, grid_size=2, chunk_size=3)")
    assert lines[-1] == "{'--lr': 0.4, '--kind': 'fast'}"
    assert float(lines[-2]) == pytest.approx(3 * (1 - 2 * 0.4))
    assert "Completed 5/5 (100.00%) points, best fom 6.0000e-01" in lines
