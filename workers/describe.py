"""Check before a run that its workload works: import it, load the data, rehearse a round."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from evodevo.config_errors import nearest
from evodevo.errors import UsageError
from evodevo.run.checkpoints import CheckpointError, CheckpointStore
from evodevo.run.place import place_of
from evodevo.run.records import Job
from workers import digests, finite, gang
from workers.alike import differ_in_turns
from workers.cache import loaded, workload_for
from workers.ensemble import single
from workers.hyperparameters import UnknownHyperparameter
from workers.options import misspelt
from workers.preload import current_device
from workers.prospects import prospects
from workers.seeding import derived, seed_all
from workers.training import leg_of
from workers.turns import using_device

QUICK_S = 3.0
"""Data that load within this time are loaded twice before every run, to compare them."""


@using_device
def describe(job: Job, founders: Sequence[Mapping[str, Any]], twice: bool = False) -> dict[str, Any]:
    """Return facts about the job's workload, after a rehearsal of it.

    The keys are `facts` and `warnings` (lines), `metrics` (names), `torch` (version) and `data` (the digest
    of each split, which must equal the job's if it has any). `founders` are the hyperparameters of one or
    two members, and of others that may inherit from the first. With `twice` the data are loaded a second
    time, however long that takes, and must be the same, and members are trained to see whether they diverge.

    Raises `UsageError` if no checkpoints can be kept, or the workload cannot be imported, cannot load its
    data, fails in a round of training, or does not report the objective's metric.
    """
    torch.set_num_threads(job.threads)
    try:
        CheckpointStore(job.checkpoints_url).check()
    except CheckpointError as why:
        raise UsageError(f"checkpoints.url: {why}") from None
    name = job.workload["use"] or "command"
    leg = leg_of(job, job.longest_leg)
    try:
        began = time.monotonic()
        workload, is_new = workload_for(replace(job, data={}))
        quick = is_new and time.monotonic() - began < QUICK_S
        data = digests.of(workload, job.seed)
        _check_data(job, data, twice or quick)
        if job.workers > 1:
            gang.rehearse(workload, job.workers, job.batch_norm, founders[0], leg)
        metrics, read = workload.rehearse(founders[0], founders[1 % len(founders)], leg, founders[2:])
        if job.members_per_device > 1 and workload.continues and differ_in_turns(workload, founders, leg):
            raise UsageError(
                f"cluster.members_per_device: is {job.members_per_device}, but members trained in turns "
                "differ from members trained one after the other, as the workload keeps state in self "
                "between steps; set it on `training`, or leave members_per_device out"
            )
        seed_all(derived(job.seed, "facts"), current_device())
        facts = workload.facts()
        more, warnings = prospects(job, workload, founders[0], leg) if job.target else ([], [])
        facts += more
        if job.workers > 1:
            facts.append(f"{job.workers} workers train each member together, batch norm {job.batch_norm}")
    except UsageError as why:
        raise UsageError(_named(name, str(why))) from None
    except UnknownHyperparameter as why:
        raise UsageError(f"{name}: {why}") from why
    except AssertionError as why:
        if "daemonic" not in str(why):
            raise UsageError(f"{name} fails before its first epoch: {why!r}{place_of(why)}") from why
        raise UsageError(
            f"{name}: the workers cannot start processes, which a DataLoader with num_workers needs; start "
            "the workers with DASK_DISTRIBUTED__WORKER__DAEMON=False in their environment"
        ) from why
    except (Exception, SystemExit) as why:
        reason = " ".join(f"{type(why).__name__}: {why}".split())
        if "pickle" in reason or "local object" in reason:
            reason += (
                "; the dataset, sampler and collate_fn of a DataLoader with num_workers must be defined at "
                "the top level of a module, as its processes import them"
            )
        raise UsageError(f"{name} fails before its first epoch: {reason}{place_of(why)}") from why
    if not workload.continues:
        _check_legs(job, facts)
        if job.losses_per_epoch:
            raise UsageError(f"run.losses_per_epoch: {name} reports no training losses; leave it out")
    key = "objective.target" if job.target else "objective.weights" if job.weights else "objective.metric"
    for metric in wanted_metrics(job):
        if metric not in metrics:
            meant = f"validation_{metric}"
            hint = f"did you mean {meant}?" if meant in metrics else nearest(metric, sorted(metrics))
            raise UsageError(f"{key}: {name} does not report {metric!r}; {hint}")
    if job.weights and job.metric in {*metrics, "train_loss"}:
        raise UsageError(f"objective.metric: {name} has a metric {job.metric!r}; give the sum another name")
    unread = [locus for locus in founders[0] if locus not in read]
    warnings += [f"{name} did not read the hyperparameter {locus!r}" for locus in unread]
    warnings += misspelt(single(workload))
    if twice:
        warnings += finite.warnings(single(workload), founders, leg, wanted_metrics(job))
    version = str(torch.__version__)
    return {"facts": facts, "warnings": warnings, "metrics": metrics, "data": data, "torch": version}


def wanted_metrics(job: Job) -> list[str]:
    """Return the names of the metrics that the objective uses."""
    if job.target:
        return [goal["metric"] for goal in job.target["goals"]]
    return list(job.weights or [job.metric])


def _check_data(job: Job, data: Mapping[str, str], twice: bool) -> None:
    """Raise `UsageError` unless the data are those the run began with and are reproducible from the seed."""
    if job.data and (differing := digests.difference(job.data, data)):
        raise UsageError(
            f"the {differing} split of the data differs from the one that the run began with; use the same "
            "data"
        )
    if twice and (differing := digests.difference(data, digests.of(loaded(job), job.seed))):
        raise UsageError(
            f"data() returns a different {differing} split each time, so members would be compared on "
            "different data and validated on training data; draw it from the global generator of torch, "
            "numpy or python, which are seeded, or from a generator with a fixed seed"
        )


def _named(name: str, message: str) -> str:
    """Prefix a message with the workload's name, unless it begins with that or a key of the config."""
    is_key = message.split(":")[0].startswith(
        ("workload.", "search.", "data.", "checkpoints.", "objective.", "cluster.")
    )
    return message if is_key or message.startswith(name) else f"{name}: {message}"


def _check_legs(job: Job, facts: list[str]) -> None:
    """Raise `UsageError` for legs that a command, which runs once per epoch, cannot train."""
    if job.steps is not None:
        raise UsageError(
            "search.steps_per_generation: the steps of a command cannot be counted; "
            "give search.epochs_per_generation instead"
        )
    if job.longest_leg > 1 and any("without checkpoints" in fact for fact in facts):
        raise UsageError(
            f"search.epochs_per_generation: is {job.longest_leg}, but workload.command has no checkpoint to "
            "continue from in the next epoch; add {checkpoint_in} and {checkpoint_out}"
        )
