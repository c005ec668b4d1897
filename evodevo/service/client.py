"""The service from outside, for Python and for the command line.

import evodevo

with evodevo.local(workers=2) as client:
    run = client.submit("configs/quickstart.yaml")
    run.wait()
    print(run.best)
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evodevo.config import RunConfig, parse
from evodevo.config_file import load
from evodevo.config_phases import next_of, set_of
from evodevo.errors import RunFailed, UsageError
from evodevo.names import check_names
from evodevo.report.schedule import Schedule
from evodevo.report.tables import history_rows
from evodevo.run.journal import JournalError
from evodevo.run.journal import parse as parse_journal
from evodevo.run.view import FileSource, Reading, Source, Status, View
from evodevo.versions import own_versions

if TYPE_CHECKING:
    from distributed import Client as DaskClient

POLL_S = 0.25


@dataclass(frozen=True)
class Best:
    """The best member of a run. `hyperparameters` are those of its last epoch only; see `schedule`."""

    member: str
    fom: float
    metrics: Mapping[str, float]
    hyperparameters: Mapping[str, Any]
    schedule: Schedule


class Run:
    """A run, live or over. Made by `Client.submit`, `Client.run` or `open_run`."""

    def __init__(self, name: str, source: Source, directory: Path, client: "Client | None" = None) -> None:
        self.name = name
        self.directory = directory
        """Of its files; where the scheduler sees it if the run is followed through one."""
        self.view = View(name, source)
        self._client = client

    def status(self) -> Status:
        """Where the run stands now."""
        return self.view.refresh()

    def follow(self) -> Iterator[Status]:
        """The status again and again, until the run is over; the last one is final."""
        while True:
            status = self.status()
            yield status
            if self.view.over:
                return
            time.sleep(POLL_S)

    def wait(self) -> Status:
        """Wait until the run is over. Raises `RunFailed` where it failed, with the reason."""
        *_, last = self.follow()
        if last.state == "failed":
            raise RunFailed(last.message)
        return last

    def history(self) -> Any:
        """A row a member, as in history.csv: a pandas frame where pandas is installed, or a list of dicts."""
        self.status()
        rows = history_rows(self.view.history)
        try:
            import pandas as pd
        except ImportError:
            return rows
        return pd.DataFrame(rows)

    @property
    def best(self) -> Best | None:
        """The best member so far; None before there is one."""
        self.status()
        history = self.view.history
        life = history.best
        if life is None or life.outcome is None or life.fom is None:
            return None
        return Best(
            life.id,
            life.fom,
            life.outcome.metrics,
            history.config.space().express(life.birth.genome),
            Schedule.of(history, life),
        )

    def cancel(self) -> None:
        """Stop the run, keeping everything. Raises `UsageError` where it is not running."""
        self._ask("cancel")

    def resume(self, generations: int | None = None) -> None:
        """Carry the run on from where its journal ends; a run that is done, to more generations.

        Raises `UsageError` if it is running, or done and `generations` is not more than it has.
        """
        self._ask("resume", generations=generations)

    def repair(self, accept: bool = False) -> dict[str, Any]:
        """Make the damaged checkpoints of a run again that is not running; wait until that is done.

        Returns `problems` (a line for each that could not be), `account` (what was done) and `seconds`. With
        `accept`, checkpoints that get other bytes are accepted. Raises `UsageError`.
        """
        done: dict[str, Any] = self._ask("repair", accept=accept)
        return done

    def _ask(self, operation: str, **arguments: Any) -> Any:
        if self._client is None:
            raise UsageError(
                f"run {self.name!r} was opened from its files; connect to its scheduler for that"
            )
        return self._client.ask(operation, run=self.name, **arguments)


class Client:
    """A connection to the service of a scheduler. Use `connect`, `local` or `slurm`.

    `options` are what the command line needs for the same cluster, or another one like it; `outlives`: it
    does not end with this process.
    """

    def __init__(self, dask_client: "DaskClient", options: str, outlives: bool) -> None:
        self._dask = dask_client
        self.options = options
        self.outlives = outlives
        about = self.ask("hello", versions=own_versions())
        self.runs_dir = Path(about["runs_dir"])
        self.workers: int = about["workers"]
        self.unused_workers: int = about["unused_workers"]
        self.unused_why: list[str] = about["unused_why"]

    @property
    def dask(self) -> "DaskClient":
        """The `distributed.Client` by which it is connected."""
        return self._dask

    @property
    def dashboard(self) -> str:
        """The address of the live page on the Dask dashboard."""
        return f"{str(self._dask.dashboard_link).removesuffix('status')}evodevo"

    @property
    def address(self) -> str:
        """The scheduler's address."""
        return str(self._dask.scheduler_info()["address"])

    def check(self, config: RunConfig | Mapping[str, Any] | Path | str) -> dict[str, Any]:
        """Try the workload of a config on a worker; nothing is written. Raises `UsageError`."""
        facts: dict[str, Any] = self.ask("check", config=_config(config).to_json())
        return facts

    def submit(self, config: RunConfig | Mapping[str, Any] | Path | str) -> Run:
        """Begin a run, from a config, its plain data or the path of its YAML.

        Waits until a worker has tried the workload. Raises `UsageError`, and then nothing was written.
        """
        checked = _config(config)
        self.ask("submit", config=checked.to_json())
        return self.run(checked.run.name)

    def names(self) -> list[str]:
        """The names of all runs in the scheduler's runs directory, oldest first."""
        names: list[str] = self.ask("runs")
        return names

    def runs(self) -> list[Run]:
        """All runs in the scheduler's runs directory, oldest first."""
        return [self.run(name) for name in self.names()]

    def run(self, name: str) -> Run:
        """One run by its name, or the last phase begun of a set of them. Raises `UsageError` if none is."""
        try:
            return self._open(name)
        except UsageError:
            if phases := self.phases(name):
                return phases[-1]
            raise

    def phases(self, name: str) -> list[Run]:
        """The runs that are the phases of `name` and have begun, in order; none if that is no such set."""
        runs = [self._open(one) for one in self.names() if one.startswith(f"{name}-")]
        found = {
            run.view.history.config.phase: run for run in runs if set_of(run.view.history.config) == name
        }
        return [found[phase] for phase in sorted(at for at in found if at is not None)]

    def after(self, run: Run) -> Run | None:
        """The phase that follows a run; None if none has begun."""
        following = next_of(run.view.history.config)
        there = following is not None and following["run"]["name"] in self.names()
        return self._open(following["run"]["name"]) if following and there else None

    def _open(self, name: str) -> Run:
        run = Run(name, _ServiceSource(self, name), self.runs_dir / name, self)
        run.status()
        return run

    def ask(self, operation: str, **arguments: Any) -> Any:
        """Ask the service. Raises the `UsageError` that it answers with."""
        try:
            request = getattr(self._dask.scheduler, f"evodevo_{operation}")
            answer = self._dask.sync(request, arguments=json.dumps(arguments))
        except OSError as why:
            raise UsageError(f"the scheduler does not answer any more: {why}") from None
        if answer is None:
            raise UsageError(
                f"the scheduler at {self.address} runs without evodevo; "
                f"put it in with `evodevo attach {self.options}`, "
                "or start it with `dask scheduler --preload evodevo.service`"
            )
        told = json.loads(answer)
        if "error" in told:
            raise UsageError(told["error"])
        return told["result"]


