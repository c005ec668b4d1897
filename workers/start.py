"""Check before a run that starts from another run's parameters that its workload can continue from them."""

from collections.abc import Mapping
from typing import Any

import torch

from evodevo.errors import UsageError
from evodevo.run.checkpoints import CheckpointError, CheckpointStore
from evodevo.run.place import place_of
from evodevo.run.records import CheckpointRef, Job
from workers.cache import workload_for
from workers.preload import current_device
from workers.seeding import derived, seed_all
from workers.training import leg_of
from workers.turns import using_device

LONGEST = 500
"""Maximum length in characters of a workload's error about parameters that do not fit."""


@using_device
def try_start(job: Job, hyperparameters: Mapping[str, Any], url: str, ref: CheckpointRef) -> list[str]:
    """Begin a member from the checkpoint `ref` in the store at `url`; return warnings.

    There is a warning if the worker cannot read that store, as the copy into the run's store comes later.
    Raises `UsageError` if the parameters do not fit.
    """
    torch.set_num_threads(job.threads)
    workload, _ = workload_for(job)
    try:
        data = CheckpointStore(url).read(ref)
    except CheckpointError as why:
        return [f"search.start was not tried, as the worker cannot read its checkpoint: {why}"]
    try:
        seed_all(derived(job.seed, "start"), current_device())
        workload.begin(
            hyperparameters,
            0,
            data,
            leg_of(job, job.longest_leg, anew=True),
        )
    except (Exception, SystemExit) as why:
        name = job.workload["use"] or "command"
        said = " ".join(str(why).split())
        said = said if len(said) <= LONGEST else f"{said[:LONGEST]} ..."
        said = f"{type(why).__name__}: {said}{place_of(why)}"
        raise UsageError(f"search.start: {name} cannot begin with these parameters: {said}") from why
    return []
