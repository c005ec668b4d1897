"""The service from outside, for Python and for the command line.

import evodevo

client = evodevo.local(workers=2)
run = client.submit("configs/quickstart.yaml")
run.wait()
print(run.best)
client.close()  # or `with evodevo.local(workers=2) as client: ...`
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

    It lasts until `close`, the end of its `with` block, or that of this process. `options` are what the
    command line needs for the same cluster, or another one like it; `outlives`: it does not end with this
    process. `ends` is called when it is closed.
    """

    def __init__(
        self, dask_client: "DaskClient", options: str, outlives: bool, ends: Callable[[], None] | None = None
    ) -> None:
        self._dask = dask_client
        self._ends = ends
        self._closed = False
        self.options = options
        self.outlives = outlives
        about = self.ask("hello", versions=own_versions())
        self.runs_dir = Path(about["runs_dir"])
        self.workers: int = about["workers"]
        self.unused_workers: int = about["unused_workers"]
        self.unused_why: list[str] = about["unused_why"]
        if ends is not None:
            _open.add(self)

    def close(self) -> None:
        """Disconnect, and end the cluster if it was started for this client; its runs can be resumed."""
        if self._closed:
            return
        self._closed = True
        _open.discard(self)
        if self._ends is not None:
            self._ends()

    @property
    def closed(self) -> bool:
        """Whether it can be asked nothing any more; what runs have found is then read from their files."""
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
        """The `distributed.Client` by which it is connected."""
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
        """Try the workload of a config on a worker; nothing is written. Raises `UsageError`."""
        checked = config_of(config, overrides)
        refuse_main(checked)
        facts: dict[str, Any] = self.ask("check", config=checked.to_json())
        return facts

    def submit(self, config: Given, overrides: Mapping[str, Any] | None = None) -> Run:
        """Begin a run, from a config, its plain data or the path of its YAML.

        `overrides` are set over it, as `{"run.name": "second", "search.population": 8}`. In plain data
        numbers may be numpy's, and a workload or strategy may be the class itself if it is in a module.
        Waits until a worker has tried the workload. Raises `UsageError`, and then nothing was written.
        """
        checked = config_of(config, overrides)
        refuse_main(checked)
        self.ask("submit", config=checked.to_json())
        return self.run(checked.run.name)

    def names(self) -> list[str]:
        """The names of all runs in the scheduler's runs directory, oldest first."""
        names: list[str] = self.ask("runs")
        return names

    def runs(self) -> list[Run]:
        """All runs in the scheduler's runs directory, oldest first, also those whose journal is damaged."""
        return [self._unread(name) for name in self.names()]

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
        runs = []
        for one in self.names():
            if one.startswith(f"{name}-"):
                with contextlib.suppress(JournalError):
                    runs.append(self._open(one))
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
        run = self._unread(name)
        run.status()
        return run

    def _unread(self, name: str) -> Run:
        return Run(name, _ServiceSource(self, name), self.runs_dir / name, self)

    def ask(self, operation: str, **arguments: Any) -> Any:
        """Ask the service. Raises the `UsageError` that it answers with."""
        self._refuse_closed()
        try:
            request = getattr(self._dask.scheduler, f"evodevo_{operation}")
            answer = self._dask.sync(request, arguments=json.dumps(arguments))
        except OSError as why:
            raise UsageError(f"the scheduler does not answer any more: {why}") from None
        if answer is None:
            without = f"the scheduler at {self.address} runs without evodevo; put it in with"
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
                "this client is closed, or its scheduler ended: evodevo.local() or connect() gives another"
            )


class _ServiceSource:
    """A run's records as its scheduler tells them; as its files do when the client is closed."""

    def __init__(self, client: Client, run: str) -> None:
        self._client = client
        self._run = run
        self._files: _Rest | None = None

    def read(self, since: int) -> Reading:
        if self._files is None and self._client.closed:
            self._files = _Rest(self._client.runs_dir / self._run, since)
        if self._files is not None:
            return self._files.read(since)
        answer = self._client.ask("read", run=self._run, since=since)
        records, _ = parse_journal(answer.pop("journal").encode(), f"the journal of {self._run}", since)
        return Reading(records, **answer)


class _Rest:
    """A run's files, whose first records are known already."""

    def __init__(self, directory: Path, known: int) -> None:
        if not (directory / JOURNAL).exists():
            raise UsageError(
                f"the client of run {directory.name!r} is closed, and {directory} is not on this machine: "
                "connect to its scheduler again, and take the run from client.run(name)"
            )
        self._source = FileSource(directory)
        self._left = known

    def read(self, since: int) -> Reading:
        while True:
            reading = self._source.read(1)
            known, self._left = self._left, max(0, self._left - len(reading.records))
            if not self._left:
                return replace(reading, records=reading.records[known:])
            if not reading.records:
                return reading


def connect(address: str | None = None, scheduler_file: Path | str | None = None) -> Client:
    """A client of a running scheduler, such as `evodevo.connect("tcp://host:8786")`.

    Raises `UsageError` where none answers, it has no service, or its versions differ.
    """
    if address is not None and not isinstance(address, str):
        raise UsageError(f'the address is {address!r}; give text, as in connect("tcp://host:8786")')
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
    """A client of a cluster of its own, on this machine, which ends when the client is closed.

    By default there are `workers_per_device` for each GPU, or where there is none one for each core. They are
    still starting when this returns; what is asked of them waits for the first one. Raises `UsageError` for
    less than one, and if a module of the user's has the name of a package of ours.
    """
    workers_per_device = count_of("workers_per_device", workers_per_device)
    if workers is not None:
        workers = count_of("workers", workers, ", or leave it out for as many as have room")
    check_names()
    bare_main.refuse_unguarded_main()
    from evodevo.service import cluster, machine

    wanted = workers or machine.room_for_workers(per_device=workers_per_device)
    client = _client(cluster.local(wanted, runs_dir, workers_per_device), "", outlives=False)
    client.workers = wanted  # those that are still starting count
    return client


def slurm(config: Given, runs_dir: Path | str = "checkpoints") -> Client:
    """A client of a scheduler in this process, whose workers are Slurm jobs as in `cluster.slurm`.

    Raises `UsageError` where there is no Slurm, or it refuses such jobs.
    """
    check_names()
    from evodevo.service import slurm as slurm_jobs

    return _client(slurm_jobs.slurm(config_of(config), runs_dir), "--slurm", outlives=False)


def _client(held: "contextlib.AbstractContextManager[DaskClient]", options: str, outlives: bool) -> Client:
    """A client that holds a cluster, or the connection to one, until it is closed."""
    with contextlib.ExitStack() as stack:
        client = Client(stack.enter_context(held), options, outlives, lambda: kept.close())
        kept = stack.pop_all()
    return client


_open: set[Client] = set()


def _close_all() -> None:
    """Close all clients when this process ends, while the threads that write journals still take work.

    `atexit` would be too late: executors are shut down by then, by an older hook of the same kind.
    """
    for client in list(_open):
        client.close()


threading._register_atexit(_close_all)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_open.clear)  # a process that was forked has these hooks, too


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
