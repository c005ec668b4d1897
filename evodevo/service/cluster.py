"""How a cluster is had: one of one's own on this machine, or one that is there already."""

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import dask
from distributed import Client, LocalCluster

from evodevo.errors import UsageError

CONNECT_TIMEOUT_S = 10


@contextlib.contextmanager
def local(workers: int, runs_dir: Path | str) -> Iterator[Client]:
    """A cluster in processes of this machine, with the same service in its scheduler as any other.

    Workers have no memory limit and may have children (data loaders); both are Dask's defaults otherwise.
    The scheduler is in this process: the cluster ends with it, and its runs can be resumed.
    """
    settings = {
        "distributed.worker.daemon": False,
        "distributed.scheduler.worker-ttl": None,  # these workers cannot be cut off, only busy
        "distributed.deploy.lost-worker-timeout": "1 day",  # a nanny brings its worker back, however slowly
    }
    with dask.config.set(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Port .* is already in use")
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=None,
            preload=["workers.preload"],
            scheduler_kwargs={
                "preload": ["evodevo.service"],
                "preload_argv": ["--runs-dir", str(runs_dir), "--no-recover"],
            },
            dashboard_address="127.0.0.1:8787",
            silence_logs=logging.CRITICAL,
        )
        with cluster, Client(cluster, set_as_default=False) as client:
            yield client


@contextlib.contextmanager
def existing(address: str | None = None, scheduler_file: Path | str | None = None) -> Iterator[Client]:
    """A scheduler that is there already, by its address or its scheduler file. Raises `UsageError`."""
    where = _address_in(Path(scheduler_file)) if scheduler_file else address
    try:
        client = Client(where, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError) as why:
        raise UsageError(f"no scheduler answers at {where}: {why}") from None
    with client:
        yield client


def _address_in(file: Path) -> str:
    try:
        return str(json.loads(file.read_text())["address"])
    except FileNotFoundError:
        raise UsageError(f"--scheduler-file {file}: no such file") from None
    except (OSError, ValueError, KeyError, TypeError) as why:
        raise UsageError(f"--scheduler-file {file}: has no scheduler's address ({why})") from None
