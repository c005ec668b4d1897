"""What the service costs beside a bare loop over the same epochs.

    python scripts/bench/overhead.py [--runs 3]

By turns: the quickstart with one worker (its own account of seconds, without starting the cluster), and the
same number of epochs in a plain loop in one process: no parents, no checkpoints, no journal, no Dask.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import evodevo
from evodevo.config import RunConfig
from evodevo.config_file import load

POPULATION, GENERATIONS = 6, 5
CHILD = """
import sys, time
import torch
from evodevo.config_file import load
from workers import preload
from workers.workloads.lenet import LeNet
preload._keep_freed_memory()
torch.set_num_threads(1)
config = load("configs/quickstart.yaml")
workload = LeNet(**config.workload.options)
workload.prepare(torch.device("cpu"), None)
hyperparameters = config.space().express(config.space().given())
began = time.monotonic()
for seed in range(int(sys.argv[1])):
    training = workload.begin(hyperparameters, seed, None)
    for _ in workload.train(training):
        pass
    workload.evaluate(training, "validation")
print(time.monotonic() - began)
"""


def bare_loop_s() -> float:
    told = subprocess.run(
        [sys.executable, "-c", CHILD, str(POPULATION * GENERATIONS)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(told.stdout)


def service_s(config: RunConfig) -> float:
    with tempfile.TemporaryDirectory() as directory, evodevo.local(workers=1, runs_dir=directory) as client:
        run = client.submit(config)
        run.wait()
        lives = list(run.view.history.lives())
        last = max(
            (life.started_at or 0) + sum(life.outcome.seconds.values()) for life in lives if life.outcome
        )
        return last - lives[0].born_at


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    alike = {"initial": "given", "mutation_rate": 0.0}  # all members cost what the loop's cost
    config = load(
        Path("configs/quickstart.yaml"),
        {"search.population": POPULATION, "search.generations": GENERATIONS, "search.options": alike},
    )
    pairs = [(service_s(config), bare_loop_s()) for _ in range(runs)]
    ratios = sorted(service / bare for service, bare in pairs)
    print(f"{platform.machine()}, {os.cpu_count()} cores, {POPULATION * GENERATIONS} epochs, {runs} pairs")
    for name, values in zip(("service, 1 worker", "bare loop"), zip(*pairs, strict=True), strict=True):
        print(f"{name}: median {statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f})")
    print(f"ratio: median {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})")


if __name__ == "__main__":
    main()
