"""A service that attaches to a plain Dask cluster, in separate processes or in this one."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from distributed import Client, LocalCluster

import evodevo as package
from evodevo.versions import own_versions
from tests.integration.clusters import (
    PATIENCE_S,
    Cluster,
    Processes,
    evodevo,
    history_of,
    until,
    write_config,
)

pytestmark = pytest.mark.slow

WITHOUT_EVODEVO = (
    "import sys; sys.modules['evodevo'] = None; from distributed.cli.dask_{0} import main; main()"
)


class PlainCluster(Cluster):
    """A cluster of the same kind, without any preload; Python runs `how` instead of Dask's own commands."""

    def start_scheduler(
        self, *more: str, how: tuple[str, ...] = ("-m", "dask", "scheduler"), **environment: str
    ) -> subprocess.Popen[bytes]:
        port = self.address.rpartition(":")[2]
        self.scheduler = self.processes.start(
            *how, "--host", "127.0.0.1", "--port", port, "--dashboard-address", "127.0.0.1:0", *more,
            log="scheduler", **environment,
        )  # fmt: skip
        until(lambda: "Scheduler at" in self.processes.log("scheduler"), "the scheduler")
        return self.scheduler

    def start_worker(
        self, *more: str, how: tuple[str, ...] = ("-m", "dask", "worker"), **environment: str
    ) -> subprocess.Popen[bytes]:
        worker = self.processes.start(
            *how, self.address, "--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--no-dashboard",
            "--memory-limit", "0", "--local-directory", str(self.processes.directory), *more,
            log="worker", **environment,
        )  # fmt: skip
        self.workers.append(worker)
        return worker

    def until_workers_registered(self, count: int) -> None:
        registered = "Register worker"
        until(lambda: self.processes.log("scheduler").count(registered) >= count, f"{count} workers")

    def attach(self) -> subprocess.CompletedProcess[str]:
        return evodevo("attach", "--scheduler", self.address, "--runs-dir", str(self.runs_dir))


@pytest.fixture
def plain(processes: Processes, tmp_path: Path, unused_port: int) -> PlainCluster:
    return PlainCluster(processes, tmp_path / "runs", unused_port)


def workers_of(run: Path) -> set[str]:
    return {life.worker for life in history_of(run).lives() if life.outcome and life.worker}


def test_a_plain_cluster_trains_after_attach_also_on_a_worker_that_comes_later(
    plain: PlainCluster, tmp_path: Path
) -> None:
    plain.start_scheduler("--scheduler-file", str(tmp_path / "scheduler.json"))
    plain.start_worker("--nthreads", "2", DASK_DISTRIBUTED__WORKER__DAEMON="True")
    plain.until_workers_registered(1)
    where = ("--scheduler-file", str(tmp_path / "scheduler.json"))
    refused = evodevo("status", *where)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"install the service with `evodevo attach {' '.join(where)}`" in refused.stderr

    attached = plain.attach()
    assert attached.returncode == 0, attached.stderr
    for fact in ("attached", str(plain.runs_dir), "1 able to train"):
        assert fact in attached.stdout
    assert "1 worker is daemonic" in attached.stderr
    assert "memory limit" not in attached.stderr
    assert f"no runs in {plain.runs_dir}" in "".join(evodevo("status", *where).stdout.splitlines())

    plain.start_worker("--no-nanny")
    plain.until_workers_registered(2)
    config = write_config(tmp_path, workload__options={"pause_s": 0.1}, search__population=8)
    launched = evodevo("launch", str(config), *where)
    assert launched.returncode == 0, launched.stderr
    assert history_of(plain.runs_dir / "digits").end == "done"
    assert len(workers_of(plain.runs_dir / "digits")) == 2

    again = evodevo("attach", *where, "--runs-dir", str(tmp_path / "elsewhere"))
    assert again.returncode == 0, again.stderr
    for fact in ("already installed", str(plain.runs_dir), "2 able to train"):
        assert fact in again.stdout
    told = evodevo("status", *where).stdout
    assert f"runs in {plain.runs_dir}" in told
    assert "done" in told


