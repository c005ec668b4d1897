"""Create runs: their directories, and what all calls to workers have in common."""

import contextlib
import glob
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from evodevo.config import RunConfig
from evodevo.errors import RunFailed, UsageError
from evodevo.evolution import rng
from evodevo.evolution.space import BoolLocus, ChoiceLocus, Genome, IntLocus, Space, same
from evodevo.evolution.strategies import find
from evodevo.run import files
from evodevo.run.checkpoints import CheckpointError, CheckpointStore
from evodevo.run.codec import encode
from evodevo.run.events import Begun, Known, Origin
from evodevo.run.guard import Guarded
from evodevo.run.history import History
from evodevo.run.journal import JOURNAL as JOURNAL
from evodevo.run.journal import Journal
from evodevo.run.records import CheckpointRef, Job
from evodevo.run.reuse import best_checkpoint, known_of, load_known

CONFIG = "config.yaml"
EXHIBITS = "exhibits"
"""Directory, in the run's, for what the workload has to show of the best member: pictures and texts."""
START_STEM = "start-a0"
"""Start of the name of the checkpoint that founders start from, in place of a member's id."""
KNOWN_STEM = "known-a0"
"""The same for the best checkpoint of a run whose outcomes are reused."""
RUN_UNIT = "workers.unit:run_unit"
LEAD = "workers.ranks:lead"
FOLLOW = "workers.ranks:follow"
EXAMINE = "workers.examine:examine"
DESCRIBE = "workers.describe:describe"
MEASURE = "workers.measure:members_at_once"
TRY_START = "workers.start:try_start"
SOUP = "workers.soup:make_soup"
RENDER = "evodevo.report.products:write_products"


def create_run(
    directory: Path,
    config: RunConfig,
    data: Mapping[str, str] | None = None,
    start: tuple[Origin, bytes] | None = None,
) -> None:
    """Create the directory of a new run, with its journal begun: all of it or nothing.

    `data`: the digest of each split by name. `start`: what the founders start from, and the content of its
    checkpoint if it has one, of which the run keeps a copy. Raises `FileExistsError` if the directory exists,
    `UsageError` if `config.search.reuse` cannot be used, and `CheckpointError` if a copy cannot be written.
    """
    config = config.complete()
    if directory.exists():
        raise FileExistsError(f"{directory} already exists")
    reused = load_known(config, directory.parent, data or {}, start[0].checkpoint if start else None)
    _clear_left_overs(directory)
    unborn = directory.with_name(f".{directory.name}.{uuid.uuid4().hex[:8]}")
    unborn.mkdir(parents=True)
    run_id = uuid.uuid4().hex[:8]
    store = CheckpointStore(job_of(config, unborn, run_id).checkpoints_url)
    origin = start[0] if start else None
    copies: list[CheckpointRef] = []
    try:
        store.prepare()
        files.write_new(unborn / CONFIG, config.to_yaml().encode())
        if start:
            if start[0].checkpoint:
                copies.append(store.publish(START_STEM, start[1], Path(start[0].checkpoint.name).suffix))
            origin = replace(start[0], checkpoint=copies[0] if copies else None)
        known = _copied_outcomes(*reused, store, copies) if reused else None
        with Journal(unborn / JOURNAL) as journal:
            strategy = find(config.search.strategy)
            pace = config.search.pace or strategy.paces[0]
            begun = Begun(run_id, config.to_json(), pace, config.inherits, data or {}, origin)
            journal.append([encode(event) for event in (begun, known) if event])
        _rename_to_new(unborn, directory)
    except BaseException:
        if copies:
            with contextlib.suppress(CheckpointError):
                store.delete([ref.name for ref in copies])
        shutil.rmtree(unborn, ignore_errors=True)
        raise
    files.flush_directory(directory.parent)


def _copied_outcomes(
    history: History, directory: Path, store: CheckpointStore, copies: list[CheckpointRef]
) -> Known:
    """Return the known outcomes of another run; a copy of its best checkpoint is added to `copies`."""
    url = job_of(history.config, directory.absolute(), history.run_id).checkpoints_url
    best = best_checkpoint(history, url)
    if best is None:
        return known_of(history, None)
    copies.append(store.publish(KNOWN_STEM, best[1], Path(best[0]).suffix))
    return known_of(history, copies[-1])


