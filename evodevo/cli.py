"""The command line: thin. What it does is in `service`, `run` and `report`."""

import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from evodevo import display
from evodevo.config import RunConfig, load, parse_override
from evodevo.errors import RunFailed, UsageError
from evodevo.report.products import write_products
from evodevo.report.schedule import Schedule
from evodevo.report.summary import summary_lines
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.controller import DESCRIBE, JOURNAL, job_of
from evodevo.run.dispatch import call_by_path
from evodevo.run.journal import JournalError, is_live
from evodevo.run.view import runs_in
from evodevo.service.client import Client, Run, connect, local, open_run, statuses_of
from evodevo.service.replay import compare, replay_config

console = Console(width=None if sys.stdout and sys.stdout.isatty() else 120)


def main(arguments: list[str] | None = None) -> None:
    """The program: exit status 0 done; 1 the run failed; 2 bad usage or config; 130 interrupted."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # where a user's own module is, as for workers
    try:
        evodevo.main(arguments, prog_name="evodevo", standalone_mode=False)
    except (UsageError, JournalError) as why:
        _fail(2, str(why))
    except click.ClickException as why:
        why.show()
        sys.exit(2)
    except RunFailed as why:
        _fail(1, str(why))
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)


@click.group()
@click.version_option(package_name="evodevo")
def evodevo() -> None:
    """Evolve a population of neural networks while it trains."""


def _at_scheduler(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--scheduler-file", metavar="FILE", help="An existing cluster's scheduler file."),
        click.option("--scheduler", metavar="ADDRESS", help="An existing cluster, such as tcp://host:8786."),
    ):
        function = option(function)
    return function


_in_runs_dir = click.option(
    "--runs-dir",
    metavar="DIR",
    default="checkpoints",
    show_default=True,
    help="Where the runs' directories are.",
)
_workers = click.option(
    "--workers", metavar="N", type=click.IntRange(1), help="Workers of the local cluster."
)
_no_progress = click.option("--no-progress", is_flag=True, help="Show nothing before the end.")


@evodevo.command()
@click.argument("config_path", metavar="CONFIG")
@click.option(
    "--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Set a config key; dots for sections."
)
@click.option("--run-name", metavar="NAME", help="The same as --set run.name=NAME.")
@click.option("--seed", metavar="S", type=int, help="The same as --set run.seed=S.")
@click.option("--detach", is_flag=True, help="Submit and leave; needs a cluster that outlives this command.")
@_no_progress
@_workers
@_in_runs_dir
@_at_scheduler
def launch(
    config_path: str,
    overrides: tuple[str, ...],
    run_name: str | None,
    seed: int | None,
    detach: bool,
    no_progress: bool,
    workers: int | None,
    runs_dir: str,
    scheduler: str | None,
    scheduler_file: str | None,
) -> None:
    """Carry out the run of CONFIG and show its progress.

    On a cluster of its own on this machine, or on an existing one.
    """
    config = _load(config_path, overrides, run_name, seed)
    if detach and not (scheduler or scheduler_file):
        raise UsageError(
            "--detach needs a cluster that outlives this command: give --scheduler or --scheduler-file"
        )
    with _client(scheduler, scheduler_file, workers, runs_dir, config) as client:
        run = _submit(client, config)
        if detach:
            place = client.runs_dir / run.name
            console.print(
                f"run {run.name} is in {place}; `evodevo watch {run.name} {client.options}` follows it"
            )
            return
        _follow(run, client, no_progress)
        _show_end(run, client.runs_dir / run.name)


@evodevo.command()
@click.argument("config_path", metavar="CONFIG")
@click.option(
    "--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Set a config key; dots for sections."
)
@_at_scheduler
def check(
    config_path: str, overrides: tuple[str, ...], scheduler: str | None, scheduler_file: str | None
) -> None:
    """Say whether CONFIG is good and what it would do, without doing it.

    Its workload is tried in this process, or on a worker of an existing cluster.
    """
    config = _load(config_path, overrides, None, None)
    if scheduler or scheduler_file:
        with connect(scheduler, scheduler_file) as client:
            facts = client.check(config)
    else:
        hyperparameters = config.space().express(config.strategy().founder(0, 0).genome)
        job = job_of(config, Path("checkpoints", config.run.name))
        try:
            facts = call_by_path(DESCRIBE, (job, hyperparameters))
        except ModuleNotFoundError as why:
            raise UsageError(f"the config is good, but its workload cannot be tried here: {why}") from None
    console.print(display.rows(f"{config_path} is good", display.plan(config, facts)), highlight=False)
    for warning in facts["warnings"]:
        console.print(f"warning: {warning}", highlight=False)


@evodevo.command()
@click.argument("run", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a list of runs.")
@_in_runs_dir
@_at_scheduler
def status(
    run: str | None, as_json: bool, runs_dir: str, scheduler: str | None, scheduler_file: str | None
) -> None:
    """Say where RUN stands, or all runs."""
    with contextlib.ExitStack() as stack:
        if scheduler or scheduler_file:
            client = stack.enter_context(connect(scheduler, scheduler_file))
            names, open_one = client.names(), client.run
        else:
            names, open_one = runs_in(Path(runs_dir)), functools.partial(_open, runs_dir=runs_dir)
        if run:
            names = [run]
        statuses, problems = statuses_of(names, open_one)
    if run and problems:
        raise UsageError(problems[run])
    if as_json:
        print(json.dumps([one.to_json() for one in statuses], indent=2))
    else:
        console.print(display.status_table(statuses) if statuses else f"no runs in {runs_dir}")
    for name, why in problems.items():
        click.echo(f"evodevo: {name}: {why}", err=True)


@evodevo.command()
@click.argument("run")
@_in_runs_dir
@_at_scheduler
def watch(run: str, runs_dir: str, scheduler: str | None, scheduler_file: str | None) -> None:
    """Follow RUN until it is over."""
    with contextlib.ExitStack() as stack:
        if scheduler or scheduler_file:
            watched = stack.enter_context(connect(scheduler, scheduler_file)).run(run)
        else:
            watched = _open(run, runs_dir)
        display.show(watched.follow(), None, console)
        _show_end(watched, None)


@evodevo.command()
@click.argument("run")
@_in_runs_dir
@_at_scheduler
def cancel(run: str, runs_dir: str, scheduler: str | None, scheduler_file: str | None) -> None:
    """Stop RUN, keeping everything."""
    options = ""  # a local cluster ends with its run: what is carried on is carried on elsewhere
    if scheduler or scheduler_file:
        options = f" --scheduler-file {scheduler_file}" if scheduler_file else f" --scheduler {scheduler}"
    else:
        found = _open(run, runs_dir)
        if found.view.over:
            raise UsageError(f"run {found.name!r} is not running: it is {found.status().state}")
        scheduler, run = str(found.view.history.controller["scheduler"]), found.name
    with connect(scheduler, scheduler_file) as client:
        cancelled = client.run(run)
        cancelled.cancel()
        state = cancelled.status().state
    if state == "cancelled":
        console.print(f"run {run} is cancelled; `evodevo resume {run}{options}` carries it on")
    else:
        console.print(f"too late: run {run} is {state}")


@evodevo.command()
@click.argument("run")
@_no_progress
@_workers
@_in_runs_dir
@_at_scheduler
def resume(
    run: str,
    no_progress: bool,
    workers: int | None,
    runs_dir: str,
    scheduler: str | None,
    scheduler_file: str | None,
) -> None:
    """Carry RUN on from where its journal ends."""
    config, name = None, run
    if not (scheduler or scheduler_file):
        directory = _directory(run, runs_dir)
        found = open_run(directory)
        if not found.view.over:
            raise UsageError(f"run {found.name!r} is running; `evodevo watch {found.name}` follows it")
        config, name, runs_dir = found.view.history.config, found.name, str(directory.parent)
        if found.status().state == "done":
            console.print(f"run {name} is done already")
            return
    with _client(scheduler, scheduler_file, workers, runs_dir, config) as client:
        carried_on = client.run(name)
        if carried_on.status().state == "done":
            console.print(f"run {name} is done already")
        else:
            carried_on.resume()
            _follow(carried_on, client, no_progress)
        _show_end(carried_on, client.runs_dir / name)


@evodevo.command()
@click.argument("run")
@_in_runs_dir
def report(run: str, runs_dir: str) -> None:
    """Write RUN's tables, schedule, best checkpoint and report/ anew."""
    for path in write_products(_directory(run, runs_dir)):
        console.print(str(path), soft_wrap=True, highlight=False)


