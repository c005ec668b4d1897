"""What several commands share: options, connecting to a cluster, following a run to its end."""

import contextlib
import dataclasses
import functools
import os
import sys
import tempfile
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
from evodevo.service.succession import already_there, exists_already

console = HarmlessConsole()


@dataclasses.dataclass(frozen=True)
class Where:
    """The cluster that the options name, or a new local one if they name none."""

    scheduler: str | None = None
    scheduler_file: str | None = None
    slurm: bool = False
    workers: int | None = None

    @property
    def exists(self) -> bool:
        """Whether the cluster exists already, and so outlives this command."""
        return bool(self.scheduler or self.scheduler_file)

    @property
    def options(self) -> str:
        """The options that name the same existing cluster; empty for a local one."""
        if not self.exists:
            return ""
        by_file = f"--scheduler-file {self.scheduler_file}"
        return by_file if self.scheduler_file else f"--scheduler {self.scheduler}"

    def connect(self) -> contextlib.AbstractContextManager[Client]:
        """Connect to the existing cluster. Raises `UsageError`."""
        return connect(self.scheduler, self.scheduler_file)


def at_scheduler(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name an existing cluster; the command receives them as `where`."""

    @click.option(
        "--scheduler", metavar="ADDRESS", help="Address of an existing cluster, such as tcp://host:8786."
    )
    @click.option(
        "--scheduler-file",
        metavar="FILE",
        shell_complete=files,
        help="Scheduler file of an existing cluster.",
    )
    @functools.wraps(function)
    def command(*arguments: Any, scheduler: str | None, scheduler_file: str | None, **options: Any) -> Any:
        return function(*arguments, where=Where(scheduler, scheduler_file), **options)

    return command


def on_cluster(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a command that can also start a cluster."""

    @at_scheduler
    @click.option(
        "--slurm", is_flag=True, help="Run workers as Slurm jobs, as cluster.slurm of the config says."
    )
    @click.option(
        "--workers", metavar="N", type=click.IntRange(1), help="Number of workers of a local cluster."
    )
    @functools.wraps(function)
    def command(*arguments: Any, where: Where, slurm: bool, workers: int | None, **options: Any) -> Any:
        if slurm and (where.exists or workers):
            raise UsageError(
                "--slurm starts its own workers (at most cluster.slurm.max_workers); "
                "leave out --scheduler, --scheduler-file and --workers"
            )
        where = dataclasses.replace(where, slurm=slurm, workers=workers)
        return function(*arguments, where=where, **options)

    return command


config_argument = click.argument("config_path", metavar="CONFIG", shell_complete=files)
run_argument = click.argument("run", shell_complete=runs)
overrides_option = click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Set a config key, such as search.population=8.",
)
in_runs_dir = click.option(
    "--runs-dir",
    metavar="DIR",
    default=DEFAULT_RUNS_DIR,
    show_default=True,
    shell_complete=directories,
    help="Directory that holds the runs' directories.",
)
no_progress_option = click.option("--no-progress", is_flag=True, help="Print nothing until the end.")


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
    """Return the config at `path` with the values that the command line sets."""
    values = dict(parse_override(text) for text in overrides)
    if run_name is not None:
        values["run.name"] = run_name
    if seed is not None:
        values["run.seed"] = seed
    return load(path, values)


@contextlib.contextmanager
def client_of(
    where: Where, runs_dir: str, config: RunConfig, runs: int = 1, quiet: bool = True
) -> Iterator[Client]:
    """Connect to the cluster that the options name, or start one with room for `runs` runs of `config`.

    Unless `quiet`, say what is being started, as it may take a minute.
    """
    if where.exists:
        cluster = where.connect()
    elif where.slurm:
        cluster = slurm(config, runs_dir)
    else:
        workers = _enough(where.workers or _local_workers(config, runs), config)
        if not quiet:
            console.print(f"starting {workers} worker{'s' * (workers != 1)} and trying {config.run.name} ...")
        cluster = local(workers, runs_dir, config.cluster.workers_per_device)
    with cluster as client:
        yield client


@contextlib.contextmanager
def before_the_run(stack: contextlib.ExitStack, where: Where, directory: Path) -> Iterator[None]:
    """On Ctrl-C, close the client that `stack` holds, say what is left and exit with status 130.

    `directory` is that of the run, if the cluster is a local one.
    """
    try:
        yield
    except KeyboardInterrupt:
        stack.close()
        name, options = directory.name, where.options
        if where.exists:
            said = f"interrupted; if the run begins nevertheless, `evodevo cancel {name} {options}` stops it"
        elif (directory / JOURNAL).exists():
            said = f"interrupted; `evodevo resume {name}` resumes the run"
        else:
            said = "interrupted before the run began; nothing is left"
        console.print(said, soft_wrap=True)
        sys.exit(130)


def _local_workers(config: RunConfig, runs: int) -> int:
    """Return the config's number of workers; for `auto`, at most one per member that trains at a time."""
    if config.cluster.workers != "auto":
        return config.cluster.workers
    from evodevo.service.machine import room_for_workers

    search = config.search
    at_once = search.population if config.inherits or search.population > 1 else search.generations
    most = runs * at_once * config.cluster.workers_per_member
    return min(room_for_workers(config.cluster.threads_per_member, config.cluster.workers_per_device), most)


