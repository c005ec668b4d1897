"""Create a local Dask cluster or connect to an existing one."""

import asyncio
import contextlib
import json
import logging
import signal
import socket
import threading
import warnings
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster, Scheduler, Security
from distributed.comm.addressing import parse_address, parse_host_port
from distributed.comm.core import CommClosedError

from evodevo.errors import UsageError
from evodevo.run.records import PER_DEVICE
from evodevo.service import forkserver

CONNECT_TIMEOUT_S = 10
LONGEST_GREETING_BYTES = 1 << 20


@contextlib.contextmanager
def local(workers: int, runs_dir: Path | str, workers_per_device: int = 1) -> Iterator[Client]:
    """Start a cluster in processes of this machine, with the service in its scheduler.

    Unlike Dask's defaults, workers have no memory limit and may have child processes (data loaders). Each GPU
    gets `workers_per_device` workers. The scheduler runs in this process and ends with it; its runs can be
    resumed.
    """
    settings = {
        "distributed.worker.daemon": False,
        # Defaults are 10, 20 and 500 ms. Each time these hold the interpreter's lock, a training waits:
        # that costs a few percent, and at 100 ms, 500 ms and 2 s still two to three.
        "distributed.worker.profile.interval": "2 s",
        "distributed.admin.tick.interval": "2 s",
        "distributed.admin.system-monitor.interval": "10 s",
        # Local workers cannot be cut off, only stopped (Ctrl-Z, a debugger); busy ones still send heartbeats.
        "distributed.scheduler.worker-ttl": "5 minutes",
        "distributed.deploy.lost-worker-timeout": "1 day",  # the nanny restarts its worker, however slowly
    }
    forkserver.start()
    with _dask_settings({**settings, **forkserver.SETTINGS}), contextlib.ExitStack() as stack:
        with warnings.catch_warnings(), _interrupts_held_back():
            warnings.filterwarnings("ignore", message="Port .* is already in use")
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=0,
                    threads_per_worker=1,
                    memory_limit=None,
                    env={**forkserver.worker_environment(), PER_DEVICE: str(workers_per_device)},
                    preload=["workers.preload"],
                    scheduler_kwargs={
                        "preload": ["evodevo.service"],
                        "preload_argv": ["--runs-dir", str(runs_dir), "--no-recover"],
                    },
                    dashboard_address="127.0.0.1:8787",
                    silence_logs=logging.CRITICAL,
                )
            )
            client = stack.enter_context(Client(cluster, set_as_default=False))
        coming = client.sync(_begin, _add_workers(cluster, workers))
        try:
            yield client
        finally:
            client.sync(stop_runs, cluster.scheduler)
            client.sync(_end, coming)


_settings_held = 0
_settings_before = contextlib.ExitStack()


@contextlib.contextmanager
def _dask_settings(settings: Mapping[str, Any]) -> Iterator[None]:
    """Change Dask's configuration while any local cluster exists; clusters may end in any order."""
    global _settings_held
    if not _settings_held:
        _settings_before.enter_context(dask.config.set(settings))
    _settings_held += 1
    try:
        yield
    finally:
        _settings_held -= 1
        if not _settings_held:
            _settings_before.close()


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM until the end of the block: a half-built cluster takes 10 s to close."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in handlers:
        signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


