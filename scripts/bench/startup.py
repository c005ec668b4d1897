"""Measure start-up and shutdown: wall and CPU seconds of commands with almost no work.

    python scripts/bench/startup.py [--runs 5] [--beside DIR ...]

The commands are `evodevo --help`, and `launch` of two members for one empty epoch on two workers. CPU seconds
include all descendants, which become children of this process when their parents end. Each DIR is another
checkout, whose commands run alternately with those of this one.
"""

import argparse
import ctypes
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
PR_SET_CHILD_SUBREAPER = 36
WORKLOAD = """
import torch
from torch import nn
from workers.workload import Splits, Workload

class Idle(Workload):
    def data(self, root):
        x = torch.zeros(4, 1)
        return Splits(train=(x, x), validation=(x, x), test=(x, x))

    def model(self):
        return nn.Linear(1, 1)

    def optimizer(self, model, hp):
        return torch.optim.SGD(model.parameters(), lr=hp["learning_rate"])

    def train_batches(self, training):
        return iter(())

    def loss(self, model, batch, hp):
        return (model(batch[0]) - batch[1]).square().mean()

    def metrics(self, model, batch):
        return {"loss": (model(batch[0]) - batch[1]).square().mean()}
"""
CONFIG = """
run: {name: idle}
workload: {use: idle:Idle}
objective: {metric: validation_loss, mode: min}
search:
  population: 2
  generations: 1
  loci: {learning_rate: {type: float, low: 1e-4, high: 1e-1, scale: log, initial: 1e-3}}
cluster: {workers: 2}
"""
COMMANDS = {"--help": ["--help"], "launch": ["launch", "idle.yaml", "--no-progress"]}


def seconds(checkout: Path, arguments: Sequence[str]) -> tuple[float, float]:
    """Return the wall and CPU seconds of a command of the checkout, run in a new directory."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "idle.py").write_text(WORKLOAD)
        Path(directory, "idle.yaml").write_text(CONFIG)
        before, began = _cpu_of_descendants(), time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "evodevo", *arguments],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        wall = time.monotonic() - began
        _wait_for_orphans()
        return wall, _cpu_of_descendants() - before


def _cpu_of_descendants() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _wait_for_orphans() -> None:
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--beside", type=Path, nargs="*", default=[], metavar="DIR")
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    checkouts = [path.resolve() for path in (*options.beside, HERE)]
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "distributed", "matplotlib"))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}")
    for name, arguments in COMMANDS.items():
        rounds = [[seconds(path, arguments) for path in checkouts] for _ in range(options.runs)]
        for path, runs in zip(checkouts, zip(*rounds, strict=True), strict=True):
            found = [
                f"{statistics.median(values):.2f} s {unit} ({min(values):.2f} to {max(values):.2f})"
                for unit, values in zip(("wall", "CPU"), zip(*runs, strict=True), strict=True)
            ]
            print(f"{name}, {path.name}: {', '.join(found)}", flush=True)


if __name__ == "__main__":
    main()