@evodevo.command()
@click.argument("run")
@click.option("--seed", metavar="S", type=int, help="Train with other seeds than the original's.")
@click.option("--run-name", metavar="NAME", help="The replay's own name; by default RUN-replay.")
@_no_progress
@_in_runs_dir
@_at_scheduler
def replay(
    run: str,
    seed: int | None,
    run_name: str | None,
    no_progress: bool,
    runs_dir: str,
    scheduler: str | None,
    scheduler_file: str | None,
) -> None:
    """Train once from scratch along RUN's schedule and say how far it ends from the original."""
    directory = _directory(run, runs_dir)
    original = open_run(directory)
    schedule = Schedule.load(directory / "schedule.yaml")
    config = replay_config(
        original.view.history.config,
        schedule,
        run_name or f"{original.name}-replay{'' if seed is None else f'-seed{seed}'}",
        seed,
    )
    with _client(scheduler, scheduler_file, 1, str(directory.parent), config) as client:
        replayed = _submit(client, config)
        _follow(replayed, client, no_progress)
        _show_end(replayed, client.runs_dir / replayed.name)
    result = compare(schedule, replayed.view.history)
    console.print(result.text(schedule), highlight=False, soft_wrap=True)


@evodevo.command()
@click.argument("run")
@_in_runs_dir
def prune(run: str, runs_dir: str) -> None:
    """Delete the checkpoints of RUN that nothing needs: of a run that is done, all but the best."""
    directory = _directory(run, runs_dir)
    if is_live(directory / JOURNAL):
        raise UsageError(f"run {directory.name!r} is running; it deletes what it does not need by itself")
    history = open_run(directory).view.history
    best = history.best.outcome.checkpoint if history.best and history.best.outcome else None
    keep = ({best.name} if best else set()) if history.end == "done" else history.needed_checkpoints()
    store = CheckpointStore(job_of(history.config, directory, history.run_id).checkpoints_url)
    deleted = store.collect(keep, in_flight=())
    console.print(f"deleted {len(deleted)} checkpoints, kept {len(store.names())}")


