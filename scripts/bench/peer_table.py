"""Format the table of peers.py: each peer's results, and how much better evodevo's arms are, seed by seed."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from evodevo.config import RunConfig
from evodevo.report.comparison import mean_and_deviation, paired_difference, results_of
from evodevo.service.comparison import finished, plan

Record = Mapping[str, Any]
Values = Mapping[str, Mapping[int, float]]
"""Metric -> seed -> value."""


def lines_of(
    config: RunConfig, budget: int, records: Sequence[Record], arms: Sequence[str], seeds: int, runs_dir: Path
) -> Iterator[str]:
    """Yield the lines of the table. Raises `UsageError` for an arm that is unknown or of another config."""
    reached = {arm: values_of_arm(config, arm, seeds, runs_dir) for arm in arms}
    yield f"{config.run.name}: {budget} member-epochs per run; mean ± deviation over seeds"
    by_peer: dict[str, list[Record]] = {}
    for record in records:
        by_peer.setdefault(record["peer"], []).append(record)
    for peer, those in by_peer.items():
        yield from _of_peer(peer, those)
        for arm, values in reached.items():
            yield from _against(config, arm, values, those)
    if not by_peer:
        yield "  no finished run of a peer"


def values_of_arm(config: RunConfig, arm: str, seeds: int, runs_dir: Path) -> Values:
    """Return the metrics of an arm's finished runs."""
    by_seed = finished(plan(config, [arm], seeds), runs_dir).get(arm)
    if not by_seed:
        return {}
    (result,) = results_of({arm: by_seed})
    return {name: dict(zip(by_seed, values, strict=True)) for name, values in result.metrics.items()}


def metrics_compared(config: RunConfig) -> list[str]:
    """Return the objective's metric and, if its name starts with `validation_`, the same on test data."""
    metric = config.objective.metric
    _, validation, name = metric.partition("validation_")
    return [metric, f"test_{name}"] if validation and metric.startswith(validation) else [metric]


def _of_peer(peer: str, records: Sequence[Record]) -> Iterator[str]:
    versions = ", ".join(sorted({record["version"] for record in records}))
    spent = sorted({record["member_epochs"] for record in records})
    seconds = fmean(record["seconds"] for record in records)
    other = seconds - fmean(record["training_seconds"] for record in records)
    yield (
        f"{peer} ({versions}), {len(records)} seeds, {' or '.join(map(str, spent))} member-epochs, "
        f"{seconds:.1f} s per run, of which {other:.1f} s are not training"
    )
    shared = [name for name in records[0]["metrics"] if all(name in one["metrics"] for one in records)]
    for name in shared:
        yield f"  {name:24} {mean_and_deviation([record['metrics'][name] for record in records])}"


def _against(config: RunConfig, arm: str, values: Values, records: Sequence[Record]) -> Iterator[str]:
    for name in metrics_compared(config):
        theirs = {one["seed"]: one["metrics"][name] for one in records if name in one["metrics"]}
        ours = values.get(name, {})
        seeds = [seed for seed in theirs if seed in ours]
        if not seeds:
            yield f"  {arm} compared with it, {name}: no seed is finished for both"
            continue
        pairs = [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]
        difference = paired_difference(*pairs, config.objective.mode)
        yield f"  {arm} compared with it, {name}: {difference.text()} ({len(seeds)} seeds)"
