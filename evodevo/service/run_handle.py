"""A run as a Python object, followed through a scheduler or read from its files."""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from evodevo.config_phases import next_of
from evodevo.errors import RunFailed, UsageError
from evodevo.report.inline import Pictures, Rows, pictures_of, settings_html, status_html
from evodevo.report.products import write_products
from evodevo.report.schedule import Schedule
from evodevo.report.tables import history_rows
from evodevo.run.extension import extension_of
from evodevo.run.history import load_history
from evodevo.run.journal import JournalError
from evodevo.run.setup import JOURNAL
from evodevo.run.view import FileSource, Source, Status, View, directory_of, refuse_live
from evodevo.service import progress as shown
from evodevo.service.given import count_of
from evodevo.service.succession import is_done

if TYPE_CHECKING:
    from evodevo.service.client import Client

POLL_S = 0.25
LONGEST_POLL_S = 2.0
TAKES_OVER_S = 10.0
"""Longest wait of `resume` for the journal to record that a controller has taken over."""


def look_interval_s(watched_s: float) -> float:
    """Return the seconds until the next look at a run that has been watched for `watched_s`.

    Each look costs the scheduler some milliseconds, which on a machine with few cores the trainings lack.
    """
    return min(max(POLL_S, watched_s / 40), LONGEST_POLL_S)


@dataclass(frozen=True)
class Best:
    """The best member of a run. `hyperparameters` are those of its last epoch only; see `schedule`."""

    member: str
    fom: float
    metrics: Mapping[str, float]
    hyperparameters: Mapping[str, Any]
    schedule: Schedule

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.hyperparameters.items())
        return f"<Best {self.member}: {self.schedule.metric} {self.fom:.6g}; {settings}>"

    def _repr_html_(self) -> str:
        pairs = [("best member", self.member), (self.schedule.metric, f"{self.fom:.6g}")]
        others = [(name, f"{one:.6g}") for name, one in self.metrics.items() if name != self.schedule.metric]
        return settings_html([*pairs, *others, ("epochs", str(self.schedule.epochs))], self.hyperparameters)


