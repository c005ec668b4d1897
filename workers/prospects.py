"""Check before a run whether its target can be reached, and report what it costs."""

from collections.abc import Mapping
from typing import Any

from evodevo.errors import UsageError
from evodevo.run.records import Job
from workers import batches, rehearsal
from workers.progress import crowding, flops_of_step
from workers.training import Leg
from workers.workload import Workload


def prospects(
    job: Job, workload: Any, hyperparameters: Mapping[str, Any], leg: Leg
) -> tuple[list[str], list[str]]:
    """Return facts and warnings about the job's target, for the first founder's `hyperparameters`.

    Raises `UsageError` if the target cannot be reached, or if evaluations would change the training.
    """
    assert job.target is not None
    target, facts, warnings = job.target, [], []
    cost, limit = target["cost"], target["limit"]
    least = target["evaluations"] * target["every_steps"]
    life = _steps_of_life(job, workload)
    if life is not None and life < least:
        raise UsageError(
            f"objective.target.every_steps: the last of {target['evaluations']} evaluations, one every "
            f"{target['every_steps']} steps, is at step {least}, but a life has {life}; lower every_steps, "
            "or raise search.legs or the length of a leg"
        )
    most = limit if cost == "steps" else None
    if cost == "flops":
        each = flops_of_step(workload, hyperparameters, rehearsal.SEED, leg)
        if not each:
            raise UsageError(
                "objective.target.cost: torch's counter finds no FLOPs in a training step; set it to steps"
            )
        facts.append(f"{each:.3g} FLOPs in a training step of the first founder, both passes")
        most = limit // each
        if most < least:
            warnings.append(
                f"objective.target.limit: is {limit:g} FLOPs, {most:g} steps of the first founder, but the "
                f"last of {target['evaluations']} evaluations is at step {least}"
            )
    if most is not None and life is not None and life < most:
        warnings.append(
            f"objective.target.limit: is {limit:g} {cost}, but a life ends earlier, at step {life}; raise "
            "search.legs or the length of a leg, or lower the limit"
        )
    if cost == "seconds":
        facts.append("seconds, and so the history, differ from run to run; steps and flops are reproducible")
        if crowded := crowding():
            warnings.append(
                f"this machine is shared: {crowded}, so seconds to the target will be noisy; set "
                "objective.target.cost to steps, or run it when nothing else runs"
            )
    if isinstance(workload, Workload):
        _check_evaluation(workload, hyperparameters, leg)
    return facts, warnings


def _steps_of_life(job: Job, workload: Any) -> int | None:
    """Return the number of batches in a whole life, or None if an epoch has no known length."""
    if job.steps is not None:
        return job.steps * job.legs
    if not isinstance(workload, Workload):
        return None
    steps = batches.steps(workload.splits.train, workload.batch_size)
    return steps and steps * job.longest_leg * job.legs


def _check_evaluation(workload: Workload, hyperparameters: Mapping[str, Any], leg: Leg) -> None:
    """Raise `UsageError` if evaluation changes a member."""
    member = workload.begin(hyperparameters, rehearsal.SEED, None, leg)
    before = workload.checkpoint(member)
    rehearsal.validation_metrics(workload, member)
    name = rehearsal.difference(before, workload.checkpoint(member))
    if name is not None:
        raise UsageError(
            f"{name} is not the same after an evaluation, so evaluations on the way to objective.target "
            "would change the training; metrics() and evaluate() must leave the member unchanged"
        )
