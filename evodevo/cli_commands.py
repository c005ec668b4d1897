"""The commands that start, follow and stop runs: a thin layer over `service`, `run` and `report`."""

import contextlib
import functools
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from evodevo import display, trackers
from evodevo.cli_common import (
    Where,
    at_scheduler,
    before_the_run,
    client_of,
    config_argument,
    console,
    done_already,
    follow,
    in_runs_dir,
    load_config,
    no_progress_option,
    on_cluster,
    open_in,
    overrides_option,
    refuse_another,
    refuse_detached,
    refuse_existing,
    refuse_unwritable,
    resume_or_follow,
    run_argument,
    show_detached,
    show_end,
    submit,
    submit_new,
    write_missing_products,
)
from evodevo.cli_completion import runs
from evodevo.config import RunConfig, parse
from evodevo.config_phases import later_phases, next_of
from evodevo.errors import UsageError
from evodevo.harmless import complain
from evodevo.interrupts import heeding_interrupts
from evodevo.names import check_names
from evodevo.report.products import write_products
from evodevo.run.checkpoints import CheckpointError, CheckpointStore
from evodevo.run.dispatch import call_by_path
from evodevo.run.extension import extension_of
from evodevo.run.history import History
from evodevo.run.journal import Journal, JournalInUse, holder_of
from evodevo.run.origin import find_origin
from evodevo.run.retention import needed_checkpoints
from evodevo.run.reuse import load_known
from evodevo.run.setup import DESCRIBE, JOURNAL, TRY_START, founders, job_of
from evodevo.run.simulation import try_strategy
from evodevo.run.view import directory_of, phases_begun, runs_in
from evodevo.service import comparison
from evodevo.service.client import statuses_of
from evodevo.service.run_handle import POLL_S, Run, open_run

BETWEEN_PHASES_S = 60.0
"""Longest wait for the next phase to start, if only the runs' files are read."""
AT_ONCE = 16
"""Runs whose files are read in parallel; without locks, each may have to be watched for a while."""


@click.command()
@config_argument
@overrides_option
@click.option("--run-name", metavar="NAME", help="The same as --set run.name=NAME.")
@click.option("--seed", metavar="S", type=int, help="The same as --set run.seed=S.")
@click.option("--detach", is_flag=True, help="Submit the run and exit; needs an existing cluster.")
@click.option("--resume", "resuming", is_flag=True, help="Resume the run if one of that name exists.")
@no_progress_option
@in_runs_dir
@on_cluster
def launch(
    config_path: str,
    overrides: tuple[str, ...],
    run_name: str | None,
    seed: int | None,
    detach: bool,
    resuming: bool,
    no_progress: bool,
    runs_dir: str,
    where: Where,
) -> None:
    """Start the run that CONFIG describes and show its progress.

    It uses a new local cluster, Slurm jobs, or an existing cluster.
    """
    config = load_config(config_path, overrides, run_name, seed)
    refuse_detached(detach, where)
    if not where.exists:
        refuse_unwritable(Path(runs_dir))
        if not resuming:
            refuse_existing(config, Path(runs_dir).absolute())
    with contextlib.ExitStack() as stack:
        with before_the_run(stack, where, Path(runs_dir, config.run.name)):
            client = stack.enter_context(client_of(where, runs_dir, config, quiet=no_progress))
            run = submit_new(client, config) if resuming else submit(client, config)
        if run is None:
            refuse_another(client.run(config.run.name), config)
            resume_or_follow(client, config.run.name, no_progress, detach=detach)
            return
        if detach:
            show_detached(run, client)
            return
        run = follow(run, client, no_progress)
        show_end(run, client.runs_dir / run.name)


@click.command()
@config_argument
@overrides_option
@in_runs_dir
@at_scheduler
def check(config_path: str, overrides: tuple[str, ...], runs_dir: str, where: Where) -> None:
    """Check CONFIG and print what it would do, without starting a run.

    Its workload is tried in this process, or on a worker of an existing cluster; its strategy is tried in
    two simulated generations.
    """
    config = load_config(config_path, overrides, None, None)
    if config.compare.arms:
        comparison.plan(config, list(config.compare.arms), seeds=1)
    simulated = try_strategy(config)
    if where.exists:
        with where.connect() as client:
            facts = client.check(config)
    else:
        if lacking := trackers.missing(config.run.trackers):
            raise UsageError("\n  ".join(lacking))
        check_names()
        start = find_origin(config, Path(runs_dir))
        started = start.config if start else config
        first = founders(started)
        job = job_of(started, Path(runs_dir, config.run.name))
        try:
            facts = call_by_path(DESCRIBE, (job, first, True))
            load_known(started, Path(runs_dir), facts["data"], start.checkpoint if start else None)
            if start:
                start.check_data(facts["data"])
                tried = start.checkpoint and call_by_path(
                    TRY_START, (job, first[0], start.url, start.checkpoint)
                )
                facts = {**facts, "start": start.facts, "warnings": [*facts["warnings"], *(tried or ())]}
        except ModuleNotFoundError as why:
            raise UsageError(f"the config is good, but its workload cannot be tried here: {why}") from None
    _show_plan(f"{config_path} is good", config, facts, simulated)
    for phase in later_phases(config, parse):
        _check_phase(phase, runs_dir, where)


