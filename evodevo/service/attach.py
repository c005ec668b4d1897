"""Attach the service to a running cluster: LocalCluster, Kubernetes, Coiled, a plain `dask scheduler`.

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
    """A client of an attached service, and what its user should know of the cluster."""

    client: Client
    was_there: bool
    warnings: list[str]

    def rows(self) -> list[tuple[str, str]]:
        """The facts for a table: name and value."""
        return [
            ("service", "was there already" if self.was_there else "attached"),
            ("runs", str(self.client.runs_dir)),
            ("workers", f"{self.client.workers} that can train"),
            ("page", self.client.dashboard),
        ]


def attach(client: DaskClient, runs_dir: Path | str = "checkpoints") -> Client:
    """Install the service in the scheduler of a `distributed.Client`, prepare its workers, return our client.

    `runs_dir` is on the file system of the scheduler; a relative one is relative to its working directory. If
    the scheduler has the service already, it keeps its own (see `Client.runs_dir`), and only workers that
    could not be prepared are tried again. Unfinished runs in it are not resumed before `Run.resume`. What is
    returned uses the given client and must not outlive it. Raises `UsageError`; warns of settings that cost
    epochs.
    """
    attached = attach_to(client, runs_dir)
    for text in attached.warnings:
        warnings.warn(text, stacklevel=2)
    return attached.client


def attach_to(client: DaskClient, runs_dir: Path | str) -> Attached:
    """`attach`, with what it found out. Raises `UsageError`."""
    if isinstance(client, DaskClient) and (client.status == "closed" or client.scheduler is None):
        raise UsageError("the distributed.Client is closed; give attach one that is connected")
    if not isinstance(client, DaskClient) or client.asynchronous:
        raise UsageError(
            "attach needs a synchronous distributed.Client, such as distributed.Client('tcp://host:8786'), "
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
        warned = [f"the service was there already, and keeps its runs in {ours.runs_dir}", *warned]
    return Attached(ours, told["was_there"], warned)


def refusal(why: Exception, address: str) -> str | None:
    """What to tell a user if the scheduler at `address` failed to install the service; None for a bug."""
    version = own_versions()["evodevo"]
    if is_import_error(why):
        return f"the scheduler at {address} cannot import evodevo ({why}): install evodevo {version} there"
    if is_disallowed(why):
        return (
            f"the scheduler at {address} does not accept code from clients ({why}): start it with "
            "`dask scheduler --preload evodevo.service`"
        )
    return f"the scheduler at {address} does not answer: {why}" if isinstance(why, OSError) else None
