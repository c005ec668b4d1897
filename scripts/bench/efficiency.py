"""Compare the worker time of a run of LeNet with the training and evaluation time of a bare loop.

    python scripts/bench/efficiency.py [--workers 2] [--runs 5] [--out efficiency.jsonl]

Measure in turn the run's wall time x workers, from the first births record to the last outcome record in the
journal, and the seconds of training and evaluation in plain loops (bare_lenet.py), with as many legs,
concurrent processes and threads as the run. All members have the same hyperparameters, and no averaged
weights, as the loops have none. An epoch of the packaged 3,000 digits takes about 0.25 s, so a leg of 8
epochs takes about 2 s.

Print as well the run's wall time x workers over its own training and evaluation, which other load affects
less because both are of the same run; and the run's account of its workers' seconds (summary.json), with its
sum over training_s x workers.
"""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

from measuring import (
    HERE,
    REPOSITORY,
    Log,
    cluster,
    interleaved,
    parser_for,
    ratios,
    records_of,
    runs_directory,
    spread,
    steady_span,
)

from evodevo.config import RunConfig
from evodevo.config_file import load

ALIKE = {"initial": "given", "mutation_rate": 0.0}
"""Options of the strategy that give all members the same hyperparameters."""


def bare_loops(config: RunConfig, processes: int, directory: Path) -> dict[str, float]:
    """Return the seconds of training and evaluation, summed over concurrent processes."""
    file = directory / "bare.yaml"
    file.write_text(config.to_yaml(), encoding="utf-8")
    threads = str(config.cluster.threads_per_member)
    legs = config.search.population * config.search.generations // processes
    loops = [
        subprocess.Popen(
            [sys.executable, str(HERE / "bare_lenet.py"), str(legs), str(file)],
            env={**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    for loop in loops:
        assert loop.stdout is not None
        loop.stdout.readline()
    for loop in loops:
        assert loop.stdin is not None
        loop.stdin.write("go\n")
        loop.stdin.flush()
    told = [loop.communicate()[0] for loop in loops]
    if any(loop.returncode for loop in loops):
        sys.exit("bare_lenet.py failed")
    seconds = [json.loads(text) for text in told]
    return {part: sum(one[part] for one in seconds) for part in ("train_s", "eval_s")}


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--population", type=int, default=8)
    parser.add_argument("--generations", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=8, help="epochs of a leg (default: 8)")
    options = parser.parse_args()
    workers, legs = options.workers, options.population * options.generations
    if legs % workers:
        parser.error(f"{legs} legs cannot be shared equally by {workers} bare loops")
    settings = {
        "workload.options.batch_size": options.batch_size,
        "search.population": options.population,
        "search.generations": options.generations,
        "search.options": ALIKE,
        "search.judge": "raw",
        "search.recombine": None,
        "search.soup": False,
        "search.epochs_per_generation": options.epochs,
        "search.loci.learning_rate.initial": 0.005,  # converges with any batch size
    }
    services: list[float] = []
    bares: list[float] = []
    own: list[float] = []
    sums: list[float] = []
    with runs_directory(options.dir) as runs_dir:
        log = Log(
            options.out, workers=workers, legs=legs, epochs=options.epochs, batch_size=options.batch_size
        )
        for run, kind in interleaved(("service", "bare"), options.runs):
            name = f"efficiency-{run}"
            config = load(REPOSITORY / "configs" / "quickstart.yaml", {**settings, "run.name": name})
            if kind == "bare":
                loops = bare_loops(config, workers, runs_dir)
                bares.append(sum(loops.values()))
                log.add(run=run, kind=kind, seconds=bares[-1], **loops, leg_s=bares[-1] / legs)
                continue
            with cluster(workers, runs_dir) as client:
                client.submit(config).wait()
            began, ended = steady_span(records_of(runs_dir / name))
            services.append(workers * (ended - began))
            summary = json.loads((runs_dir / name / "summary.json").read_text(encoding="utf-8"))
            named = {part: value for part, value in summary["seconds"].items() if part != "elsewhere"}
            sums.append(sum(named.values()) / (workers * summary["training_s"]))
            with (runs_dir / name / "history.csv").open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            parts = {
                part: sum(float(row[part]) for row in rows)
                for part in ("load_s", "train_s", "eval_s", "save_s")
            }
            own.append(services[-1] / (parts["train_s"] + parts["eval_s"]))
            account = {f"account.{part}": seconds for part, seconds in summary["seconds"].items()}
            log.add(run=run, kind=kind, seconds=services[-1], **parts, **account, sum_of_account=sums[-1])
    print(
        f"\n{legs} legs of {options.epochs} epochs, {workers} workers, batches of {options.batch_size}, "
        f"{options.runs} runs"
    )
    print(f"  wall time x workers of the run: {spread(services)} s")
    print(f"  training and evaluation of the bare loops: {spread(bares)} s")
    print(f"  a leg of the bare loops: {spread([seconds / legs for seconds in bares])} s")
    print(f"  run / bare loops: {spread(ratios(services, bares))}")
    print(f"  run / its own training and evaluation: {spread(own)}")
    print(f"  sum of the run's account (without elsewhere) / (training_s x workers): {spread(sums)}")


if __name__ == "__main__":
    main()
