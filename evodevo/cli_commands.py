"""The commands: thin. What they do is in `service`, `run` and `report`. `cli` lists them."""

import contextlib
import dataclasses
import functools
import json
from pathlib import Path

import click

from evodevo import display
from evodevo.cli_common import (
    Where,
    at_scheduler,
    carry_on,
    client_of,
    config_argument,
    console,
    directory_of,
    follow,
    in_runs_dir,
    load_config,
    no_progress_option,
    on_cluster,
    open_in,
    overrides_option,
    refuse_another,
    show_end,
    submit,
    submit_new,
    write_missing_products,
)
from evodevo.errors import RunFailed, UsageError
from evodevo.interrupts import heeding_interrupts
from evodevo.report.products import write_products
from evodevo.report.schedule import Schedule
from evodevo.run.checkpoints import CheckpointError, CheckpointStore
from evodevo.run.dispatch import call_by_path
from evodevo.run.journal import holder_of
from evodevo.run.retention import needed_checkpoints
from evodevo.run.setup import DESCRIBE, JOURNAL, first_hyperparameters, job_of
from evodevo.run.view import runs_in
from evodevo.service import comparison
from evodevo.service.client import open_run, statuses_of
from evodevo.service.replay import compare_replay, replay_config

AT_ONCE = 16
"""Runs that are looked at in their files at once: without locks each may have to be watched for a while."""


@click.command()
@config_argument
@overrides_option
@click.option("--run-name", metavar="NAME", help="The same as --set run.name=NAME.")
@click.option("--seed", metavar="S", type=int, help="The same as --set run.seed=S.")
@click.option("--detach", is_flag=True, help="Submit and leave; needs a cluster that outlives this command.")
@click.option("--resume", "resuming", is_flag=True, help="Carry the run on where there is one of its name.")
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
    """Carry out the run of CONFIG and show its progress.

    On a cluster of its own on this machine, or on an existing one.
    """
    config = load_config(config_path, overrides, run_name, seed)
    if detach and not where.exists:
        raise UsageError(
            "--detach needs a cluster that outlives this command: give --scheduler or --scheduler-file"
        )
    with client_of(where, runs_dir, config) as client:
        run = submit_new(client, config) if resuming else submit(client, config)
        if run is None:
            refuse_another(client.run(config.run.name), config)
            carry_on(client, config.run.name, no_progress)
            return
        if detach:
            place = client.runs_dir / run.name
            console.print(
                f"run {run.name} is in {place}; `evodevo watch {run.name} {client.options}` follows it",
                soft_wrap=True,
            )
            return
        follow(run, client, no_progress)
        show_end(run, client.runs_dir / run.name)


@click.command()
@config_argument
@overrides_option
@at_scheduler
def check(config_path: str, overrides: tuple[str, ...], where: Where) -> None:
    """Say whether CONFIG is good and what it would do, without doing it.

    Its workload is tried in this process, or on a worker of an existing cluster.
    """
    config = load_config(config_path, overrides, None, None)
    if config.compare.arms:
        comparison.plan(config, list(config.compare.arms), seeds=1)
    if where.exists:
        with where.connect() as client:
            facts = client.check(config)
    else:
        hyperparameters = first_hyperparameters(config)
        job = job_of(config, Path("checkpoints", config.run.name))
        try:
            facts = call_by_path(DESCRIBE, (job, hyperparameters))
        except ModuleNotFoundError as why:
            raise UsageError(f"the config is good, but its workload cannot be tried here: {why}") from None
    console.print(display.rows(f"{config_path} is good", display.plan(config, facts)), highlight=False)
    for warning in facts["warnings"]:
        console.print(f"warning: {warning}", highlight=False)


