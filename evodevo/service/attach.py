"""Attach the service to a running cluster: LocalCluster, Kubernetes, Coiled or a plain `dask scheduler`.

import distributed, evodevo

with distributed.Client("tcp://host:8786") as dask_client:
    client = evodevo.attach(dask_client, runs_dir="/shared/runs")
    client.submit("configs/quickstart.yaml").wait()
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Client as DaskClient

from evodevo.errors import UsageError
from evodevo.service.attachment import install, is_disallowed, is_import_error
from evodevo.service.client import Client
from evodevo.versions import own_versions


@dataclass(frozen=True)
class Attached:
    """A client of an attached service, with warnings about the cluster."""

    client: Client
    was_there: bool
    warnings: list[str]

    def rows(self) -> list[tuple[str, str]]:
        """Return the facts as name and value, for a table."""
        return [
            ("service", "already installed" if self.was_there else "attached"),
            ("runs", str(self.client.runs_dir)),
            ("workers", f"{self.client.workers} able to train"),
            ("page", self.client.dashboard),
        ]


def attach(client: DaskClient, runs_dir: Path | str = "checkpoints") -> Client:
    """Install the service in the scheduler of a `distributed.Client` and prepare its workers.

    `runs_dir` is a directory on the scheduler's file system, relative to its working directory. If the
    service is already installed, it keeps its own directory (see `Client.runs_dir`), and only workers that
    could not be prepared are retried. Unfinished runs are not resumed until `Run.resume` is called. Returns a
    client that uses the given one and must not outlive it. Raises `UsageError`; warns about settings that can
    cost epochs.
    """
    attached = attach_to(client, runs_dir)
    for text in attached.warnings:
        warnings.warn(text, stacklevel=2)
    return attached.client


def attach_to(client: DaskClient, runs_dir: Path | str) -> Attached:
    """Do what `attach` does, and return the warnings instead of issuing them. Raises `UsageError`."""
    if isinstance(client, DaskClient) and (client.status == "closed" or client.scheduler is None):
        raise UsageError("the distributed.Client is closed; pass a connected one to attach()")
    if not isinstance(client, DaskClient) or client.asynchronous:
        raise UsageError(
            "attach() needs a synchronous distributed.Client, such as distributed.Client('tcp://host:8786'), "
            f"not {client!r}"
        )
    address = str(client.scheduler_info()["address"])
    try:
        told: dict[str, Any] = client.run_on_scheduler(install, str(runs_dir), own_versions())
    except Exception as why:
        message = refusal(why, address)
        if message is None:
            raise
        raise UsageError(message) from None
    if "error" in told:
        raise UsageError(told["error"])
    ours = Client(client, f"--scheduler {address}", outlives=client.cluster is None)
    warned: list[str] = told["warnings"]
    if told["was_there"] and Path(runs_dir).is_absolute() and Path(runs_dir) != ours.runs_dir:
        warned = [f"the service was already installed, and keeps its runs in {ours.runs_dir}", *warned]
    return Attached(ours, told["was_there"], warned)


def refusal(why: Exception, address: str) -> str | None:
    """Return the message for a failed installation at `address`; None if the failure is a bug."""
    version = own_versions()["evodevo"]
    if is_import_error(why):
        return f"the scheduler at {address} cannot import evodevo ({why}): install evodevo {version} there"
    if is_disallowed(why):
        return (
            f"the scheduler at {address} does not accept code from clients ({why}): start it with "
            "`dask scheduler --preload evodevo.service`"
        )
    return f"the scheduler at {address} does not answer: {why}" if isinstance(why, OSError) else None
