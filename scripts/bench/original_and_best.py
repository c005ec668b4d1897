"""Train a search's initial values and the best that it found, in turn, and compare what each costs.

    python original_and_best.py RUN [--times 10] [--runs-dir DIR] [--out FILE]

RUN is the name or the directory of a run with `search.inherit: none`, which may still be in progress. Both
are trained N times from scratch, each time with a common seed that no member of the run had, by the code that
trains a leg in a worker: with the run's config and objective, in one process, with as many threads as a
member of the run. For the paper's cases, the values that the paper found are trained as well. Nothing trained
is kept. Seconds are of training only, without evaluation; use a machine that does nothing else.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from measuring import Log, interleaved

from evodevo.config import RunConfig
from evodevo.errors import UsageError
from evodevo.evolution.rng import leg_seed, training_seed
from evodevo.run.history import load_history
from evodevo.run.records import Assignment, CheckpointRef, Job, Outcome
from evodevo.run.setup import JOURNAL, job_of
from evodevo.run.view import directory_of
from workers import preload
from workers.cache import remember_checkpoint, store_of
from workers.leg import Stopwatch, train_leg

ORIGINAL, PAPER, BEST = "original", "paper's", "best of the run"


@dataclass(frozen=True)
class Case:
    """The paper's results: the values that it found, and its figures for the original and these values."""

    values: Mapping[str, Any]
    original: float
    found: float
    unit: str

    @property
    def said(self) -> str:
        reduction = 100 * (1 - self.found / self.original)
        return f"{self.original:g} {self.unit} -> {self.found:g} {self.unit}, {reduction:.1f} % less"


CASES = {
    "workers.workloads.lenet_search:SearchedLeNet": Case(
        {
            **{"conv_kernel_sz1": 4, "conv_kernel_sz2": 4, "conv_filters1": 8, "conv_filters2": 18},
            **{"dense_sz": 1024, "learning_rate": 4.3e-4},
            "dropout": 0.17,  # 0.83 in the paper: the fraction kept, as in the public example
        },
        *(164.5, 32.4, "s"),
    ),
    "workers.workloads.p3b1:P3B1": Case(
        {
            **{"dense_szA3": 324, "dense_szA4": 324, "dense_szB3": 279, "dense_szB4": 279},
            **{"dense_szC3": 359, "dense_szC4": 359, "dense_sz2": 459},
            **{"learning_rate": 2.1e-2, "dropout": 0.088},
        },
        *(118.6, 25.8, "s"),
    ),
    "workers.workloads.rpv:RPV": Case(
        {
            **{"conv_kernel_sz1": 4, "conv_kernel_sz2": 4, "conv_kernel_sz3": 4},
            **{"conv_filters1": 8, "conv_filters2": 15, "conv_filters3": 28, "dense_sz": 59},
            **{"learning_rate": 0.1, "dropout": 0.5, "optimizer": "Adam"},
        },
        *(9.22, 1.78, "% error"),
    ),
}
"""The paper's cases, by `workload.use`."""


def trained(job: Job, config: RunConfig, hyperparameters: Mapping[str, Any], seed: int) -> Outcome:
    """Train a member from scratch, leg by leg, until its life or the objective ends it; nothing is written.

    The seconds of the outcome are those of all its legs.
    """
    seconds: dict[str, float] = {}
    parent: CheckpointRef | None = None
    progress: Mapping[str, float] = {}
    length = config.search.leg_epochs(0)
    for leg in range(config.search.legs):
        assignment = Assignment(
            member=f"seed{seed}",
            attempt=leg + 1,
            hyperparameters=hyperparameters,
            parent=parent,
            epoch=leg * length,
            training_seed=leg_seed(seed, leg),
            leg=leg,
            epochs=length,
            progress=progress,
        )
        held: list[CheckpointRef] = []

        def keep(data: bytes | None, suffix: str, assignment: Assignment = assignment) -> None:
            store = store_of(job)
            ref = store.ref(assignment.checkpoint_stem, data or b"", suffix)
            remember_checkpoint(store, ref, data or b"")
            held.append(ref)  # noqa: B023

        watch = Stopwatch()
        outcome = train_leg(job, assignment, watch, keep)
        for part, spent in watch.seconds.items():
            seconds[part] = seconds.get(part, 0.0) + spent
        if outcome.status != "done" or outcome.over:
            break
        parent, progress = held[0], outcome.progress
    return replace(outcome, seconds=seconds)


