"""Scheduler and workers on separate hosts with a shared directory; a link that breaks; and TLS."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from evodevo.run.retention import needed_checkpoints
from tests.integration.certificates import make_certificates
from tests.integration.clusters import (
    PATIENCE_S,
    Cluster,
    Held,
    Processes,
    evodevo,
    history_of,
    until,
    untimed_history,
    write_config,
)

pytestmark = pytest.mark.slow

SMALL = {"search__generations": 3, "search__population": 4}
HASTY = {
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "6s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s",  # Dask takes no less than 11
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "4s",
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """The history of a run on this host that nothing happens to."""
    directory = tmp_path_factory.mktemp("undisturbed")
    done = evodevo("launch", str(write_config(directory, **SMALL)), "--runs-dir", str(directory))
    assert done.returncode == 0, done.stderr
    return untimed_history(directory / "digits")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Hosts:
    """Two network namespaces and a cable between them: one for the scheduler and clients, one for workers."""

    scheduler_ip, worker_ip = "10.77.0.1", "10.77.0.2"

    def __init__(self) -> None:
        self.head, self.nodes = (f"evodevo-{os.getpid()}-{name}" for name in ("head", "nodes"))

    def build(self) -> None:
        for name in (self.head, self.nodes):
            ip("netns", "add", name)
        ip("link", "add", "cable", "netns", self.head, "type", "veth", "peer", "cable", "netns", self.nodes)
        for name, address in ((self.head, self.scheduler_ip), (self.nodes, self.worker_ip)):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            for device in ("lo", "cable"):
                ip("-n", name, "link", "set", device, "up")

    def cut(self) -> None:
        ip("-n", self.head, "link", "set", "cable", "down")

    def mend(self) -> None:
        ip("-n", self.head, "link", "set", "cable", "up")

    def remove(self) -> None:
        for name in (self.head, self.nodes):
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "delete", name)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    found = Hosts()
    try:
        try:
            found.build()
        except FileNotFoundError:
            pytest.skip("there is no `ip` (iproute2) here")
        except subprocess.CalledProcessError as why:
            pytest.skip(f"no network namespaces can be made here: {why.stderr.strip()}")
        yield found
    finally:
        found.remove()


@dataclass
class Distant:
    """A cluster on two hosts, with Dask's default ports, which are free there."""

    hosts: Hosts
    processes: Processes
    directory: Path

    def start_scheduler(self, **environment: str) -> None:
        self.processes.start(
            "-m", "dask", "scheduler", "--host", self.hosts.scheduler_ip,
            "--scheduler-file", str(self.directory / "scheduler.json"),
            "--dashboard-address", "127.0.0.1:0",
            "--preload", "evodevo.service", "--runs-dir", str(self.directory),
            log="scheduler", namespace=self.hosts.head, **environment,
        )  # fmt: skip
        until((self.directory / "scheduler.json").exists, "the scheduler's file")

    def start_worker(self, **environment: str) -> subprocess.Popen[bytes]:
        return self.processes.start(
            "-m", "dask", "worker", "--scheduler-file", str(self.directory / "scheduler.json"),
            "--host", self.hosts.worker_ip, "--nthreads", "1",
            "--memory-limit", "0", "--dashboard-address", "127.0.0.1:0", "--no-dashboard",
            "--local-directory", str(self.directory), "--preload", "workers.preload",
            log="worker", namespace=self.hosts.nodes, **environment,
        )  # fmt: skip

    def launch(self, config: Path) -> subprocess.Popen[bytes]:
        return self.processes.start(
            "-m", "evodevo", "launch", str(config),
            "--scheduler-file", str(self.directory / "scheduler.json"),
            log="launch", namespace=self.hosts.head,
        )  # fmt: skip


@pytest.fixture
def distant(hosts: Hosts, processes: Processes, tmp_path: Path) -> Distant:
    return Distant(hosts, processes, tmp_path)


def test_hosts_that_share_only_a_directory_come_to_the_history_of_one(
    tmp_path: Path, distant: Distant, undisturbed: list[dict[str, str]]
) -> None:
    distant.start_scheduler()
    for _ in range(2):
        distant.start_worker()
    launched = distant.launch(write_config(tmp_path, **SMALL))
    assert launched.wait(PATIENCE_S) == 0, distant.processes.log("launch")
    assert untimed_history(tmp_path / "digits") == undisturbed
    hosts_of_workers = {life.worker.rpartition(":")[0] for life in history_of(tmp_path / "digits").lives()}
    assert hosts_of_workers == {f"tcp://{Hosts.worker_ip}"}