class _ServiceSource:
    def __init__(self, client: Client, run: str) -> None:
        self._client = client
        self._run = run

    def read(self, since: int) -> Reading:
        answer = self._client.ask("read", run=self._run, since=since)
        records, _ = parse_journal(answer.pop("journal").encode(), f"the journal of {self._run}", since)
        return Reading(records, **answer)


@contextlib.contextmanager
def connect(address: str | None = None, scheduler_file: Path | str | None = None) -> Iterator[Client]:
    """A client of a running scheduler: `with evodevo.connect("tcp://host:8786") as client: ...`.

    Raises `UsageError` where none answers, it has no service, or its versions differ.
    """
    from evodevo.service import cluster

    with cluster.existing(address, scheduler_file) as dask_client:
        reached_by = f"--scheduler-file {scheduler_file}" if scheduler_file else f"--scheduler {address}"
        yield Client(dask_client, reached_by, outlives=True)


@contextlib.contextmanager
def local(
    workers: int | None = None, runs_dir: Path | str = "checkpoints", workers_per_device: int = 1
) -> Iterator[Client]:
    """A client of a cluster of its own, on this machine: `with evodevo.local(workers=2) as client: ...`.

    By default there are `workers_per_device` for each GPU, or where there is none one for each core. They are
    still starting when this returns; what is asked of them waits for the first one. Raises `UsageError` for
    less than one, and if a module of the user's has the name of a package of ours.
    """
    if workers_per_device < 1:
        raise UsageError(f"workers_per_device is {workers_per_device}; give 1 or more")
    if workers is not None and workers < 1:
        raise UsageError(f"workers is {workers}; give 1 or more, or leave it out for as many as have room")
    check_names()
    from evodevo.service import cluster, machine

    wanted = workers or machine.room_for_workers(per_device=workers_per_device)
    with cluster.local(wanted, runs_dir, workers_per_device) as dask_client:
        client = Client(dask_client, "", outlives=False)
        client.workers = wanted  # those that are still starting count
        yield client


@contextlib.contextmanager
def slurm(config: RunConfig, runs_dir: Path | str = "checkpoints") -> Iterator[Client]:
    """A client of a scheduler in this process, whose workers are Slurm jobs as in `config.cluster.slurm`.

    Raises `UsageError` where there is no Slurm, or it refuses such jobs.
    """
    check_names()
    from evodevo.service import slurm as slurm_jobs

    with slurm_jobs.slurm(config, runs_dir) as dask_client:
        yield Client(dask_client, "--slurm", outlives=False)


def open_run(directory: Path | str) -> Run:
    """A run from its directory alone, without a scheduler. Raises `UsageError` where there is none."""
    run = Run(Path(directory).name, FileSource(Path(directory)), Path(directory))
    run.status()
    return run


def statuses_of(
    names: list[str], open_one: Callable[[str], Run], at_once: int = 1
) -> tuple[list[Status], dict[str, str]]:
    """The status of each run that can be read, and why each of the others can't; some looked at at once."""

    def look(name: str) -> Status | str:
        try:
            return open_one(name).status()
        except (UsageError, JournalError, OSError) as why:
            return str(why)

    with ThreadPoolExecutor(at_once) as threads:
        found = dict(zip(names, threads.map(look, names), strict=True))
    statuses = [one for one in found.values() if isinstance(one, Status)]
    return statuses, {name: one for name, one in found.items() if isinstance(one, str)}


def _config(config: RunConfig | Mapping[str, Any] | Path | str) -> RunConfig:
    if isinstance(config, RunConfig):
        return config
    return parse(config) if isinstance(config, Mapping) else load(config)
