"""Try a config before its run starts: the checkpoint store in the scheduler, the workload on a worker."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import Any

from evodevo import fresh, trackers
from evodevo.config import RunConfig, parse
from evodevo.errors import UsageError
from evodevo.run.checkpoints import CheckpointError, CheckpointStore
from evodevo.run.crew import AttemptLost, Caller, Needs
from evodevo.run.origin import Found
from evodevo.run.records import Job
from evodevo.run.roster import Roster
from evodevo.run.setup import DESCRIBE, MEASURE, TRY_START, founders
from evodevo.run.simulation import try_strategy
from evodevo.versions import differences, own_versions


def parse_fresh(data: Mapping[str, Any]) -> RunConfig:
    """Validate a config from a client, after importing its strategy's module again if it was edited."""
    search = data.get("search")
    fresh.refresh(search.get("strategy") if isinstance(search, Mapping) else None)
    config = parse(data)
    if lacking := trackers.missing(config.run.trackers):
        raise UsageError("\n  ".join(lacking))
    fresh.remember(config.search.strategy)
    return config


def refresh_strategy(config: RunConfig) -> None:
    """Import the module of a run's strategy again if it was edited, before the run is resumed."""
    fresh.refresh(config.search.strategy)


async def describe(
    config: RunConfig,
    job: Job,
    caller: Caller,
    refuse: Callable[[Needs], None],
    twice: bool = False,
    begins: bool = True,
    start: Found | None = None,
    measured: dict[str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Try the workload on a worker and the checkpoint store in this process; return the facts.

    With `twice` the worker loads the data twice and compares. If the run `begins`, its strategy is tried for
    two simulated generations. `start` is the other run that this one starts from, if any, which must fit. If
    the config leaves the number of members per worker open, the answer's `members` has the measured one,
    which `measured` caches for further runs. `refuse` raises `UsageError` if no connected worker will ever be
    fit. Raises `UsageError`.
    """
    first = founders(config)
    if begins:
        await asyncio.to_thread(try_strategy, config)
    try:
        await asyncio.to_thread(lambda: CheckpointStore(job.checkpoints_url).check())
    except CheckpointError as why:
        raise UsageError(f"checkpoints.url, on the scheduler's machine: {why}") from None

    async def call(function: str, *arguments: Any) -> Any:
        attempt, attempts = 1, config.limits.max_attempts
        needs = Needs(config.cluster.device == "gpu", run=config.run.name)
        while True:
            if function == DESCRIBE and 1 < attempt == attempts:
                arguments = first[:1], twice  # the other members may have crashed workers, which is legal
            calling = caller.call(config.run.name, function, job, *arguments, needs=needs)
            try:
                return await _while_workers_can(calling, needs, refuse)
            except AttemptLost as why:
                if attempt == attempts:
                    raise UsageError(f"the workload could not be tried on a worker: {why}") from why
                needs = replace(needs, avoid=why.worker)
                attempt += 1

    facts: dict[str, Any] = await call(DESCRIBE, first, twice)
    if config.cluster.has_to_be_measured:
        known = measured if measured is not None else {}
        generations = 1 if config.search.population > 1 or config.inherits else config.search.generations
        most = config.search.population * generations
        number, stacked = config.cluster.members_per_device, config.cluster.stacked
        asked = [most, None if number == "auto" else number, None if stacked == "auto" else stacked]
        key = json.dumps([job.workload, job.data_root, job.average_half_life, *asked], sort_keys=True)
        try:
            known[key] = known.get(key) or await call(MEASURE, first[0], *asked)
            facts = {**facts, "members": known[key]}
        except UsageError as why:
            unmeasured = {"members": config.cluster.at_once, "stacked": False}
            said = f"{config.cluster.at_once}, not stacked"
            warning = f"cluster.members_per_device: cannot be measured, so it is {said}: {why}"
            warnings = [*facts["warnings"], warning]
            facts = {**facts, "members": {**unmeasured, "said": said}, "warnings": warnings}
    if start is None:
        return {**facts, "start": []}
    start.check_data(facts["data"])
    if start.checkpoint is None:
        return {**facts, "start": start.facts}
    warnings = await call(TRY_START, first[0], start.url, start.checkpoint)
    return {**facts, "start": start.facts, "warnings": [*facts["warnings"], *warnings]}


def refuse_unusable_workers(
    abouts: Iterable[Mapping[str, Any] | None], roster: Roster, needs: Needs, no_workers: str | None
) -> None:
    """Raise `UsageError` if the workers' versions differ, or no worker will ever be fit.

    Workers of different versions would make different histories. `abouts` describe the connected workers;
    `no_workers` says why none will come, if that is known.
    """
    known = [about["versions"] for about in abouts if about]
    torches = sorted({versions["torch"] for versions in known if versions})
    problems, is_one_fit = roster.problems(needs), bool(roster.fit(needs))
    if no_workers and not is_one_fit:
        raise UsageError(no_workers)
    if len(torches) > 1:
        raise UsageError(f"workers have different versions of torch: {', '.join(torches)}")
    if any(differences(own_versions(), versions) for versions in known) or (problems and not is_one_fit):
        raise UsageError("\n  ".join(["no worker can take part:", *problems]))


async def _while_workers_can(
    call: Coroutine[Any, Any, Any], needs: Needs, refuse: Callable[[Needs], None]
) -> Any:
    """Return a call's result, unless `refuse` raises because no worker will ever be fit."""
    task = asyncio.create_task(call)
    try:
        while not task.done():
            refuse(needs)
            await asyncio.wait([task], timeout=1)
    finally:
        task.cancel()
        await asyncio.wait([task])
    return task.result()