def _load(path: str, overrides: tuple[str, ...], run_name: str | None, seed: int | None) -> RunConfig:
    values = dict(parse_override(text) for text in overrides)
    if run_name is not None:
        values["run.name"] = run_name
    if seed is not None:
        values["run.seed"] = seed
    return load(path, values)


@contextlib.contextmanager
def _client(
    scheduler: str | None,
    scheduler_file: str | None,
    workers: int | None,
    runs_dir: str,
    config: RunConfig | None,
) -> Iterator[Client]:
    """The cluster that the options name: an existing one, or else one of its own with `config`'s workers."""
    if scheduler or scheduler_file:
        with connect(scheduler, scheduler_file) as client:
            yield client
    else:
        count = workers or (config.cluster.workers if config else 1)
        with local(count, runs_dir) as client:
            yield client


def _submit(client: Client, config: RunConfig) -> Run:
    if client.workers == 0:
        console.print("waiting for a worker: none is connected yet")
    return client.submit(config)


def _follow(run: Run, client: Client, quiet: bool) -> None:
    try:
        display.show(run.follow(), client.dashboard, console, quiet)
    except KeyboardInterrupt:
        if client.options is None:
            console.print(f"\ninterrupted; `evodevo resume {run.name}` carries the run on")
        else:
            where = f"{run.name} {client.options}"
            console.print(
                f"\nthe run goes on; `evodevo watch {where}` follows it, `evodevo cancel {where}` stops it"
            )
        raise


def _show_end(run: Run, directory: Path | None) -> None:
    """The summary table; raises `RunFailed` where the run failed or stopped before its end."""
    history, status = run.view.history, run.view.status()
    rows = summary_lines(history)
    if directory is not None:
        products = {"schedule": "schedule.yaml", "history": "history.csv", "report": "report/index.html"}
        rows += [
            (name, str(directory / file)) for name, file in products.items() if (directory / file).exists()
        ]
    console.print(display.rows(run.name, rows), highlight=False)
    if status.state == "failed":
        raise RunFailed(f"run {run.name} failed: {status.message}")
    if status.state == "interrupted":
        raise RunFailed(f"run {run.name} stopped: {status.message or 'no scheduler carries it on'}")
    if status.message and status.state == "done":
        click.echo(f"evodevo: {status.message}", err=True)


def _directory(run: str, runs_dir: str) -> Path:
    """A run by its name in the runs directory, or by its own path."""
    for directory in (Path(runs_dir, run), Path(run)):
        if (directory / JOURNAL).exists():
            return directory
    known = ", ".join(runs_in(Path(runs_dir))) or "none"
    raise UsageError(f"no run {run!r} in {Path(runs_dir).absolute()}; there are: {known}")


def _open(run: str, runs_dir: str) -> Run:
    return open_run(_directory(run, runs_dir))


def _fail(code: int, message: str) -> None:
    click.echo(f"evodevo: {message}", err=True)
    sys.exit(code)