async def _begin(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(coroutine)


async def _end(task: asyncio.Task[None]) -> None:
    await task


async def _add_workers(cluster: Any, count: int) -> None:
    """Start the workers without blocking requests; if they cannot start, give the service the reason."""
    for _ in range(count):
        cluster.worker_spec.update(cluster.new_worker_spec())
    try:
        await cluster
    except Exception as failure:
        why: BaseException = failure
        while why.__cause__ is not None:
            why = why.__cause__
        service = cluster.scheduler.plugins["evodevo"]
        service.no_workers = f"no worker can start: {type(why).__name__}: {why}"


async def stop_runs(scheduler: Scheduler) -> None:
    """Stop the runs before their cluster ends, so that no attempt counts as lost."""
    await scheduler.plugins["evodevo"].before_close()


@contextlib.contextmanager
def existing(address: str | None = None, scheduler_file: Path | str | None = None) -> Iterator[Client]:
    """Connect to a running scheduler by its address or its scheduler file. Raises `UsageError`.

    For tls:// addresses, the client's certificates come from Dask's configuration.
    """
    where = _address_in(Path(scheduler_file)) if scheduler_file else address or ""
    security = _security_for(where)
    _refuse_other_services(where)
    try:
        client = Client(where or None, timeout=CONNECT_TIMEOUT_S, set_as_default=False, security=security)
    except CommClosedError as why:
        advice = (
            f"the two must accept each other's certificates; this client has {_files(security)}"
            if where.startswith("tls:")
            else "if the scheduler uses TLS, its address begins with tls://"
        )
        raise UsageError(f"cannot communicate with the scheduler at {where}: {advice} ({why})") from None
    except OSError:
        within = f"within {CONNECT_TIMEOUT_S:g} s"
        advice = "is it running? (dask scheduler --preload evodevo.service)"
        raise UsageError(f"no scheduler answered at {where} {within}; {advice}") from None
    except ValueError as why:
        raise UsageError(f"no scheduler can be at {where}: {why}") from None
    with client:
        yield client


def _refuse_other_services(address: str) -> None:
    """Raise `UsageError` if the server at an address is not a Dask scheduler: Dask would wait for minutes.

    A Dask server speaks first, with the length of its greeting in 8 bytes. If nothing answers, Dask says so.
    """
    scheme, location = parse_address(address)
    if scheme != "tcp":
        return
    try:
        connection = socket.create_connection(parse_host_port(location), timeout=CONNECT_TIMEOUT_S)
    except (OSError, ValueError):
        return
    with connection:
        try:
            greeting = connection.recv(8, socket.MSG_WAITALL)
        except OSError:
            greeting = b""
    if len(greeting) < 8 or int.from_bytes(greeting, "little") > LONGEST_GREETING_BYTES:
        raise UsageError(
            f"the server at {address} is not a Dask scheduler (perhaps it is the dashboard, which has "
            "another port); if the scheduler uses TLS, its address begins with tls://"
        )


def _security_for(address: str) -> Security:
    """Return the client's `Security` from Dask's configuration. Raises `UsageError` if it does not fit.

    Dask would report it too, but a client that fails this way takes 20 s to close.
    """
    security = Security()
    try:
        arguments = security.get_connection_args("client")
        encrypted = parse_address(address)[0] == "tls"
    except (OSError, ValueError) as why:
        raise UsageError(f"cannot connect to {address} with {_files(security)}: {why}") from None
    if encrypted and arguments["ssl_context"] is None:
        raise UsageError(
            f"the scheduler at {address} requires a certificate: set distributed.comm.tls.ca-file, "
            f"distributed.comm.tls.client.cert and .key in Dask's configuration (now: {_files(security)})"
        )
    if not encrypted and arguments["require_encryption"]:
        raise UsageError(
            f"distributed.comm.require-encryption is set, but {address} is not encrypted: give an address "
            "that begins with tls://"
        )
    return security


def _files(security: Security) -> str:
    files = security.get_tls_config_for_role("client")
    return ", ".join(f"{key} {files[key] or 'not set'}" for key in ("ca_file", "cert", "key"))


def _address_in(file: Path) -> str:
    try:
        return str(json.loads(file.read_text())["address"])
    except FileNotFoundError:
        said = f"{file}: no such file; the scheduler writes it when it has started"
        raise UsageError(f"scheduler file {said}", f"--scheduler-file {said}") from None
    except (OSError, ValueError, KeyError, TypeError) as why:
        said = f"{file} does not contain a scheduler's address ({why})"
        raise UsageError(f"scheduler file {said}", f"--scheduler-file {said}") from None
