"""The trial of a config before a run begins: its checkpoint store here, its workload on a worker."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from evodevo.config import RunConfig
from evodevo.errors import UsageError
from evodevo.run.checkpoints import CheckpointError, CheckpointStore
from evodevo.run.crew import AttemptLost, Caller, Needs
from evodevo.run.setup import DESCRIBE, first_hyperparameters, job_of


async def describe(
    config: RunConfig, directory: Path, caller: Caller, refuse: Callable[[Needs], None]
) -> dict[str, Any]:
    """Ask a worker whether the workload works, and see here whether checkpoints can be deleted.

    `refuse` raises `UsageError` if no worker that is there will ever do. Raises `UsageError`.
    """
    hyperparameters = first_hyperparameters(config)
    job = job_of(config, directory)
    try:
        await asyncio.to_thread(lambda: CheckpointStore(job.checkpoints_url).check())
    except CheckpointError as why:
        raise UsageError(f"checkpoints.url, on the scheduler's machine: {why}") from None
    attempts, needs = config.limits.max_attempts, Needs(config.cluster.device == "gpu")
    for attempt in range(1, attempts + 1):
        call = caller.call(config.run.name, DESCRIBE, job, hyperparameters, needs=needs)
        try:
            facts = await _while_workers_can(call, needs, refuse)
        except AttemptLost as why:
            if attempt == attempts:
                raise UsageError(f"the workload could not be tried on a worker: {why}") from why
        else:
            break
    return facts


async def _while_workers_can(
    call: Coroutine[Any, Any, Any], needs: Needs, refuse: Callable[[Needs], None]
) -> dict[str, Any]:
    """Wait for a call's result, but not for workers that will never do."""
    task = asyncio.create_task(call)
    try:
        while not task.done():
            refuse(needs)
            await asyncio.wait([task], timeout=1)
    finally:
        task.cancel()
    result: dict[str, Any] = task.result()
    return result