@click.command()
@click.argument("run", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a list of runs.")
@in_runs_dir
@at_scheduler
def status(run: str | None, as_json: bool, runs_dir: str, where: Where) -> None:
    """Say where RUN stands, or all runs."""
    with contextlib.ExitStack() as stack:
        if where.exists:
            client = stack.enter_context(where.connect())
            place, names, open_one = client.runs_dir, client.names(), client.run
            general = client.unused_why
        else:
            general = []
            place, names = Path(runs_dir), runs_in(Path(runs_dir))
            open_one = functools.partial(open_in, runs_dir=runs_dir)
        if run:
            names = [run]
        statuses, problems = statuses_of(names, open_one, at_once=1 if where.exists else AT_ONCE)
        unused = display.unused_lines(general, statuses)
    if run and problems:
        raise UsageError(problems[run])
    if as_json:
        print(json.dumps([one.to_json() for one in statuses], indent=2))
    else:
        if where.exists and statuses:
            console.print(f"runs in {place}, the scheduler's own directory", highlight=False, soft_wrap=True)
        console.print(display.status_table(statuses) if statuses else _no_runs(place, where))
        for text in unused:
            console.print(text, highlight=False, markup=False, soft_wrap=True)
    for name, why in problems.items():
        click.echo(f"evodevo: {name}: {why}", err=True)


@click.command()
@click.argument("run")
@in_runs_dir
@at_scheduler
def watch(run: str, runs_dir: str, where: Where) -> None:
    """Follow RUN until it is over."""
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(where.connect()) if where.exists else None
        watched = client.run(run) if client else open_in(run, runs_dir)
        display.show(heeding_interrupts(watched.follow()), None, console)
        show_end(watched, None)


@click.command()
@click.argument("run")
@in_runs_dir
@at_scheduler
def cancel(run: str, runs_dir: str, where: Where) -> None:
    """Stop RUN, keeping everything."""
    options = where.options  # a local cluster ends with its run: it is carried on elsewhere
    if not where.exists:
        found = open_in(run, runs_dir)
        if found.view.over:
            raise UsageError(f"run {found.name!r} is not running: it is {found.status().state}")
        where, run = Where(str(found.view.history.controller["scheduler"])), found.name
    with where.connect() as client:
        cancelled = client.run(run)
        cancelled.cancel()
        state = cancelled.status().state
    if state == "cancelled":
        console.print(f"run {run} is cancelled; `{f'evodevo resume {run} {options}'.strip()}` carries it on")
    else:
        console.print(f"too late: run {run} is {state}")


@click.command()
@click.argument("run")
@no_progress_option
@in_runs_dir
@on_cluster
def resume(
    run: str,
    no_progress: bool,
    runs_dir: str,
    where: Where,
) -> None:
    """Carry RUN on from where its journal ends."""
    if where.exists:
        with where.connect() as client:
            carry_on(client, run, no_progress)
        return
    directory = directory_of(run, runs_dir)
    found = open_run(directory)
    if not found.view.over:
        who = holder_of(directory / JOURNAL) or "a process that has just ended"
        raise UsageError(
            f"run {found.name!r} is running, carried out by {who}; `evodevo watch {found.name}` follows it"
        )
    if found.status().state == "done":
        console.print(f"run {found.name} is done already")
        write_missing_products(directory)
        return
    with client_of(where, str(directory.parent), found.view.history.config) as client:
        carry_on(client, found.name, no_progress)


@click.command()
@click.argument("run")
@in_runs_dir
def report(run: str, runs_dir: str) -> None:
    """Write RUN's tables, schedule, best checkpoint and report/ anew."""
    for path in write_products(directory_of(run, runs_dir)):
        console.print(str(path), soft_wrap=True, highlight=False)


@click.command()
@click.argument("run")
@click.option("--seed", metavar="S", type=int, help="Train with other seeds than the original's.")
@click.option("--run-name", metavar="NAME", help="The replay's own name; by default RUN-replay.")
@no_progress_option
@in_runs_dir
@at_scheduler
def replay(
    run: str,
    seed: int | None,
    run_name: str | None,
    no_progress: bool,
    runs_dir: str,
    where: Where,
) -> None:
    """Train once from scratch along RUN's schedule and say how far it ends from the original."""
    directory = directory_of(run, runs_dir)
    original = open_run(directory)
    schedule = Schedule.load(directory / "schedule.yaml")
    config = replay_config(
        original.view.history.config,
        schedule,
        run_name or f"{original.name}-replay{'' if seed is None else f'-seed{seed}'}",
        seed,
    )
    alone = dataclasses.replace(where, workers=1)  # there is one member
    with client_of(alone, str(directory.parent), config) as client:
        replayed = submit(client, config)
        follow(replayed, client, no_progress)
        show_end(replayed, client.runs_dir / replayed.name)
    result = compare_replay(schedule, replayed.view.history)
    console.print(result.text(schedule), highlight=False, soft_wrap=True)


@click.command()
@config_argument
@click.option(
    "--arms",
    metavar="A,B,...",
    default=",".join(comparison.DEFAULT_ARMS),
    show_default=True,
    help=f"Ways to search; also {', '.join(comparison.ABLATIONS)}, and those of the config's compare.arms.",
)
@click.option(
    "--seeds",
    metavar="N",
    type=click.IntRange(1, 1000),
    default=3,
    show_default=True,
    help="Runs of each arm.",
)
@overrides_option
@no_progress_option
@in_runs_dir
@on_cluster
def compare(
    config_path: str,
    arms: str,
    seeds: int,
    overrides: tuple[str, ...],
    no_progress: bool,
    runs_dir: str,
    where: Where,
) -> None:
    """Hold several ways to search side by side: the same epochs, validation data and final test.

    Each arm and seed is a run of its own. The same command carries on what was interrupted.
    """
    config = load_config(config_path, overrides, None, None)
    planned = comparison.plan(config, [arm.strip() for arm in arms.split(",")], seeds)
    place = Path(runs_dir)
    if where.exists or not comparison.all_done(planned, place):
        with client_of(where, runs_dir, config, runs=len(planned)) as client:
            place = client.runs_dir
            carrying_out = heeding_interrupts(comparison.carry_out(client, config, planned))
            try:
                statuses = display.show_all(
                    carrying_out, len(planned), client.dashboard, console, no_progress
                )
            except KeyboardInterrupt:
                console.print("\ninterrupted; the same command carries the comparison on")
                raise
            failures = [f"{one.name}: {one.message}" for one in statuses if one.state != "done"]
    else:
        failures = []
    for path in comparison.write(config, planned, place):
        console.print(str(path), soft_wrap=True, highlight=False)
    if failures:
        raise RunFailed("the comparison is not complete; " + "\n  ".join(failures))


@click.command()
@in_runs_dir
@at_scheduler
def attach(runs_dir: str, where: Where) -> None:
    """Put the service into a scheduler that runs without it, and prepare its workers.

    DIR is relative to the working directory of the scheduler.
    """
    from evodevo.service.attach import attach_to
    from evodevo.service.cluster import existing

    if not where.exists:
        raise UsageError("attach needs the cluster: give --scheduler ADDRESS or --scheduler-file FILE")
    with existing(where.scheduler, where.scheduler_file) as dask_client:
        attached = attach_to(dask_client, runs_dir)
        console.print(display.rows(attached.client.address, attached.rows()), highlight=False)
    for warning in attached.warnings:
        click.echo(f"warning: {warning}", err=True)


@click.command()
@click.argument("run")
@in_runs_dir
def prune(run: str, runs_dir: str) -> None:
    """Delete the checkpoints of RUN that nothing needs: of a run that is done, all but the best."""
    directory = directory_of(run, runs_dir)
    if holder := holder_of(directory / JOURNAL):
        raise UsageError(
            f"run {directory.name!r} is running, carried out by {holder}; "
            "it deletes what it does not need by itself"
        )
    history = open_run(directory).view.history
    best = history.best.outcome.checkpoint if history.best and history.best.outcome else None
    keep = ({best.name} if best else set()) if history.end == "done" else needed_checkpoints(history)
    try:
        store = CheckpointStore(job_of(history.config, directory, history.run_id).checkpoints_url)
        deleted = [name for name in store.names() if name not in keep]
        store.delete(deleted)
        console.print(f"deleted {len(deleted)} checkpoints, kept {len(store.names())}")
    except CheckpointError as why:
        raise UsageError(str(why)) from None


def _no_runs(place: Path, where: Where) -> str:
    there = where.exists or place.is_dir()
    return f"no runs in {place}" + ("" if there else ", which is no directory")
