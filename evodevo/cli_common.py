"""What several commands of the command line share: options, the cluster, following a run to its end."""

import contextlib
import dataclasses
import functools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from evodevo import display
from evodevo.cli_completion import DEFAULT_RUNS_DIR, directories, files, runs
from evodevo.config import RunConfig
from evodevo.config_file import load, parse_override
from evodevo.config_phases import next_of
from evodevo.console import HarmlessConsole
from evodevo.errors import RunFailed, UsageError
from evodevo.harmless import complain
from evodevo.interrupts import heeding_interrupts
from evodevo.report.summary import summary_lines
from evodevo.run.origin import as_begun
from evodevo.run.setup import JOURNAL
from evodevo.run.view import directory_of, refuse_live
from evodevo.service.client import Client, connect, local, slurm
from evodevo.service.run_handle import Run, open_run

console = HarmlessConsole(width=None if sys.stdout and sys.stdout.isatty() else 120)


@dataclasses.dataclass(frozen=True)
class Where:
    """The cluster that the options name; a local one where they name none."""

    scheduler: str | None = None
    scheduler_file: str | None = None
    slurm: bool = False
    workers: int | None = None

    @property
    def exists(self) -> bool:
        """It is there already, and outlives this command."""
        return bool(self.scheduler or self.scheduler_file)

    @property
    def options(self) -> str:
        """What the command line needs to reach the same existing cluster."""
        if not self.exists:
            return ""
        by_file = f"--scheduler-file {self.scheduler_file}"
        return by_file if self.scheduler_file else f"--scheduler {self.scheduler}"

    def connect(self) -> contextlib.AbstractContextManager[Client]:
        """A client of the existing cluster. Raises `UsageError`."""
        return connect(self.scheduler, self.scheduler_file)


def at_scheduler(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that name an existing cluster; the command gets `where`."""

    @click.option("--scheduler", metavar="ADDRESS", help="An existing cluster, such as tcp://host:8786.")
    @click.option(
        "--scheduler-file",
        metavar="FILE",
        shell_complete=files,
        help="An existing cluster's scheduler file.",
    )
    @functools.wraps(function)
    def command(*arguments: Any, scheduler: str | None, scheduler_file: str | None, **options: Any) -> Any:
        return function(*arguments, where=Where(scheduler, scheduler_file), **options)

    return command


def on_cluster(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for commands that can have a cluster of their own as well."""

    @at_scheduler
    @click.option("--slurm", is_flag=True, help="Workers are Slurm jobs, as in the config's cluster.slurm.")
    @click.option("--workers", metavar="N", type=click.IntRange(1), help="Workers of a local cluster.")
    @functools.wraps(function)
    def command(*arguments: Any, where: Where, slurm: bool, workers: int | None, **options: Any) -> Any:
        if slurm and (where.exists or workers):
            raise UsageError(
                "--slurm has workers of its own (cluster.slurm.max_workers); "
                "leave out --scheduler, --scheduler-file and --workers"
            )
        where = dataclasses.replace(where, slurm=slurm, workers=workers)
        return function(*arguments, where=where, **options)

    return command


config_argument = click.argument("config_path", metavar="CONFIG", shell_complete=files)
run_argument = click.argument("run", shell_complete=runs)
overrides_option = click.option(
    "--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Set a config key; dots for sections."
)
in_runs_dir = click.option(
    "--runs-dir",
    metavar="DIR",
    default=DEFAULT_RUNS_DIR,
    show_default=True,
    shell_complete=directories,
    help="Where the runs' directories are.",
)
no_progress_option = click.option("--no-progress", is_flag=True, help="Show nothing before the end.")


@contextlib.contextmanager
def only_json(wanted: bool) -> Iterator[None]:
    """Keep stdout for JSON if that is wanted: what this process and its workers print goes to stderr."""
    if not wanted:
        yield
        return
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)  # workers inherit it
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


def load_config(path: str, overrides: tuple[str, ...], run_name: str | None, seed: int | None) -> RunConfig:
    """The config at `path` with what the command line says set over it."""
    values = dict(parse_override(text) for text in overrides)
    if run_name is not None:
        values["run.name"] = run_name
    if seed is not None:
        values["run.seed"] = seed
    return load(path, values)


@contextlib.contextmanager
def client_of(where: Where, runs_dir: str, config: RunConfig, runs: int = 1) -> Iterator[Client]:
    """A client of the cluster that the options name, or of a new one, as `config` has it, for some runs."""
    if where.exists:
        cluster = where.connect()
    elif where.slurm:
        cluster = slurm(config, runs_dir)
    else:
        workers = _enough(where.workers or _local_workers(config, runs), config)
        cluster = local(workers, runs_dir, config.cluster.workers_per_device)
    with cluster as client:
        yield client


def _local_workers(config: RunConfig, runs: int) -> int:
    """As many as the config says; where it leaves that open, no more than there are members at once."""
    if config.cluster.workers != "auto":
        return config.cluster.workers
    from evodevo.service.machine import room_for_workers

    search = config.search
    at_once = search.population if config.inherits or search.population > 1 else search.generations
    most = runs * at_once * config.cluster.workers_per_member
    return min(room_for_workers(config.cluster.threads_per_member, config.cluster.workers_per_device), most)


