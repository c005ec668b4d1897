"""Workers of one node and its devices, which are made up: no test here needs a GPU."""

import os
from pathlib import Path
from typing import Any

import pytest
from distributed import Client
from integration.clusters import Cluster, evodevo, until, write_config

pytestmark = pytest.mark.slow


def visible_to_each(cluster: Cluster, count: int) -> list[str]:
    """What CUDA would see in each worker, when so many have come."""
    with Client(cluster.address, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=90)
        found: dict[str, Any] = client.run(os.getenv, "CUDA_VISIBLE_DEVICES")
    return sorted(found.values())


def test_no_two_workers_share_a_device_however_they_were_started(cluster: Cluster, tmp_path: Path) -> None:
    temporary = {"TMPDIR": str(tmp_path)}  # a node's own, where its devices are claimed
    cluster.start_scheduler()
    cluster.start_worker("--nworkers", "2", CUDA_VISIBLE_DEVICES="4,GPU-7f", **temporary)
    cluster.start_worker(
        CUDA_VISIBLE_DEVICES="9,4,GPU-7f", **temporary
    )  # rotated, as `dask cuda worker` does
    assert visible_to_each(cluster, 3) == ["4", "9", "GPU-7f"]
    cluster.start_worker(CUDA_VISIBLE_DEVICES="GPU-7f,4", **temporary)
    visible_to_each(cluster, 4)
    problem = "gets no work: all devices (GPU-7f, 4) are taken by other workers: start one worker a device"
    assert problem in cluster.processes.log("scheduler")


def test_a_worker_without_a_gpu_takes_no_part_in_a_run_that_demands_one(
    cluster: Cluster, tmp_path: Path
) -> None:
    config = write_config(tmp_path, cluster__device="gpu")
    cluster.start_scheduler()
    cluster.start_worker(CUDA_VISIBLE_DEVICES="")
    visible_to_each(cluster, 1)
    refused = evodevo("launch", str(config), "--scheduler", cluster.address)
    assert refused.returncode == 2
    assert "it sees no GPU, and the config demands one (cluster.device: gpu)" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not cluster.runs_dir.exists()


def test_a_worker_that_is_told_to_go_finishes_its_epoch_first(cluster: Cluster, tmp_path: Path) -> None:
    hold, marks = tmp_path / "hold", tmp_path / "marks"
    marks.mkdir()
    hold.touch()
    config = write_config(
        tmp_path, limits__max_attempts=1, workload__options={"hold": str(hold), "marks": str(marks)}
    )
    cluster.start_scheduler()
    leaving = cluster.start_worker()
    submitted = evodevo("launch", str(config), "--scheduler", cluster.address, "--detach")
    assert submitted.returncode == 0, submitted.stderr
    until(lambda: list(marks.iterdir()), "an epoch to begin")
    leaving.terminate()
    until(lambda: "leaves: it got SIG" in cluster.processes.log("scheduler"), "the scheduler to know")
    hold.unlink()
    assert leaving.wait(60) == 0
    cluster.start_worker()
    watched = evodevo("watch", "digits", "--scheduler", cluster.address)
    assert watched.returncode == 0, watched.stderr + watched.stdout
    assert "attempts lost" not in watched.stdout