def figures(outcome: Outcome, limit: float | None) -> dict[str, float | None]:
    """Return the costs of a training, None for those unknown; `reached` is 1 if it met its target, else 0."""
    return {
        "fom": outcome.fom,
        "reached": None if limit is None else float(outcome.fom is not None and outcome.fom <= limit),
        "seconds": outcome.progress.get("seconds", outcome.seconds.get("train")),
        "steps": outcome.progress.get("steps"),
        "flops": outcome.metrics.get("flops"),
        "parameters": outcome.metrics.get("parameters"),
    }


def table(
    measured: Mapping[str, Sequence[Mapping[str, float | None]]], metric: str, has_target: bool
) -> list[str]:
    """Return a Markdown table with a row per kind: means with standard deviations, and the reduction."""
    names = {"seconds": "seconds", "steps": "steps", "flops": "TFLOPs", "fom": metric}
    if has_target:
        del names["fom"]  # it is one of the other columns
    head = ["", "parameters", *(["reached"] if has_target else [])]
    for name in names.values():
        head += [name, "less"]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for kind, rows in measured.items():
        parameters = _values(rows, "parameters")
        cells = [kind, f"{parameters[0]:,.0f}" if parameters else ""]
        if has_target:
            cells.append(f"{sum(_values(rows, 'reached')):g} of {len(rows)}")
        for name in names:
            own, first = _values(rows, name), _values(measured[ORIGINAL], name)
            cells += [_spread(own, 1e12 if name == "flops" else 1.0)]
            is_known = bool(own and first) and kind != ORIGINAL
            cells += [
                f"{100 * (1 - statistics.fmean(own) / statistics.fmean(first)):.1f} %" if is_known else ""
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _values(rows: Sequence[Mapping[str, float | None]], name: str) -> list[float]:
    return [value for row in rows if (value := row[name]) is not None]


def _spread(values: Sequence[float], unit: float) -> str:
    if not values:
        return ""
    values = [value / unit for value in values]
    return f"{statistics.fmean(values):.4g} ± {statistics.stdev(values) if len(values) > 1 else 0:.2g}"


def genomes_of(run: str, runs_dir: str) -> tuple[RunConfig, dict[str, Mapping[str, Any]], Case | None]:
    """Return a run's config, the hyperparameters to compare by kind, and the paper's case.

    Raises `UsageError` if the run has no outcome yet, or if its members inherit parameters.
    """
    history = load_history(directory_of(run, runs_dir) / JOURNAL)
    config = history.config
    if history.inherits:
        raise UsageError(
            f"{run}: its members inherit parameters; only those trained from scratch can be compared"
        )
    if history.best is None:
        raise UsageError(f"{run}: has no outcome yet")
    space = config.space()
    found = {ORIGINAL: space.express(space.given())}
    case = CASES.get(config.workload.use or "")
    if case is not None and case.values.keys() == found[ORIGINAL].keys():
        found[PAPER] = case.values
    return config, {**found, BEST: space.express(history.best.birth.genome)}, case


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--times", type=int, default=10, help="trainings of each (default: 10)")
    parser.add_argument("--runs-dir", default="checkpoints", help="directory of RUN (default: checkpoints)")
    parser.add_argument("--out", type=Path, help="append each measurement to this file, as a line of JSON")
    options = parser.parse_args()
    if options.times < 1:
        parser.error(f"--times: should be 1 or more, not {options.times}")
    try:
        compare(options)
    except UsageError as why:
        sys.exit(f"original_and_best.py: {why}")


def compare(options: argparse.Namespace) -> None:
    config, genomes, case = genomes_of(options.run, options.runs_dir)
    preload._keep_freed_memory()
    torch.set_deterministic_debug_mode("warn")
    target = config.objective.target
    measured: dict[str, list[dict[str, float | None]]] = {kind: [] for kind in genomes}
    with tempfile.TemporaryDirectory() as directory:
        job = replace(job_of(config, Path(directory)), accounts=True)
        log = Log(options.out, run=options.run, threads=job.threads)
        trained(job, config, genomes[BEST], training_seed(config.run.seed, 0, 0))  # a warm-up
        for number, kind in interleaved(list(genomes), options.times):
            seed = training_seed(config.run.seed + 1, 0, number)
            outcome = trained(job, config, genomes[kind], seed)
            measured[kind].append(figures(outcome, target and target.limit))
            log.add(kind=kind, seed=seed, load=os.getloadavg()[0], **measured[kind][-1])
    print("\n| |", " | ".join(genomes), "|")
    print("| --- |", " --- |" * len(genomes), sep="")
    for name in genomes[ORIGINAL]:
        print(f"| {name} |", " | ".join(_said(values.get(name)) for values in genomes.values()), "|")
    print("", *table(measured, config.objective.metric, target is not None), sep="\n")
    if case is not None:
        print(f"\nThe paper has {case.said} (on its own machines, data and thresholds).")


def _said(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
