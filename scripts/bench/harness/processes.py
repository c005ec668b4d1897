"""Start, await and end the harness's processes and clusters."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import yaml
from distributed.utils import open_port

PATIENCE_S = 240
BENCH = Path(__file__).resolve().parents[1]


STOPPED = threading.Event()
"""Set to stop the harness: every wait then fails at once."""


def until(condition: Callable[[], Any], what: str, within_s: float = PATIENCE_S) -> Any:
    """Wait until the condition is true, and return its value. Raises `AssertionError` after a timeout."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        assert not STOPPED.is_set(), f"stopped while waiting for {what}"
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {within_s} s in vain for {what}")


class Process:
    """A process that leads its own session."""

    def __init__(self, pid: int, status: Path, popen: subprocess.Popen[bytes] | None = None) -> None:
        self.pid, self._status, self._popen = pid, status, popen

    @property
    def is_alive(self) -> bool:
        if self._popen is not None:
            return self._popen.poll() is None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 0)
            return True
        return False

    def send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, within_s: float = PATIENCE_S) -> int:
        """Wait for the process to end; return its exit status, or -9 if it left none."""
        until(lambda: not self.is_alive, f"the end of process {self.pid}", within_s)
        if self._popen is not None:
            return self._popen.returncode
        return int(self._status.read_text()) if self._status.exists() else -signal.SIGKILL

    def end(self) -> None:
        """Kill the process and all its descendants."""
        family = []
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(self.pid).children(recursive=True)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        while self.is_alive:
            time.sleep(0.01)


class Zygote:
    """The process from which the others are forked; see `harness.zygote`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "harness.zygote"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def fork(self, program: str, arguments: list[str], log: Path, environment: Mapping[str, str]) -> Process:
        status = log.with_name(f"{log.stem}-{os.urandom(4).hex()}.status")
        request = {
            "program": program,
            "arguments": arguments,
            "log": str(log),
            "status": str(status),
            "environment": dict(environment),
        }
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return Process(int(self._process.stdout.readline()), status)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


class Cluster:
    """`dask scheduler --preload evodevo.service` and workers, in the directory of a trial.

    `settings` are environment variables for all of them. Processes are forked unless they need a preloaded
    library or a network namespace; those are started with `start_afresh`, which takes longer.
    """

    def __init__(self, zygote: Zygote, directory: Path, runs: Path | None = None, **settings: str) -> None:
        self.directory, self.runs = directory, runs or directory / "runs"
        self.settings = settings
        self.port = open_port()
        self.host = "127.0.0.1"
        self.workers: list[Process] = []
        self._zygote = zygote
        self._started: list[Process] = []

    @property
    def address(self) -> str:
        return f"tcp://{self.host}:{self.port}"

    def start(self, program: str, *arguments: str, log: str, **environment: str) -> Process:
        variables = {**self.settings, **environment}
        path = self.directory / f"{log}.log"
        process = self._zygote.fork(program, list(arguments), path, variables)
        self._started.append(process)
        return process

    def start_afresh(self, *command: str, log: str, **environment: str) -> Process:
        """Start a command as a new program instead of a fork of the zygote."""
        path = self.directory / f"{log}.log"
        with open(path, "ab") as output:
            popen = subprocess.Popen(
                command,
                env={**os.environ, **self.settings, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started.append(Process(popen.pid, path, popen))
        return self._started[-1]

    def scheduler_arguments(self) -> list[str]:
        return [
            "--host", self.host, "--port", str(self.port), "--dashboard-address", "127.0.0.1:0",
            "--preload", "harness.inject", "--preload", "evodevo.service", "--runs-dir", str(self.runs),
        ]  # fmt: skip

    def worker_arguments(self) -> list[str]:
        return [
            self.address, "--host", "127.0.0.1", "--nthreads", "1", "--memory-limit", "0",
            "--dashboard-address", "127.0.0.1:0", "--local-directory", str(self.directory / "space"),
            "--preload", "workers.preload", "--preload", "harness.inject",
        ]  # fmt: skip

    def start_scheduler(self, **environment: str) -> Process:
        self.scheduler = self.start("scheduler", *self.scheduler_arguments(), log="scheduler", **environment)
        return self.scheduler

    def start_worker(self, **environment: str) -> Process:
        """Start a worker without a nanny."""
        worker = self.start("worker", *self.worker_arguments(), "--no-nanny", log="worker", **environment)
        self.workers.append(worker)
        return worker

    def start_nanny(self, **environment: str) -> Process:
        arguments = (*self.worker_arguments(), "--preload-nanny", "workers.nanny")
        return self.start("worker", *arguments, log="worker", **environment)

    def begin(self, config: Path, workers: int = 1) -> None:
        """Start a scheduler and workers, and launch the run of `config`."""
        self.start_scheduler()
        for _ in range(workers):
            self.start_worker()
        self.launch(config)

    def launch(self, config: Path) -> None:
        done = self.command("launch", str(config), "--detach")
        assert done.wait() == 0, self.said("launch")

    def command(self, command: str, *arguments: str, **environment: str) -> Process:
        """Start `evodevo COMMAND` for this cluster; its output is appended to COMMAND.log."""
        given = (command, *arguments, "--scheduler", self.address)
        return self.start("evodevo", *given, log=command, **environment)

    def said(self, log: str) -> str:
        path = self.directory / f"{log}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def end(self) -> None:
        for process in reversed(self._started):
            process.end()


def write_config(directory: Path, name: str, **changes: Any) -> Path:
    """Write the config of a small run of `work.Points`; `changes` are config keys with `__` for the dots."""
    config: dict[str, Any] = {
        "run": {"name": name, "seed": 3},
        "workload": {"use": "harness.work:Points", "options": {}},
        "objective": {"metric": "validation_loss", "mode": "min"},
        "search": {
            "population": 3,
            "generations": 3,
            "recombine": None,
            "soup": False,
            "options": {"mutation_rate": 0.5},
            "loci": {
                "learning_rate": {"type": "float", "low": 1e-3, "high": 1.0, "scale": "log", "initial": 0.05},
                "momentum": {"type": "float", "low": 0.0, "high": 0.9, "initial": 0.5},
            },
        },
        "cluster": {"members_per_task": 1},
    }
    for key, value in changes.items():
        *sections, last = key.split("__")
        inner = config
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[last] = value
    file = directory / f"{name}.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


PACES: dict[str, dict[str, Any]] = {
    "generations": {},
    "pools": {
        "search__pace": "pools",
        "search__pool": 2,
        "search__population": 4,
    },
}
"""The two small runs of the fault matrix."""


@contextlib.contextmanager
def small_disk(directory: Path, megabytes: int = 2) -> Iterator[Path]:
    """Mount a file system of a few megabytes. Raises `NotHere` if that is impossible."""
    from harness.trials import NotHere

    disk = directory / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise NotHere("there is no `mount`") from None
    if mounted.returncode:
        why = mounted.stderr.strip().replace(f"{disk}: ", "").partition(".")[0]
        raise NotHere(f"no file system can be mounted ({why})")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
