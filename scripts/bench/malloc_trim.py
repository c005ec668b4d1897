"""Measure how much Dask's MALLOC_TRIM_THRESHOLD_ slows training on CPU, and how much workers.preload regains.

    python scripts/bench/malloc_trim.py [--runs 5]

Train epochs of the quickstart's LeNet in fresh processes with the environment that Dask's nanny gives a
worker, alternately with and without the preload's allocator setting. Only training is timed, without the
first epoch of each process.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys

EPOCHS = 3
CHILD = f"""
import sys, tempfile
import torch
from evodevo.config_file import load
from evodevo.run.setup import job_of
from evodevo.run.records import Assignment
from pathlib import Path
from workers import preload
from workers.leg import Stopwatch, train_leg
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    preload._keep_freed_memory()
config = load("configs/quickstart.yaml")
hyperparameters = config.space().express(config.space().given())
with tempfile.TemporaryDirectory() as directory:
    job = job_of(config, Path(directory))
    assignment = Assignment("g000s000", 1, hyperparameters, None, 0, 1)
    watches = [Stopwatch() for _ in range({EPOCHS} + 1)]
    for watch in watches:
        train_leg(job, assignment, watch, lambda data, suffix: None)
print(sum(watch.seconds["train"] for watch in watches[1:]) / {EPOCHS})
"""


def seconds(setting: str) -> float:
    """Return the mean seconds of training an epoch, in a fresh process with Dask's environment."""
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    told = subprocess.run(
        [sys.executable, "-c", CHILD, setting], env=environment, capture_output=True, text=True, check=True
    )
    return float(told.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    pairs = [(seconds("trim"), seconds("keep")) for _ in range(runs)]
    ratios = sorted(trim / keep for trim, keep in pairs)
    print(f"{platform.machine()}, {os.cpu_count()} cores, {runs} pairs")
    for name, values in zip(("Dask's setting", "workers.preload"), zip(*pairs, strict=True), strict=True):
        middle = statistics.median(values)
        print(f"{name}: median {middle:.3f} s per epoch ({min(values):.3f} to {max(values):.3f})")
    print(f"ratio: median {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