def test_an_attached_worker_without_nanny_finishes_its_epoch_at_sigterm(
    plain: PlainCluster, tmp_path: Path
) -> None:
    plain.start_scheduler()
    worker = plain.start_worker("--no-nanny")
    plain.until_workers_registered(1)
    assert plain.attach().returncode == 0
    config = write_config(tmp_path, workload__options={"pause_s": 0.5})
    told = evodevo("launch", str(config), "--scheduler", plain.address, "--detach")
    assert told.returncode == 0, told.stderr
    run = plain.runs_dir / "digits"
    until(lambda: workers_of(run), "the first member")
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(PATIENCE_S) == 0
    assert not any(life.lost for life in history_of(run).lives())


def test_attach_prepares_the_workers_of_a_scheduler_that_was_started_with_the_service(
    plain: PlainCluster, tmp_path: Path
) -> None:
    plain.start_scheduler("--preload", "evodevo.service", "--runs-dir", str(plain.runs_dir))
    plain.start_worker("--no-nanny")
    plain.until_workers_registered(1)
    config = write_config(tmp_path, search__generations=1)
    refused = evodevo("launch", str(config), "--scheduler", plain.address)
    assert refused.returncode == 2
    assert "it was started without --preload workers.preload" in refused.stderr
    attached = evodevo("attach", "--scheduler", plain.address)
    assert attached.returncode == 0, attached.stderr
    for fact in ("already installed", str(plain.runs_dir), "1 able to train"):
        assert fact in attached.stdout
    launched = evodevo("launch", str(config), "--scheduler", plain.address)
    assert launched.returncode == 0, launched.stderr


def test_a_scheduler_without_evodevo_is_named_with_what_to_install(plain: PlainCluster) -> None:
    plain.start_scheduler(how=("-c", WITHOUT_EVODEVO.format("scheduler")))
    refused = plain.attach()
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"the scheduler at {plain.address} cannot import evodevo" in refused.stderr
    assert f"install evodevo {own_versions()['evodevo']} there" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_scheduler_that_runs_no_code_of_clients_is_said_to_be_one(plain: PlainCluster) -> None:
    plain.start_scheduler(DASK_DISTRIBUTED__SCHEDULER__BLOCKED_HANDLERS="['run_function']")
    refused = plain.attach()
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "does not accept code from clients" in refused.stderr
    assert "--preload evodevo.service" in refused.stderr


def test_workers_without_evodevo_stay_in_the_cluster_and_are_refused_with_a_reason(
    plain: PlainCluster,
) -> None:
    plain.start_scheduler()
    how = ("-c", WITHOUT_EVODEVO.format("worker"))
    plain.start_worker("--no-nanny", how=how)
    plain.until_workers_registered(1)
    refused = plain.attach()
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "no worker of this cluster can train" in refused.stderr
    assert "it cannot import what it needs" in refused.stderr

    plain.start_worker("--no-nanny")
    plain.until_workers_registered(2)
    attached = plain.attach()
    assert attached.returncode == 0, attached.stderr
    assert "1 able to train" in attached.stdout
    assert "it cannot import what it needs" in attached.stderr
    assert "(1 worker)" in attached.stderr

    plain.start_worker("--no-nanny", how=how)
    plain.until_workers_registered(3)
    with Client(plain.address, set_as_default=False) as client:
        assert len(client.run(abs, -1)) == 3


@pytest.fixture
def local() -> Iterator[Any]:
    with LocalCluster(
        n_workers=1, threads_per_worker=2, memory_limit=None, dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster


def test_a_local_cluster_trains_after_attach_with_a_module_that_was_uploaded(
    local: Any, tmp_path: Path
) -> None:
    with Client(local, set_as_default=False) as dask_client:
        dask_client.upload_file(str(Path(__file__).with_name("digits.py")))
        with pytest.warns(UserWarning, match="daemonic"):
            client = package.attach(dask_client, tmp_path)
        assert (client.runs_dir, client.workers, client.outlives) == (tmp_path, 1, False)
        local.scale(2)
        dask_client.wait_for_workers(2)
        run = client.submit(write_config(tmp_path, workload__options={"pause_s": 0.1}))
        assert run.wait().state == "done"
        assert len(workers_of(tmp_path / "digits")) == 2
        with urlopen(client.dashboard) as page:
            assert b'<a href="evodevo">' in page.read()
