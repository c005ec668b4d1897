"""Says, before a run begins, whether its workload works: imports it, loads the data, tries one batch."""

from collections.abc import Mapping
from typing import Any

import torch

from evodevo.config_errors import nearest
from evodevo.errors import UsageError
from evodevo.run.checkpoints import CheckpointError, CheckpointStore
from evodevo.run.records import Job
from workers.build import place_of
from workers.cache import workload_for
from workers.hyperparameters import UnknownHyperparameter


def describe(job: Job, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Facts about the job's workload: `facts` and `warnings` (lines), `metrics` (names), `torch` (version).

    Raises `UsageError` where no checkpoints can be kept, or the workload cannot be imported, cannot load its
    data, fails in its first batch, or does not report the objective's metric.
    """
    torch.set_num_threads(job.threads)
    try:
        CheckpointStore(job.checkpoints_url).check()
    except CheckpointError as why:
        raise UsageError(f"checkpoints.url: {why}") from None
    name = job.workload["use"] or "command"
    try:
        workload, _ = workload_for(job)
        metrics, read = workload.rehearse(hyperparameters)
        facts = workload.facts()
    except UsageError:
        raise
    except UnknownHyperparameter as why:
        raise UsageError(f"{name}: {why}") from why
    except (Exception, SystemExit) as why:
        raise UsageError(
            f"{name} fails before its first epoch: {type(why).__name__}: {why}{place_of(why)}"
        ) from why
    if not workload.continues:
        _check_legs(job, facts)
    key = "objective.weights" if job.weights else "objective.metric"
    for metric in job.weights or [job.metric]:
        if metric not in metrics:
            raise UsageError(f"{key}: {name} does not report {metric!r}; {nearest(metric, sorted(metrics))}")
    if job.weights and job.metric in {*metrics, "train_loss"}:
        raise UsageError(f"objective.metric: {name} has a metric {job.metric!r}; give the sum another name")
    unread = [locus for locus in hyperparameters if locus not in read]
    warnings = [f"{name} did not read the hyperparameter {locus!r}" for locus in unread]
    return {"facts": facts, "warnings": warnings, "metrics": metrics, "torch": str(torch.__version__)}


def _check_legs(job: Job, facts: list[str]) -> None:
    """A program of its own is called once an epoch, and goes on from its checkpoint only."""
    if job.steps is not None:
        raise UsageError(
            "search.steps_per_generation: the steps of a command cannot be counted; "
            "give search.epochs_per_generation instead"
        )
    if job.epochs > 1 and any("without checkpoints" in fact for fact in facts):
        raise UsageError(
            f"search.epochs_per_generation: is {job.epochs}, and workload.command keeps nothing from one "
            "call to the next; give it {checkpoint_in} and {checkpoint_out}"
        )