def _check_phase(config: RunConfig, runs_dir: str, where: Where) -> None:
    """Check a later phase of a config; initial values stand in for those that the phase before will find."""
    simulated = try_strategy(config)
    if where.exists:
        with where.connect() as client:
            facts = client.check(config)
    else:
        facts = call_by_path(
            DESCRIBE, (job_of(config, Path(runs_dir, config.run.name)), founders(config), True)
        )
    _show_plan(f"its next phase, {config.run.name}, is good", config, facts, simulated)


def _show_plan(title: str, config: RunConfig, facts: Mapping[str, Any], simulated: History) -> None:
    """Print what a config would do, what its strategy was tried with, and the warnings."""
    tried = f"{config.search.strategy} was tried with {len(simulated.births):,} simulated members"
    console.print(display.rows(title, [*display.plan(config, facts), ("strategy", tried)]))
    for warning in [*config.warnings(), *facts["warnings"]]:
        console.print(f"warning: {warning}")


@click.command()
@click.argument("run", required=False, shell_complete=runs)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of runs.")
@in_runs_dir
@at_scheduler
def status(run: str | None, as_json: bool, runs_dir: str, where: Where) -> None:
    """Show the status of RUN, or of all runs."""
    with contextlib.ExitStack() as stack:
        if where.exists:
            client = stack.enter_context(where.connect())
            place, names, open_one = client.runs_dir, client.names(), client.run
            phases = [one.name for one in client.phases(run)] if run else []
            general = client.unused_why
        else:
            general = []
            place, names = Path(runs_dir), runs_in(Path(runs_dir))
            phases = phases_begun(run, place) if run else []
            open_one = functools.partial(open_in, runs_dir=runs_dir)
        if run:
            names = phases if phases and run not in names else [run]
        statuses, problems = statuses_of(names, open_one, at_once=1 if where.exists else AT_ONCE)
        unused = display.unused_lines(general, statuses)
    if run and problems:
        raise UsageError("\n".join(problems.values()))
    if as_json:
        print(json.dumps([one.to_json() for one in statuses], indent=2))
    else:
        if where.exists and statuses:
            console.print(f"runs in {place}, the directory of the scheduler", soft_wrap=True)
        console.print(display.status_table(statuses) if statuses else _no_runs(place, where))
        for text in unused:
            console.print(text, soft_wrap=True)
    for name, why in problems.items():
        complain(f"evodevo: {name}: {why}")


@click.command()
@run_argument
@in_runs_dir
@at_scheduler
def watch(run: str, runs_dir: str, where: Where) -> None:
    """Show the progress of RUN until it ends."""
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(where.connect()) if where.exists else None
        watched = client.run(run) if client else open_in(run, runs_dir)
        while True:
            display.show(heeding_interrupts(watched.statuses()), None, console)
            after = client.after(watched) if client else _phase_after(watched)
            if after is None:
                break
            watched = after
        show_end(watched, None)


@click.command()
@run_argument
@in_runs_dir
@at_scheduler
def cancel(run: str, runs_dir: str, where: Where) -> None:
    """Stop RUN and keep its files."""
    options = where.options  # of a cluster that is still there; a local one ends with its run
    if not where.exists:
        found = open_in(run, runs_dir)
        if found.view.over:
            raise UsageError(f"run {found.name!r} is not running: it is {found.status().state}")
        where, run = Where(str(found.view.history.controller["scheduler"])), found.name
    with where.connect() as client:
        cancelled = client.run(run)
        cancelled.cancel()
        run = cancelled.name
        state = cancelled.status().state
    if state == "cancelled":
        console.print(f"run {run} is cancelled; `{f'evodevo resume {run} {options}'.strip()}` resumes it")
    else:
        console.print(f"run {run} was not cancelled: it is {state}")


