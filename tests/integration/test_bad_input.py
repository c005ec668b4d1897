"""Bad input that only a cluster can notice: one message, exit status 2, no traceback, nothing written."""

import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from distributed.utils import open_port

from tests.golden import assert_golden
from tests.integration.clusters import Cluster, Processes, evodevo, write_config

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One scheduler and one worker for all these tests: none of them gets so far as to use it."""
    directory = tmp_path_factory.mktemp("cluster")
    processes = Processes(directory)
    found = Cluster(processes, directory / "runs", open_port())
    found.start_scheduler()
    found.start_worker()
    yield found
    processes.end()


def refused(cluster: Cluster, tmp_path: Path, *arguments: str, **changes: Any) -> str:
    """Launch, expect a refusal, and return its message."""
    config = write_config(tmp_path, **changes)
    told = evodevo("launch", str(config), "--scheduler", cluster.address, *arguments)
    assert told.returncode == 2, told.stdout + told.stderr
    assert "Traceback" not in told.stderr + told.stdout
    assert told.stderr.startswith("evodevo: ")
    assert not (cluster.runs_dir / "digits").exists()
    return told.stderr


def test_a_module_that_is_not_there_is_named_with_where_it_was_looked_for(
    cluster: Cluster, tmp_path: Path
) -> None:
    message = refused(cluster, tmp_path, workload__use="digit:Digits")
    assert "'digit'" in message
    assert "digit.py" in message


def test_a_class_that_is_not_there_is_named_with_the_nearest(cluster: Cluster, tmp_path: Path) -> None:
    assert_golden("bad-input/nearest-class", refused(cluster, tmp_path, workload__use="digits:Digit"))


def test_a_metric_that_the_workload_does_not_report_is_named_with_those_it_does(
    cluster: Cluster, tmp_path: Path
) -> None:
    message = refused(cluster, tmp_path, objective__metric="validation_los")
    assert_golden("bad-input/nearest-metric", message)


def test_an_unknown_option_of_the_workload_is_named_with_the_nearest(
    cluster: Cluster, tmp_path: Path
) -> None:
    message = refused(cluster, tmp_path, workload__options={"pause": 1.0})
    assert message.startswith("evodevo: workload.options.pause: ")
    assert_golden("bad-input/unknown-option", message)


def test_a_hyperparameter_that_no_locus_gives_is_named(cluster: Cluster, tmp_path: Path) -> None:
    loci = {"momentum": {"type": "float", "low": 0.0, "high": 0.9, "initial": 0.5}}
    assert_golden("bad-input/no-locus", refused(cluster, tmp_path, search__loci=loci))


def test_a_run_that_exists_already_is_left_alone(cluster: Cluster, tmp_path: Path) -> None:
    (cluster.runs_dir / "taken").mkdir(parents=True, exist_ok=True)
    message = refused(cluster, tmp_path, "--run-name", "taken")
    assert "--run-name" in message
    assert_golden("bad-input/run-exists", message, runs=cluster.runs_dir)
    assert list((cluster.runs_dir / "taken").iterdir()) == []


def test_a_client_of_another_version_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    config = write_config(tmp_path)
    other = _another_version(tmp_path)
    told = evodevo("launch", str(config), "--scheduler", cluster.address, PYTHONPATH=str(other))
    assert told.returncode == 2
    assert "evodevo 99.0/" in told.stderr
    ours = f"99.0/{metadata.version('evodevo')}"
    assert_golden("bad-input/client-of-another-version", told.stderr, versions=ours)


def test_a_run_that_is_not_there_is_named_with_those_that_are(cluster: Cluster, tmp_path: Path) -> None:
    for command in ("status", "watch", "cancel", "resume"):
        told = evodevo(command, "nosuchrun", "--scheduler", cluster.address)
        assert told.returncode == 2, command
        assert_golden("bad-input/no-run", told.stderr.partition(";")[0], runs=cluster.runs_dir)


def test_a_worker_of_another_version_is_refused(
    tmp_path: Path, processes: Processes, unused_port: int
) -> None:
    mixed = Cluster(processes, tmp_path / "runs", unused_port)
    mixed.start_scheduler()
    mixed.start_worker(PYTHONPATH=str(_another_version(tmp_path)))
    message = refused(mixed, tmp_path)
    assert "/99.0" in message


def test_a_local_cluster_whose_workers_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('no torch for this test')")
    path = os.pathsep.join([str(tmp_path), str(REPOSITORY)])
    config = str(write_config(tmp_path))
    told = evodevo("launch", config, "--runs-dir", str(tmp_path / "runs"), PYTHONPATH=path)
    assert (told.returncode, told.stdout) == (2, "starting 2 workers and trying digits ...\n")
    assert_golden("bad-input/no-worker-can-start", told.stderr)
    assert not (tmp_path / "runs").exists()


def test_a_cluster_whose_workers_have_no_preload_is_refused(
    tmp_path: Path, processes: Processes, unused_port: int
) -> None:
    plain = Cluster(processes, tmp_path / "runs", unused_port)
    plain.start_scheduler()
    processes.start("-m", "dask", "worker", plain.address, "--host", "127.0.0.1", log="worker")
    assert "--preload workers.preload" in refused(plain, tmp_path)


def test_a_scheduler_without_the_service_says_how_to_start_it(
    tmp_path: Path, processes: Processes, unused_port: int
) -> None:
    processes.start(
        "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", str(unused_port),
        "--dashboard-address", "127.0.0.1:0", log="scheduler",
    )  # fmt: skip
    told = evodevo("launch", str(write_config(tmp_path)), "--scheduler", f"tcp://127.0.0.1:{unused_port}")
    assert told.returncode == 2
    assert "--preload evodevo.service" in told.stderr
    assert_golden("bad-input/scheduler-without-evodevo", told.stderr)
    assert "Traceback" not in told.stderr


def _another_version(directory: Path) -> Path:
    """A directory that, on the PYTHONPATH, makes evodevo seem to be version 99.0."""
    file = directory / "other" / "evodevo-99.0.dist-info" / "METADATA"
    file.parent.mkdir(parents=True)
    file.write_text("Metadata-Version: 2.1\nName: evodevo\nVersion: 99.0\n")
    return directory / "other"