def _clear_left_overs(directory: Path) -> None:
    """Remove old leftovers of processes that ended in `create_run` for a run of that name."""
    for path in directory.parent.glob(f".{glob.escape(directory.name)}.{'[0-9a-f]' * 8}"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > LEFT_OVER_S:
                shutil.rmtree(path)


def write_config(directory: Path, config: RunConfig) -> None:
    """Rewrite the config of a run if it has changed.

    The file keeps its time, which says when the run was created.
    """
    path, text = directory / CONFIG, config.to_yaml().encode()
    if path.exists() and path.read_bytes() == text:
        return
    made_at = path.stat().st_mtime if path.exists() else None
    files.replace(path, text)
    if made_at is not None:
        os.utime(path, (made_at, made_at))


LEFT_OVER_S = 3600.0
"""A new directory that has not been renamed to a run's after this time never will be."""
MOST_VARIANTS = 16
"""Maximum number of the first founder's variants that are tried before a run begins."""


def founders(config: RunConfig) -> list[dict[str, Any]]:
    """Return the hyperparameters of the first two founders, and of members that may inherit from the first.

    The latter differ from the first in one locus: another choice, or a step in an integer, which may change
    the shape of a network. If members train from scratch, the first founder is the only one, as the networks
    of two may differ. Raises `UsageError` if there cannot be any founders.
    """
    try:
        strategy = Guarded(config.strategy())
        slots = (0, min(1, config.search.population - 1)) if strategy.inherits else (0,)
        genomes = [strategy.founder(0, slot).genome for slot in slots]
        mixes = config.search.demes is not None or strategy.needs(1, 0) != [0]
        mutates = config.search.generations > 1 and strategy.inherits and mixes
    except RunFailed as why:
        raise UsageError(f"search.strategy: {why}") from None
    space = config.space()
    if mutates:
        genomes += islice(_variants(space, genomes[0]), MOST_VARIANTS)
    return [space.express(genome) for genome in genomes]


def _variants(space: Space, genome: Genome) -> Iterator[Genome]:
    for name, locus in space.loci.items():
        value = genome[name]
        values: list[Any] = []
        if isinstance(locus, ChoiceLocus):
            values = [choice for choice in locus.choices if not same(choice, value)]
        elif isinstance(locus, BoolLocus):
            values = [not value]
        elif isinstance(locus, IntLocus) and isinstance(value, int):
            values = [value + 1 if value < locus.high else value - 1]
        for other in values if locus.evolves else ():
            if locus.contains(other):
                yield {**genome, name: other}


def _rename_to_new(unborn: Path, directory: Path) -> None:
    """Rename a new directory to a run's.

    If two processes create the same one at once, the kernel refuses one of them, with one of several errors.
    """
    try:
        unborn.rename(directory)
    except OSError as why:
        if directory.exists():
            raise FileExistsError(f"{directory} already exists") from why
        raise


def job_of(
    config: RunConfig,
    directory: Path,
    run_id: str = "",
    data: Mapping[str, str] | None = None,
    edition: str = "",
) -> Job:
    """Return what all assignments of a run have in common.

    At a URL that runs share, each has its own directory, even if two have the same name.
    """
    url, search = config.checkpoints.url, config.search
    counted = search.steps_per_generation is None
    shared = search.initialisation == "shared"
    total_epochs = search.total_epochs if config.inherits else search.legs * search.leg_epochs(0)
    return Job(
        run=config.run.name,
        workload=config.workload.model_dump(),
        metric=config.objective.metric,
        weights=config.objective.weights,
        checkpoints_url=f"{url.rstrip('/')}/{config.run.name}-{run_id}" if url else str(directory / "params"),
        data_root=config.data.root,
        threads=config.cluster.threads_per_member,
        epoch_timeout_s=config.limits.epoch_timeout_s,
        steps=search.steps_per_generation,
        seed=config.run.seed,
        total_epochs=total_epochs if counted else None,
        data=data or {},
        edition=edition,
        average_half_life=search.half_life,
        initial_seed=rng.initial_seed(config.run.seed) if shared else None,
        longest_leg=max(map(search.leg_epochs, range(search.generations))),
        members_per_device=config.cluster.at_once,
        stacked=config.cluster.stacked is not False,
        workers=config.cluster.workers_per_member,
        batch_norm=config.cluster.batch_norm,
        legs=search.legs,
        ploidy=search.ploidy,
        target=config.objective.target.for_workers() if config.objective.target else None,
        member_time_s=config.limits.member_time_s,
        losses_per_epoch=config.run.losses_per_epoch,
        accounts=not config.inherits and config.workload.command is None,
    )