@click.command()
@run_argument
@click.option(
    "--generations",
    metavar="N",
    type=click.IntRange(1),
    help="Extend the run, even one that is done, to N generations in total.",
)
@click.option("--detach", is_flag=True, help="Resume the run and exit; needs an existing cluster.")
@no_progress_option
@in_runs_dir
@on_cluster
def resume(
    run: str,
    generations: int | None,
    detach: bool,
    no_progress: bool,
    runs_dir: str,
    where: Where,
) -> None:
    """Resume RUN from the end of its journal."""
    refuse_detached(detach, where)
    if where.exists:
        with where.connect() as client:
            resume_or_follow(client, run, no_progress, generations, detach)
        return
    directory = directory_of(run, runs_dir)
    found = open_run(directory)
    while generations is None and (after := _begun_after(found)):  # to the last phase that has started
        found, directory = after, after.directory
    if not found.view.over:
        who = holder_of(directory / JOURNAL) or "a process that has just ended"
        raise UsageError(
            f"run {found.name!r} is running, carried out by {who}; `evodevo watch {found.name}` follows it"
        )
    history = found.view.history
    if found.status().state == "done" and generations is None and not next_of(history.config):
        console.print(done_already(found.name))
        write_missing_products(directory)
        return
    if generations is not None:  # refuse before a cluster is started
        extension_of(directory, history, generations)
    with client_of(where, str(directory.parent), history.config) as client:
        resume_or_follow(client, found.name, no_progress, generations)


@click.command()
@run_argument
@in_runs_dir
def report(run: str, runs_dir: str) -> None:
    """Rewrite RUN's tables, schedule, best checkpoint and report/."""
    directory = directory_of(run, runs_dir)
    phases = phases_begun(run, Path(runs_dir)) if directory.name != run else []
    for one in [directory.with_name(name) for name in phases] or [directory]:
        for path in write_products(one):
            console.print(str(path), soft_wrap=True)


@click.command()
@in_runs_dir
@at_scheduler
def attach(runs_dir: str, where: Where) -> None:
    """Install the service in a running scheduler, and prepare its workers.

    DIR is relative to the scheduler's working directory.
    """
    from evodevo.service.attach import attach_to
    from evodevo.service.cluster import existing

    if not where.exists:
        raise UsageError(
            "attach needs an existing cluster: give --scheduler ADDRESS or --scheduler-file FILE"
        )
    with existing(where.scheduler, where.scheduler_file) as dask_client:
        attached = attach_to(dask_client, runs_dir)
        console.print(display.rows(attached.client.address, attached.rows()))
    for warning in attached.warnings:
        complain(f"warning: {warning}")


@click.command()
@run_argument
@in_runs_dir
def prune(run: str, runs_dir: str) -> None:
    """Delete the checkpoints of RUN that nothing needs; of a finished run, all but the best."""
    directory = directory_of(run, runs_dir)
    try:
        with Journal(directory / JOURNAL) as journal:  # so that no controller resumes the run meanwhile
            deleted, kept = _prune(directory, History.of(journal.records))
    except JournalInUse as why:
        raise UsageError(f"{why}; a run that is at work deletes what it does not need") from None
    except CheckpointError as why:
        raise UsageError(str(why)) from None
    console.print(f"deleted {deleted} checkpoints, kept {kept}")


def _prune(directory: Path, history: History) -> tuple[int, int]:
    """Delete the checkpoints that nothing needs; return the numbers of deleted and of remaining ones."""
    best = history.best.outcome.checkpoint if history.best and history.best.outcome else None
    soup = history.soup.checkpoint if history.soup else None
    last = {ref.name for ref in (best, history.start, soup) if ref}  # a replay starts from `history.start`
    keep = last if history.end == "done" else needed_checkpoints(history)
    store = CheckpointStore(job_of(history.config, directory, history.run_id).checkpoints_url)
    deleted = [name for name in store.names() if name not in keep]
    store.delete(deleted)
    return len(deleted), len(store.names())


def _begun_after(run: Run) -> Run | None:
    """Return the next phase of a run, or None if it has not started, from the runs' files."""
    following = next_of(run.view.history.config)
    directory = run.directory.with_name(following["run"]["name"]) if following else None
    return open_run(directory) if directory and (directory / JOURNAL).exists() else None


def _phase_after(run: Run) -> Run | None:
    """Return the next phase of a run, and wait for a scheduler to start it if the run is done."""
    deadline = time.monotonic() + BETWEEN_PHASES_S
    while (after := _begun_after(run)) is None:
        is_last = run.view.history.end != "done" or next_of(run.view.history.config) is None
        if is_last or time.monotonic() > deadline:
            return None
        time.sleep(POLL_S)
    return after


def _no_runs(place: Path, where: Where) -> str:
    there = where.exists or place.is_dir()
    return f"no runs in {place}" + ("" if there else ", which is not a directory")