def _enough(workers: int, config: RunConfig) -> int:
    """Return `workers`, or raise `UsageError` if a member needs more."""
    needed = config.cluster.workers_per_member
    if workers < needed:
        raise UsageError(
            f"cluster.workers_per_member: is {needed}, and the local cluster would have {workers} "
            f"worker{'' if workers == 1 else 's'}; give --workers {needed} or more, or use a larger cluster"
        )
    return workers


def submit(client: Client, config: RunConfig) -> Run:
    """Submit a run, and say so if it has to wait for a worker."""
    if client.workers == 0:
        console.print("waiting for a worker to connect")
    return client.submit(config)


def submit_new(client: Client, config: RunConfig) -> Run | None:
    """Submit a run; return None if one of that name exists, even if it was submitted only just now."""
    if config.run.name in client.names():
        return None
    try:
        return submit(client, config)
    except UsageError:
        if config.run.name in client.names():
            return None
        raise


def refuse_existing(config: RunConfig, runs_dir: Path) -> None:
    """Raise `UsageError` if a run of that name, or a phase after it, exists, before a cluster is started."""
    if existing := already_there(config, runs_dir):
        raise exists_already(existing, runs_dir)


def refuse_unwritable(runs_dir: Path) -> None:
    """Raise `UsageError` if nothing can be created in the runs directory, or the directory itself."""
    there = next(path for path in (runs_dir, *runs_dir.absolute().parents) if path.exists())
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as why:
        raise UsageError(f"--runs-dir {runs_dir}: cannot be written: {why.strerror}") from None


def refuse_another(run: Run, config: RunConfig) -> None:
    """Raise `UsageError` if the run was started with a different config."""
    found = run.view.history.config
    asked = as_begun(config, run.view.history)
    if sections := asked.differs_from(found):
        wanted, there = config.search.generations, found.search.generations
        is_longer = wanted > there and not asked.with_generations(there).differs_from(found)
        longer = f" --generations {wanted}" if is_longer else ""
        raise UsageError(
            f"run {run.name!r} was started with a different config (different {', '.join(sections)}): "
            f"resume it{'' if longer else ' as it is'} with `evodevo resume {run.name}{longer}`, "
            "or choose another name with --run-name"
        )


def resume_or_follow(
    client: Client, name: str, no_progress: bool, generations: int | None = None, detach: bool = False
) -> None:
    """Resume a run from the end of its journal, or follow it if it is running; leave it if it is done.

    With `generations` the run is extended to that many generations; with `detach` it is not followed.
    """
    run = client.run(name)
    if generations is None:
        while after := client.after(run):  # to the last phase that has started
            run = after
    name, state = run.name, run.status().state
    if generations is not None and state in ("running", "waiting"):
        raise UsageError(
            f"run {name!r} is running: stop it with `evodevo cancel {name}`, then give --generations again"
        )
    if state == "done" and generations is None and not next_of(run.view.history.config):
        console.print(done_already(name))
        write_missing_products(client.runs_dir / name)
    else:
        if state not in ("running", "waiting"):
            run.resume(generations)
        elif not client.outlives:
            refuse_live(client.runs_dir / name)  # this cluster is new, so another one is at work on the run
        if detach:
            show_detached(run, client)
            return
        run = follow(run, client, no_progress)
    show_end(run, client.runs_dir / name)


def done_already(name: str) -> str:
    """Return the line about a run that cannot be resumed because it is done."""
    return f"run {name} is done already; extend it with `evodevo resume {name} --generations N`"


def refuse_detached(detach: bool, where: Where) -> None:
    """Raise `UsageError` if nothing outlives the command to carry out the run."""
    if detach and not where.exists:
        raise UsageError("--detach needs an existing cluster: give --scheduler or --scheduler-file")


def show_detached(run: Run, client: Client) -> None:
    """Say where a run that is not followed is, and how to follow it."""
    console.print(
        f"run {run.name} is in {client.runs_dir / run.name}; `evodevo watch {run.name} {client.options}` "
        f"follows it\ndashboard: {client.dashboard}",
        soft_wrap=True,
    )


def write_missing_products(directory: Path) -> None:
    """Write the products of a run that is done, if it was interrupted before they were written."""
    if (directory / JOURNAL).exists() and not (directory / "summary.json").exists():
        from evodevo.report.products import write_products

        write_products(directory)


def follow(run: Run, client: Client, quiet: bool) -> Run:
    """Show the progress of a run and of the phases after it; return the last one when it ends.

    On Ctrl-C, say how to follow or resume it.
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
                f"\nthe run continues; `evodevo watch {where}` follows it, `evodevo cancel {where}` stops it",
                soft_wrap=True,
            )
        else:
            console.print(f"\ninterrupted; `evodevo resume {where}` resumes the run")
        raise


def show_end(run: Run, directory: Path | None) -> None:
    """Print the summary table. Raises `RunFailed` if the run failed or stopped before its end."""
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
        raise RunFailed(f"run {run.name} stopped: {status.message or 'no scheduler is at work on it'}")
    if status.state == "done" and (following := next_of(history.config)):
        missing = f"its next phase, {following['run']['name']}, has not started"
        raise RunFailed(
            f"run {run.name} is done, but {missing}{f': {status.message}' if status.message else ''}"
        )
    if status.message and status.state == "done":
        complain(f"evodevo: {status.message}")


def open_in(run: str, runs_dir: str) -> Run:
    """Open a run by its name in the runs directory or by its path, without a scheduler."""
    return open_run(directory_of(run, runs_dir))
