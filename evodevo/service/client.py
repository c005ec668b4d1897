"""Submit and observe runs through the service of a scheduler, from Python and on the command line.

import evodevo

with evodevo.local(workers=2) as client:
    run = client.submit("configs/quickstart.yaml")
    run.wait()
    print(run.best)
"""

import contextlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from evodevo.config_phases import next_of, set_of
from evodevo.errors import UsageError
from evodevo.names import check_names
from evodevo.run.journal import JournalError
from evodevo.run.journal import parse as parse_journal
from evodevo.run.setup import JOURNAL
from evodevo.run.view import FileSource, Reading, Status
from evodevo.service import bare_main
from evodevo.service.given import Given, config_of, count_of, refuse_main
from evodevo.service.run_handle import Run
from evodevo.versions import own_versions

if TYPE_CHECKING:
    from distributed import Client as DaskClient


class Client:
    """A connection to the service of a scheduler. Use `connect`, `local`, `slurm` or `attach`.

    The connection lasts until `close`, the end of its `with` block, or the end of this process. `options`
    are the command-line options that reach the same cluster, or start one like it; `outlives` says whether
    the cluster outlives this process. `on_close` is called once, by `close`.
    """

    def __init__(
        self,
        dask_client: "DaskClient",
        options: str,
        outlives: bool,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self._dask = dask_client
        self._on_close = on_close
        self._closed = False
        self.options = options
        self.outlives = outlives
        about = self.ask("hello", versions=own_versions())
        self.runs_dir = Path(about["runs_dir"])
        self.workers: int = about["workers"]
        self.unused_workers: int = about["unused_workers"]
        self.unused_why: list[str] = about["unused_why"]
        if on_close is not None:
            _open.add(self)

    def close(self) -> None:
        """Disconnect, and stop the cluster if it was started for this client; its runs can be resumed."""
        if self._closed:
            return
        self._closed = True
        _open.discard(self)
        if self._on_close is not None:
            self._on_close()

    @property
    def closed(self) -> bool:
        """Whether the connection has ended; runs are then read from their files."""
        return self._closed or self._dask.scheduler is None or self._dask.status == "closed"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self.closed:
            return f"<Client, closed; runs in {self.runs_dir}>"
        return f"<Client of {self.address}: {self.workers} workers, runs in {self.runs_dir}>"

    @property
    def dask(self) -> "DaskClient":
        """The underlying `distributed.Client`."""
        return self._dask

    @property
    def dashboard(self) -> str:
        """The address of the live page on the Dask dashboard. Raises `UsageError` if the client is closed."""
        self._refuse_closed()
        return f"{str(self._dask.dashboard_link).removesuffix('status')}evodevo"

    @property
    def address(self) -> str:
        """The scheduler's address. Raises `UsageError` if the client is closed."""
        self._refuse_closed()
        return str(self._dask.scheduler_info()["address"])

    def check(self, config: Given, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Try the workload of a config on a worker, without writing anything. Raises `UsageError`."""
        checked = config_of(config, overrides)
        refuse_main(checked)
        facts: dict[str, Any] = self.ask("check", config=checked.to_json())
        return facts

    def submit(self, config: Given, overrides: Mapping[str, Any] | None = None) -> Run:
        """Start a run from a config, its plain data or the path of its YAML file.

        `overrides` replace keys of the config, as in `{"run.name": "second", "search.population": 8}`. Plain
        data may contain numpy's numbers, and a workload or strategy may be the class itself if it is
        importable. Waits until a worker has tried the workload. Raises `UsageError`, without having written
        anything.
        """
        checked = config_of(config, overrides)
        refuse_main(checked)
        self.ask("submit", config=checked.to_json())
        return self.run(checked.run.name)

    def names(self) -> list[str]:
        """Return the names of all runs in the scheduler's runs directory, oldest first."""
        names: list[str] = self.ask("runs")
        return names

    def runs(self) -> list[Run]:
        """Return all runs in the scheduler's runs directory, oldest first, including damaged ones."""
        return [self._handle_of(name) for name in self.names()]

    def run(self, name: str) -> Run:
        """Return a run by name; for a set of phases, the last one begun. Raises `UsageError` if not found."""
        try:
            return self._open(name)
        except UsageError:
            if phases := self.phases(name):
                return phases[-1]
            raise

    def phases(self, name: str) -> list[Run]:
        """Return the runs of the phases of `name` that have begun, in order; empty if it has no phases."""
        found: dict[int, Run] = {}
        for candidate in self.names():
            if candidate.startswith(f"{name}-"):
                with contextlib.suppress(JournalError):
                    run = self._open(candidate)
                    config = run.view.history.config
                    if set_of(config) == name and config.phase is not None:
                        found[config.phase] = run
        return [found[phase] for phase in sorted(found)]

    def after(self, run: Run) -> Run | None:
        """Return the phase that follows a run; None if it has not begun."""
        following = next_of(run.view.history.config)
        there = following is not None and following["run"]["name"] in self.names()
        return self._open(following["run"]["name"]) if following and there else None

    def _open(self, name: str) -> Run:
        """Read the journal of a run, and return the run. Raises `UsageError` if no run has that name."""
        run = self._handle_of(name)
        run.status()
        return run

    def _handle_of(self, name: str) -> Run:
        """Return the handle of a run without reading anything."""
        return Run(name, _ServiceSource(self, name), self.runs_dir / name, self)

    def ask(self, operation: str, **arguments: Any) -> Any:
        """Send a request to the service and return its answer. Raises the service's `UsageError`."""
        self._refuse_closed()
        try:
            request = getattr(self._dask.scheduler, f"evodevo_{operation}")
            answer = self._dask.sync(request, arguments=json.dumps(arguments))
        except OSError as why:
            raise UsageError(f"the scheduler no longer answers: {why}") from None
        if answer is None:  # Dask's answer to an unknown request
            without = f"the scheduler at {self.address} runs without evodevo: install the service with"
            instead = "or start it with `dask scheduler --preload evodevo.service`"
            raise UsageError(
                f'{without} `evodevo.attach(distributed.Client("{self.address}"))`, {instead}',
                f"{without} `evodevo attach {self.options}`, {instead}",
            )
        told = json.loads(answer)
        if "error" in told:
            raise UsageError(told["error"], told["shell"])
        return told["result"]

    def _refuse_closed(self) -> None:
        if self.closed:
            raise UsageError(
                "this client is closed, or its scheduler has ended; create another with evodevo.local() or "
                "evodevo.connect()"
            )


class _ServiceSource:
    """A run's records, read from its scheduler, or from its files once the client is closed."""

    def __init__(self, client: Client, run: str) -> None:
        self._client = client
        self._run = run
        self._files: _RemainingFiles | None = None

    def read(self, since: int) -> Reading:
        if self._files is None and self._client.closed:
            self._files = _RemainingFiles(self._client.runs_dir / self._run, since)
        if self._files is not None:
            return self._files.read(since)
        answer = self._client.ask("read", run=self._run, since=since)
        records, _ = parse_journal(answer.pop("journal").encode(), f"the journal of {self._run}", since)
        return Reading(records, **answer)


class _RemainingFiles:
    """A source that reads a run's files but skips the first records, which its reader already has."""

    def __init__(self, directory: Path, known: int) -> None:
        if not (directory / JOURNAL).exists():
            raise UsageError(
                f"the client of run {directory.name!r} is closed, and {directory} is not on this machine: "
                "connect to its scheduler again, and get the run with client.run(name)"
            )
        self._source = FileSource(directory)
        self._left = known

    def read(self, since: int) -> Reading:
        reading = self._source.read(1)
        while 0 < len(reading.records) <= self._left:
            self._left -= len(reading.records)
            reading = self._source.read(1)
        if self._left and reading.records:
            new, self._left = reading.records[self._left :], 0
            reading = self._source.read(1)  # the reader takes less than a full reading for the last one
            reading = replace(reading, records=[*new, *reading.records])
        return reading


def connect(address: str | None = None, scheduler_file: Path | str | None = None) -> Client:
    """Return a client of a running scheduler, as in `evodevo.connect("tcp://host:8786")`.

    Raises `UsageError` if no scheduler answers, it does not run the service, or its versions differ.
    """
    if address is not None and not isinstance(address, str):
        raise UsageError(f'the address is {address!r}; give a string, as in connect("tcp://host:8786")')
    if not address and not scheduler_file:
        raise UsageError(
            'connect() needs the address of a scheduler, as in connect("tcp://host:8786"), or '
            'connect(scheduler_file="scheduler.json"); evodevo.local() starts a cluster on this machine'
        )
    from evodevo.service import cluster

    reached_by = f"--scheduler-file {scheduler_file}" if scheduler_file else f"--scheduler {address}"
    return _client(cluster.existing(address, scheduler_file), reached_by, outlives=True)


def local(
    workers: int | None = None, runs_dir: Path | str = "checkpoints", workers_per_device: int = 1
) -> Client:
    """Start a cluster on this machine and return its client; closing the client stops the cluster.

    The default number of workers is `workers_per_device` per GPU, or one per core if there is no GPU. They
    may still be starting when this returns; requests wait for the first one. Raises `UsageError` for a
    count below one, and if one of the user's modules shadows a package of evodevo's.
    """
    workers_per_device = count_of("workers_per_device", workers_per_device)
    if workers is not None:
        workers = count_of("workers", workers, ", or omit it for as many as have room")
    check_names()
    bare_main.refuse_unguarded_main()
    from evodevo.service import cluster, machine

    wanted = workers or machine.room_for_workers(per_device=workers_per_device)
    client = _client(cluster.local(wanted, runs_dir, workers_per_device), "", outlives=False)
    client.workers = wanted  # those that are still starting count
    return client


def slurm(config: Given, runs_dir: Path | str = "checkpoints") -> Client:
    """Start a scheduler in this process, with Slurm jobs as workers (`cluster.slurm`); return its client.

    Raises `UsageError` if Slurm is not available or refuses the jobs.
    """
    check_names()
    from evodevo.service import slurm as slurm_jobs

    return _client(slurm_jobs.slurm(config_of(config), runs_dir), "--slurm", outlives=False)


def _client(held: "contextlib.AbstractContextManager[DaskClient]", options: str, outlives: bool) -> Client:
    """Return a client that keeps a context manager open until it is closed."""
    with contextlib.ExitStack() as stack:
        client = Client(stack.enter_context(held), options, outlives, lambda: kept.close())
        kept = stack.pop_all()
    return client


_open: set[Client] = set()


def _close_all() -> None:
    """Close all clients when this process ends, before its thread pools stop accepting work.

    Journals are written on such threads. `atexit` would be too late: `concurrent.futures` shuts executors
    down in the same kind of threading hook, which runs before it.
    """
    for client in list(_open):
        client.close()


threading._register_atexit(_close_all)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_open.clear)  # a forked child inherits the hook


def statuses_of(
    names: list[str], open_one: Callable[[str], Run], at_once: int = 1
) -> tuple[list[Status], dict[str, str]]:
    """Return the status of each readable run, and an error for each other; `at_once` are read in parallel."""

    def look(name: str) -> Status | str:
        try:
            return open_one(name).status()
        except (UsageError, JournalError, OSError) as why:
            return str(why)

    with ThreadPoolExecutor(at_once) as threads:
        found = dict(zip(names, threads.map(look, names), strict=True))
    statuses = [one for one in found.values() if isinstance(one, Status)]
    return statuses, {name: one for name, one in found.items() if isinstance(one, str)}
