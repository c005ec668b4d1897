"""Start whole clusters in separate processes by the commands of the README."""

import contextlib
import csv
import io
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from evodevo import cli
from evodevo.run.history import History
from evodevo.run.journal import Tail

HERE = Path(__file__).parent
TIMED_COLUMNS = ("attempt", "worker", "load_s", "train_s", "eval_s", "save_s", "wait_s")
PATIENCE_S = 180
IN_THIS_PROCESS = (
    "attach", "cancel", "compare", "launch", "prune", "replay", "report", "resume", "status", "train-best",
    "verify", "watch",
)  # fmt: skip
"""Commands that train in workers only, so that they leave nothing behind in the process that runs them."""


def until(condition: Callable[[], Any], what: str, within_s: float = PATIENCE_S) -> Any:
    """Wait until the condition is true, and return its value."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {within_s} s in vain for {what}")


class Processes:
    """The processes of a test; their output goes to files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._started: list[subprocess.Popen[bytes]] = []

    def start(
        self, *arguments: str, log: str, namespace: str | None = None, **environment: str
    ) -> subprocess.Popen[bytes]:
        """Start Python with these arguments, in a network namespace if one is given."""
        inside = ["ip", "netns", "exec", namespace] if namespace else []
        with open(self.directory / f"{log}.log", "ab") as output:
            process = subprocess.Popen(
                [*inside, sys.executable, *arguments],
                cwd=HERE,
                env={**os.environ, "DASK_DISTRIBUTED__WORKER__DAEMON": "False", **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def log(self, name: str) -> str:
        """Return the output of the processes that were started with this log."""
        return (self.directory / f"{name}.log").read_text()

    def end(self) -> None:
        """Kill the remaining processes and all their descendants."""
        families = []
        for process in self._started:
            with contextlib.suppress(psutil.NoSuchProcess):
                families += psutil.Process(process.pid).children(recursive=True)
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for member in families:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()


class Cluster:
    """A scheduler with the service, and workers, each started by its command."""

    def __init__(self, processes: Processes, runs_dir: Path, port: int) -> None:
        self.processes = processes
        self.runs_dir = runs_dir
        self.address = f"tcp://127.0.0.1:{port}"
        self._port = port
        self.workers: list[subprocess.Popen[bytes]] = []

    def start_scheduler(self, *more: str) -> subprocess.Popen[bytes]:
        """Start the scheduler; `more` are further options of it or of the service."""
        self.scheduler = self.processes.start(
            "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", str(self._port),
            "--dashboard-address", "127.0.0.1:0",
            "--preload", "evodevo.service", "--runs-dir", str(self.runs_dir), *more,
            log="scheduler",
        )  # fmt: skip
        return self.scheduler

    def start_worker(self, *more: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a worker; `more` are further options of it."""
        worker = self.processes.start(
            "-m", "dask", "worker", self.address, "--host", "127.0.0.1", "--nthreads", "1",
            "--memory-limit", "0", "--dashboard-address", "127.0.0.1:0", "--no-dashboard",
            "--local-directory", str(self.processes.directory), "--preload", "workers.preload",
            "--preload-nanny", "workers.nanny", *more,
            log="worker", **environment,
        )  # fmt: skip
        self.workers.append(worker)
        return worker


class Held:
    """Epochs that wait while a file exists; each leaves a mark when it begins."""

    def __init__(self, directory: Path) -> None:
        self.file, self.marks = directory / "hold", directory / "marks"
        self.marks.mkdir()
        self.file.touch()
        self.processes: set[int] = set()
        self.options = {"hold": str(self.file), "marks": str(self.marks)}

    def until_epochs_began(self, count: int) -> None:
        """Wait until this many epochs have begun, and remember their processes."""
        until(lambda: len(list(self.marks.iterdir())) >= count, f"{count} epochs that have begun")
        for mark in self.marks.iterdir():
            self.processes.add(int(mark.name))
            mark.unlink()

    def kill(self) -> None:
        """End the processes of all these epochs, as Slurm with cgroups does after KillWait."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def write_config(path: Path, name: str = "digits", **changes: Any) -> Path:
    """Write a small config for `digits:Digits`; `changes` are keys with `__` between their parts.

    No member starts from a mean, because a replay of one line of descent could not repeat that.
    """
    config: dict[str, Any] = {
        "run": {"name": name, "seed": 3},
        "workload": {"use": "digits:Digits", "options": {}},
        "objective": {"metric": "validation_loss", "mode": "min"},
        "search": {
            "population": 5,
            "generations": 4,
            "recombine": None,
            "options": {"mutation_rate": 0.5},
            "loci": {
                "learning_rate": {"type": "float", "low": 1e-3, "high": 1.0, "scale": "log", "initial": 0.05},
                "momentum": {"type": "float", "low": 0.0, "high": 0.9, "initial": 0.5},
            },
        },
        "cluster": {"workers": 2},
    }
    for key, value in changes.items():
        *sections, last = key.split("__")
        inner = config
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[last] = value
    file = path / f"{name}.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


def evodevo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end, in the directory of the user's module `digits`.

    Most run in this process: another takes seconds to import what a command and its workers need.
    """
    if arguments[0] in IN_THIS_PROCESS and "--slurm" not in arguments and not environment:
        return _in_this_process(arguments)
    return subprocess.run(
        [sys.executable, "-m", "evodevo", *arguments],
        cwd=HERE,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def _in_this_process(arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    out, err = io.StringIO(), io.StringIO()
    status: Any = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        _logged_to(err),
    ):
        patch.chdir(HERE)
        patch.setattr(sys, "path", [*sys.path])
        try:
            cli.main([*arguments])
        except SystemExit as end:
            status = end.code
    if status == 130:  # it was pytest that was interrupted
        raise KeyboardInterrupt
    return subprocess.CompletedProcess(arguments, status or 0, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _logged_to(stream: io.StringIO) -> Iterator[None]:
    """Let all handlers that write to stderr write to this stream."""
    loggers = [logging.root, *map(logging.getLogger, logging.root.manager.loggerDict)]
    found = {handler for logger in loggers for handler in logger.handlers}
    before = [
        (handler, handler.setStream(stream)) for handler in found if type(handler) is logging.StreamHandler
    ]
    try:
        yield
    finally:
        for handler, its in before:
            handler.setStream(its)


def untimed_history(run: Path) -> list[dict[str, str]]:
    """Return a run's history.csv without the columns that may differ between equal runs."""
    return untimed(run / "history.csv")


def untimed(table: Path) -> list[dict[str, str]]:
    """Return the rows of a table without the columns that may differ between equal runs."""
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    return [{key: value for key, value in row.items() if key not in TIMED_COLUMNS} for row in rows]


def history_of(run: Path) -> History:
    """Return the history of a run's journal so far; empty if there is none yet."""
    journal = run / "journal.jsonl"
    return History.of(Tail(journal).read() if journal.exists() else [])


def run_script(name: str, *arguments: str, **environment: str) -> str:
    """Run a bash script of this directory; return its output, and end all that it started."""
    script = subprocess.Popen(
        ["bash", str(HERE / name), *arguments],
        cwd=HERE,
        env={**os.environ, "PYTHON": sys.executable, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        # background processes of the script write elsewhere
        told, errors = script.communicate(timeout=PATIENCE_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(script.pid, signal.SIGKILL)
        script.wait()
    assert script.returncode == 0, told + errors
    return told
