"""Fork the workers of local clusters from one process that has imported torch.

Dask would start a bare interpreter for each worker, which costs seconds of CPU time to import torch.
Importing torch starts neither CUDA nor threads, so forking afterwards is safe.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from multiprocessing import forkserver

import dask
from distributed import utils

PRELOADED = [
    "torch",
    "distributed.nanny",
    "workers.preload",
    "workers.describe",
    "workers.unit",
    "evodevo.report.products",
]
"""Modules that every worker needs; the fork server skips those that cannot be imported; workers report it."""
SETTINGS = {"distributed.worker.multiprocessing-method": "forkserver"}
"""Dask's configuration while a cluster has forked workers."""


def start() -> None:
    """Start the fork server if it is not running; it serves all clusters of this process and ends with it."""
    utils._forkserver_preload_set = True  # otherwise Dask makes the fork server import pandas
    multiprocessing.set_forkserver_preload(PRELOADED)
    safe = {"PYTHONSAFEPATH": "1"}  # no file in the working directory shadows a module
    with _environment({**_of_workers(), **safe}), _interrupts_ignored():
        forkserver.ensure_running()


def worker_environment() -> dict[str, str]:
    """Return this process's current environment, which each worker sets after its fork."""
    return {**os.environ, "PYTHONSAFEPATH": os.environ.get("PYTHONSAFEPATH", "")}


def _of_workers() -> dict[str, str]:
    """Return the variables that Dask's nanny sets before it starts a worker; they take effect at start-up."""
    found = dask.config.get("distributed.nanny.pre-spawn-environ")
    wanted = {name: os.environ.get(name, str(value)) for name, value in found.items() if value is not None}
    return {"PYTHONHASHSEED": "6640", **wanted}


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Make processes started within the block ignore Ctrl-C; this process handles it and stops them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