def _enough(workers: int, config: RunConfig) -> int:
    """The workers of a local cluster; raises `UsageError` if they are fewer than each member needs."""
    needed = config.cluster.workers_per_member
    if workers < needed:
        raise UsageError(
            f"cluster.workers_per_member: is {needed}, and the local cluster would have {workers} "
            f"worker{'' if workers == 1 else 's'}; give --workers {needed} or more, or use a larger cluster"
        )
    return workers


def submit(client: Client, config: RunConfig) -> Run:
    """Begin a run; says so where that has to wait for a worker."""
    if client.workers == 0:
        console.print("waiting for a worker: none is connected yet")
    return client.submit(config)


def submit_new(client: Client, config: RunConfig) -> Run | None:
    """Begin a run; None where there is one of its name, also where somebody else began it just now."""
    if config.run.name in client.names():
        return None
    try:
        return submit(client, config)
    except UsageError:
        if config.run.name in client.names():
            return None
        raise


def refuse_another(run: Run, config: RunConfig) -> None:
    """Raise `UsageError` where the run was begun with another config than this one."""
    found = run.view.history.config
    begun = as_begun(config, run.view.history)
    if sections := begun.differs_from(found):
        wanted, there = config.search.generations, found.search.generations
        is_longer = wanted > there and not begun.with_generations(there).differs_from(found)
        longer = f" --generations {wanted}" if is_longer else ""
        raise UsageError(
            f"run {run.name!r} was started with a different config (different {', '.join(sections)}): "
            f"carry it on{'' if longer else ' as it is'} with `evodevo resume {run.name}{longer}`, "
            "or choose another name with --run-name"
        )


def carry_on(client: Client, name: str, no_progress: bool, generations: int | None = None) -> None:
    """Carry a run on from where its journal ends, unless it is done; one that is running is followed.

    With `generations` a finished run is extended to that many generations.
    """
    run = client.run(name)
    if generations is None:
        while after := client.after(run):  # whichever phase is open
            run = after
    name, state = run.name, run.status().state
    if generations is not None and state in ("running", "waiting"):
        raise UsageError(
            f"run {name!r} is running: `evodevo cancel {name}`, then resume it with --generations"
        )
    if state == "done" and generations is None and not next_of(run.view.history.config):
        console.print(f"run {name} is done already")
        write_missing_products(client.runs_dir / name)
    else:
        if state not in ("running", "waiting"):
            run.resume(generations)
        elif not client.outlives:
            refuse_live(client.runs_dir / name)  # a cluster of one's own has just begun, so it is another's
        run = follow(run, client, no_progress)
    show_end(run, client.runs_dir / name)


def write_missing_products(directory: Path) -> None:
    """Write what a run that is done should have, if its end was cut short before that."""
    if (directory / JOURNAL).exists() and not (directory / "summary.json").exists():
        from evodevo.report.products import write_products

        write_products(directory)


def follow(run: Run, client: Client, quiet: bool) -> Run:
    """Show a run until it is over, and the phases that follow it; return the last one.

    On Ctrl-C, say how to resume or follow it.
    """
    try:
        while True:
            display.show(heeding_interrupts(run.statuses()), client.dashboard, console, quiet)
            if (after := client.after(run)) is None:
                return run
            run = after
    except KeyboardInterrupt:
        where = f"{run.name} {client.options}".strip()
        if client.outlives:
            console.print(
                f"\nthe run goes on; `evodevo watch {where}` follows it, `evodevo cancel {where}` stops it",
                soft_wrap=True,
            )
        else:
            console.print(f"\ninterrupted; `evodevo resume {where}` carries the run on")
        raise


def show_end(run: Run, directory: Path | None) -> None:
    """The summary table; raises `RunFailed` where the run failed or stopped before its end."""
    history, status = run.view.history, run.view.status()
    rows = summary_lines(history)
    if directory is not None:
        products = {"schedule": "schedule.yaml", "history": "history.csv", "report": "report/index.html"}
        rows += [
            (name, str(directory / file)) for name, file in products.items() if (directory / file).exists()
        ]
    console.print(display.rows(run.name, rows))
    if status.state == "failed":
        raise RunFailed(f"run {run.name} failed: {status.message}")
    if status.state == "interrupted":
        raise RunFailed(f"run {run.name} stopped: {status.message or 'no scheduler carries it on'}")
    if status.state == "done" and (following := next_of(history.config)):
        missing = f"its next phase, {following['run']['name']}, has not begun"
        raise RunFailed(
            f"run {run.name} is done, and {missing}{f': {status.message}' if status.message else ''}"
        )
    if status.message and status.state == "done":
        complain(f"evodevo: {status.message}")


def open_in(run: str, runs_dir: str) -> Run:
    """A run by its name in the runs directory, or by its own path; without a scheduler."""
    return open_run(directory_of(run, runs_dir))
