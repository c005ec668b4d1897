"""Workers of one node and its devices, which are made up: no test here needs a GPU."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from tests.integration.clusters import HERE, PATIENCE_S, Cluster, evodevo, run_script, until, write_config

pytestmark = pytest.mark.slow


def visible_to_each(cluster: Cluster, count: int) -> list[str]:
    """Return what CUDA would see in each worker, once `count` workers are there."""
    with Client(cluster.address, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=PATIENCE_S)
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
    log = cluster.processes.log("scheduler")
    assert re.search(r"gets no work: all devices \(GPU-7f by process \d+, 4 by process \d+\) are in use", log)


def test_a_worker_without_a_gpu_takes_no_part_in_a_run_that_demands_one(
    cluster: Cluster, tmp_path: Path
) -> None:
    config = write_config(tmp_path, cluster__device="gpu")
    cluster.start_scheduler()
    cluster.start_worker(CUDA_VISIBLE_DEVICES="")
    visible_to_each(cluster, 1)
    refused = evodevo("launch", str(config), "--scheduler", cluster.address)
    assert refused.returncode == 2
    assert "it sees no GPU, but the config requires one (cluster.device: gpu)" in refused.stderr
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
    assert leaving.wait(PATIENCE_S) == 0
    cluster.start_worker()
    watched = evodevo("watch", "digits", "--scheduler", cluster.address)
    assert watched.returncode == 0, watched.stderr + watched.stdout
    assert "attempts lost" not in watched.stdout


@pytest.mark.parametrize("how", ["nvml", "nvidia-smi", "slurm"])
def test_jobs_that_each_see_their_gpu_as_number_0_all_get_work_and_two_on_one_gpu_do_not(
    how: str, tmp_path: Path, unused_port: int
) -> None:
    if how != "nvml" and Path("/proc/driver/nvidia/version").exists():
        pytest.skip("there is a driver here, which is asked first")
    if how == "nvml":
        compiler = shutil.which("gcc")
        if compiler is None:
            pytest.skip("no gcc here, to make an NVML")
        library = [str(HERE / "nvml.c"), "-o", str(tmp_path / "libnvidia-ml.so.1")]
        subprocess.run([compiler, "-shared", "-fPIC", *library], check=True)
    elif how == "nvidia-smi":
        program = tmp_path / "nvidia-smi"
        program.write_text('#!/bin/sh\necho "GPU 0: Made up (UUID: $FAKE_GPUS)"\n')
        program.chmod(0o755)
    member = tmp_path / "member.py"
    member.write_text("import time; time.sleep(0.5); print('FoM: 1.0')\n")
    config = write_config(
        tmp_path,
        "jobs",
        workload={"command": f"{sys.executable} {member} {{learning_rate}} {{momentum}}"},
        objective__metric="fom",
        search__generations=2,
        cluster__device="gpu",
    )
    told = run_script("devices_of_jobs.sh", how, str(tmp_path), str(config), str(unused_port))
    assert "both got work" in told
