"""Evaluate the best member of a run on the test split, and write its exhibits."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from evodevo.run import files
from evodevo.run.records import CheckpointRef, Job
from workers.cache import read_checkpoint, store_of, workload_for
from workers.preload import current_device
from workers.seeding import derived, seed_all
from workers.training import leg_of
from workers.turns import using_device


@using_device
def examine(
    job: Job, ref: CheckpointRef, hyperparameters: Mapping[str, Any], exhibits_dir: str
) -> dict[str, float]:
    """Return the metrics of a checkpoint on the test split; empty if the workload has no test split.

    The workload's exhibits (pictures, texts) are written to `exhibits_dir`, unless that is "".
    """
    torch.set_num_threads(job.threads)
    workload, _ = workload_for(job)
    leg = leg_of(job)
    state = workload.begin(hyperparameters, 0, read_checkpoint(store_of(job), ref), leg)
    seed_all(derived(job.seed, "evaluate"), current_device())
    metrics = workload.evaluate(state, "test")
    for name, data in workload.exhibits(state).items() if exhibits_dir else ():
        path = Path(exhibits_dir, name)
        path.parent.mkdir(exist_ok=True)
        files.replace(path, data)
    return metrics
