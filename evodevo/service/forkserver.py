"""The process from which the workers of local clusters are forked, with torch imported once for all of them.

Dask would start a bare interpreter for each worker, which imports torch by itself: seconds of CPU for each.
Importing torch neither starts CUDA nor any thread, so a fork of such a process is as good as a new one.
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
"""Modules that every worker needs; what cannot be imported is left to the worker, which says so."""
SETTINGS = {"distributed.worker.multiprocessing-method": "forkserver"}
"""For Dask's configuration, while a cluster has workers of this kind."""


def start() -> None:
    """Start the process, unless it runs already. It ends with this one, and serves all its clusters."""
    utils._forkserver_preload_set = True  # Dask would have this process, too, import pandas
    multiprocessing.set_forkserver_preload(PRELOADED)
    safe = {"PYTHONSAFEPATH": "1"}  # no file of the user's hides a module
    with _environment({**_of_workers(), **safe}), _interrupts_ignored():
        forkserver.ensure_running()


def worker_environment() -> dict[str, str]:
    """What each worker sets: the variables of this process now, which may differ from those at the start."""
    return {**os.environ, "PYTHONSAFEPATH": os.environ.get("PYTHONSAFEPATH", "")}


def _of_workers() -> dict[str, str]:
    """The variables that Dask's nanny sets before it starts a worker, as they count at a process' start."""
    found = dask.config.get("distributed.nanny.pre-spawn-environ")
    wanted = {name: os.environ.get(name, str(value)) for name, value in found.items() if value is not None}
    return {"PYTHONHASHSEED": "6640", **wanted}


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """What is started meanwhile ignores Ctrl-C for good: that is for this process, which ends the others."""
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