class Run:
    """A run, live or over, as returned by `Client.submit`, `Client.run` and `open_run`."""

    def __init__(self, name: str, source: Source, directory: Path, client: "Client | None" = None) -> None:
        self.name = name
        self.directory = directory
        """Directory of the run's files, as seen by the scheduler if the run is followed through one."""
        self.view = View(name, source)
        self._client = client
        self._own: Client | None = None
        """Client of a cluster that was started to resume this run."""

    def status(self) -> Status:
        """Return the current status."""
        return self.view.refresh()

    def statuses(self, timeout_s: float | None = None) -> Iterator[Status]:
        """Yield the status at each look until the run is over, or `timeout_s` has passed."""
        began = time.monotonic()
        end = math.inf if timeout_s is None else began + timeout_s
        while True:
            status = self.status()
            yield status
            now = time.monotonic()
            if self.view.over or now >= end:
                return
            time.sleep(min(look_interval_s(now - began), end - now))

    def follow(self) -> Iterator[Status]:
        """Yield the status whenever it has changed, apart from times, until the run is over."""
        before = None
        for status in self.statuses():
            if before != (before := replace(status, elapsed_s=0.0, remaining_s=None)):
                yield status

    def wait(self, progress: bool | None = None, timeout_s: float | None = None) -> Status:
        """Wait until the run is done or cancelled, and return its status.

        `progress`: whether to show progress; None means in notebooks and on terminals only. `timeout_s`
        limits the wait, not the run; an interrupt (Ctrl-C) does not stop the run either. Raises `RunFailed`,
        with the reason, if the run failed or was interrupted.
        """
        client = self._live_client()
        last = shown.show(self.statuses(timeout_s), client.dashboard if client else None, progress)
        if self._own is not None and self.view.over:
            self._own.close()
        if last.state == "failed":
            raise RunFailed(last.message)
        if last.state == "interrupted":
            why = last.message or "no scheduler carries it out"
            raise RunFailed(f"run {self.name!r} was interrupted: {why}; resume it with `run.resume()`")
        return last

    def history(self) -> Rows:
        """Return one dict per member, as in history.csv; `.frame()` converts them to a pandas frame."""
        self.status()
        return Rows(history_rows(self.view.history))

    @property
    def best(self) -> Best | None:
        """The best member so far, or None before the first one is done."""
        self.status()
        history = self.view.history
        life = history.best
        if life is None or life.outcome is None or life.fom is None:
            return None
        return Best(
            life.id,
            life.fom,
            dict(life.outcome.metrics),
            history.config.space().express(life.birth.genome),
            Schedule.of(history, life),
        )

    def plot(self) -> Pictures:
        """Return the current plots of the report as PNG, by name; a notebook shows them."""
        self.status()
        return pictures_of(self.view.history)

    def report(self) -> list[Path]:
        """Write tables, schedule, best model, plots and page to the run's directory; return their paths.

        A run that has ended has them already. Raises `UsageError` if its directory is on another machine.
        """
        if not (self.directory / JOURNAL).exists():
            raise UsageError(
                f"{self.directory} is not on this machine, so that a report cannot be written to it"
            )
        return write_products(self.directory)

    def cancel(self) -> Self:
        """Stop the run, keeping its files, and return it. Raises `UsageError` if it is not running."""
        if client := self._live_client():
            client.ask("cancel", run=self.name)
            return self
        from evodevo.service.client import connect

        state = self.status().state
        if self.view.over:
            raise UsageError(f"run {self.name!r} is not running: it is {state}")
        with connect(str(self.view.history.controller["scheduler"])) as client:
            client.ask("cancel", run=self.name)
        return self

    def resume(self, generations: int | None = None) -> Self:
        """Resume the run from the end of its journal, or extend a run that is done; return it.

        A run that was opened from its files, or whose client is closed, gets a local cluster as its config
        describes, which ends after `wait` or with this process. `generations` is the new total. Raises
        `UsageError` if the run is running, or is done and `generations` does not extend it.
        """
        if generations is not None:
            generations = count_of("generations", generations)
        client = self._live_client()
        if client is None:
            self._refuse_resume(generations)
            client = self._start()
        self.status()
        before, end = self.view.seen, time.monotonic() + TAKES_OVER_S
        client.ask("resume", run=self.name, generations=generations)
        while self.view.seen == before and time.monotonic() < end:  # until a controller takes over
            time.sleep(0.02)
            self.status()
        return self

    def repair(self, accept: bool = False) -> dict[str, Any]:
        """Recreate the damaged checkpoints of a run that is not running, and wait until that is done.

        Returns `problems` (a line for each checkpoint that could not be recreated), `account` (what was done)
        and `seconds`. With `accept`, recreated checkpoints may have other bytes. Raises `UsageError`.
        """
        client = self._live_client()
        if client is None:
            refuse_live(self.directory)
            client = self._start()
        done: dict[str, Any] = client.ask("repair", run=self.name, accept=accept)
        return done

    def _live_client(self) -> "Client | None":
        return None if self._client is None or self._client.closed else self._client

    def _refuse_resume(self, generations: int | None) -> None:
        """Raise `UsageError` if there is nothing to resume, before a cluster is started for it."""
        refuse_live(self.directory)
        self.status()
        history = self.view.history
        if generations is not None:
            extension_of(self.directory, load_history(self.directory / JOURNAL), generations)
        elif history.end == "done" and next_of(history.config) is None:
            raise is_done(self.name)

    def _start(self) -> "Client":
        from evodevo.service.client import local

        cluster = self.view.history.config.cluster
        workers = None if cluster.workers == "auto" else cluster.workers
        self._own = self._client = local(
            workers, self.directory.absolute().parent, cluster.workers_per_device
        )
        self.view = self._client.run(self.name).view
        return self._client

    def __repr__(self) -> str:
        try:
            return f"<Run {self.status()}>"
        except (UsageError, JournalError, OSError) as why:
            return f"<Run {self.name}: {why}>"

    def _repr_html_(self) -> str:
        return status_html(self.status())


def open_run(run: Path | str, runs_dir: Path | str = "checkpoints") -> Run:
    """Open a run by its directory, or by its name in `runs_dir`, without a scheduler.

    Raises `UsageError`, listing the existing runs, if it is not found.
    """
    directory = directory_of(str(run), str(runs_dir))
    found = Run(directory.name, FileSource(directory), directory)
    found.status()
    return found