def test_a_link_that_breaks_in_mid_epoch_changes_nothing_but_the_attempts(
    tmp_path: Path, distant: Distant, undisturbed: list[dict[str, str]]
) -> None:
    """The workers that were cut off train on, unheard; then they end, and others take their place."""
    run, held = tmp_path / "digits", Held(tmp_path)
    distant.start_scheduler(**HASTY)
    cut_off = [distant.start_worker(**HASTY) for _ in range(2)]
    launched = distant.launch(write_config(tmp_path, workload__options=held.options, **SMALL))
    held.until_epochs_began(2)
    distant.hosts.cut()
    held.file.unlink()
    unheard = until(lambda: list((run / "params").glob("g000s*-a1-*.safetensors")), "what nobody hears of")
    until(lambda: sum(len(life.lost) for life in history_of(run).lives()) >= 2, "two lost attempts")
    distant.hosts.mend()
    for worker in cut_off:
        worker.wait(PATIENCE_S)
        distant.start_worker(**HASTY)  # as a restart loop does
    assert launched.wait(PATIENCE_S) == 0, distant.processes.log("launch")
    assert untimed_history(run) == undisturbed
    assert [life.outcome for life in history_of(run).generations[0] if life.outcome and life.lost]
    kept = {file.name for file in (run / "params").iterdir()}
    assert kept == needed_checkpoints(history_of(run))
    assert not kept.intersection(file.name for file in unheard)


@dataclass(frozen=True)
class Secured:
    """A cluster whose every connection is TLS, and what clients need."""

    cluster: Cluster
    certificates: dict[str, str]


@pytest.fixture
def secured(cluster: Cluster, tmp_path: Path) -> Secured:
    """The scheduler has its certificate from its options, the worker from its configuration."""
    certificates = make_certificates(tmp_path / "ours")
    cluster.address = cluster.address.replace("tcp:", "tls:")
    ca, cert, key = (str(tmp_path / "ours" / file) for file in ("ca.pem", "cert.pem", "key.pem"))
    cluster.start_scheduler("--protocol", "tls", "--tls-ca-file", ca, "--tls-cert", cert, "--tls-key", key)
    cluster.start_worker(**certificates)
    return Secured(cluster, certificates)


def refused(address: str, **environment: str) -> str:
    told = evodevo("status", "--scheduler", address, **environment)
    assert told.returncode == 2, told.stdout + told.stderr
    assert told.stderr.count("\n") == 1, told.stderr
    assert told.stderr.startswith("evodevo: ")
    return told.stderr


def test_with_tls_a_run_comes_to_the_same_history_and_strangers_are_told_why_they_are_refused(
    tmp_path: Path, secured: Secured, undisturbed: list[dict[str, str]]
) -> None:
    cluster, ours = secured.cluster, secured.certificates
    config = write_config(tmp_path, **SMALL)
    done = evodevo("launch", str(config), "--scheduler", cluster.address, **ours)
    assert done.returncode == 0, done.stdout + done.stderr
    assert untimed_history(cluster.runs_dir / "digits") == undisturbed

    assert "requires a certificate: set distributed.comm.tls.ca-file" in refused(cluster.address)
    theirs = make_certificates(tmp_path / "theirs")
    message = refused(cluster.address, **theirs)
    assert "must accept each other's certificates" in message
    assert str(tmp_path / "theirs" / "cert.pem") in message
    unknown = {**theirs, "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(tmp_path / "ours" / "ca.pem")}
    assert "must accept each other's certificates" in refused(cluster.address, **unknown)
    missing = {**ours, "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT": "/nowhere/cert.pem"}
    assert "/nowhere/cert.pem" in refused(cluster.address, **missing)
    plain = cluster.address.replace("tls:", "tcp:")
    assert "if the scheduler uses TLS, its address begins with tls://" in refused(plain)
    strict = {**ours, "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True"}
    assert "distributed.comm.require-encryption is set" in refused(plain, **strict)
