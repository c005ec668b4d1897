"""Trouble of workers and disks with real processes: the history is that of a run that nothing happened to."""

import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed.utils import open_port

from tests.integration.clusters import (
    PATIENCE_S,
    Cluster,
    Processes,
    evodevo,
    history_of,
    until,
    untimed_history,
    write_config,
)

pytestmark = pytest.mark.slow
IMPATIENT = str(Path(__file__).with_name("impatient.py"))
SMALL = {"workload__use": "tiny:Tiny", "cluster__members_per_task": 1, "search__generations": 3}


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of two healthy workers."""
    directory = tmp_path_factory.mktemp("cluster")
    processes = Processes(directory)
    cluster = Cluster(processes, directory / "runs", open_port())
    cluster.start_scheduler("--preload", IMPATIENT)
    cluster.start_worker()
    cluster.start_worker()
    try:
        yield cluster
    finally:
        processes.end()


@pytest.fixture(scope="module")
def undisturbed(two_workers: Cluster, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """The history of a run that nothing happens to."""
    config = write_config(tmp_path_factory.mktemp("undisturbed"), "undisturbed", **SMALL)
    done = evodevo("launch", str(config), "--scheduler", two_workers.address)
    assert done.returncode == 0, done.stdout + done.stderr
    return untimed_history(two_workers.runs_dir / "undisturbed")


def seen(cluster: Cluster, run: str) -> dict[str, Any]:
    """The run's status, as a user's program reads it."""
    told = evodevo("status", run, "--json", "--scheduler", cluster.address)
    assert told.returncode == 0, told.stderr
    found: dict[str, Any] = json.loads(told.stdout)[0]
    return found


@pytest.mark.parametrize("way", ["oserror", "error", "module", "data"])
def test_one_broken_worker_of_three_changes_nothing_and_is_told_of(
    way: str, two_workers: Cluster, undisturbed: list[dict[str, str]], tmp_path: Path
) -> None:
    """It joins before the run, and may be the one that tries the workload."""
    broken = two_workers.start_worker(TINY_BROKEN=way)
    try:
        until(lambda: evodevo_workers(two_workers) == 3, "the broken worker")
        config = write_config(tmp_path, f"broken-{way}", **SMALL, workload__options={"pause_s": 0.3})
        done = evodevo("launch", str(config), "--scheduler", two_workers.address)
    finally:
        broken.send_signal(signal.SIGTERM)
        broken.wait(PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fails while others succeed" in done.stdout
    history = history_of(two_workers.runs_dir / f"broken-{way}")
    assert history.lost_attempts
    assert untimed_history(two_workers.runs_dir / f"broken-{way}") == undisturbed
    until(lambda: evodevo_workers(two_workers) == 2, "the broken worker to be gone")


def evodevo_workers(cluster: Cluster) -> int:
    from evodevo.service.client import connect

    with contextlib.suppress(Exception), connect(cluster.address) as client:
        return client.workers
    return 0


def test_a_member_whose_worker_is_killed_five_times_changes_nothing(
    two_workers: Cluster, undisturbed: list[dict[str, str]], tmp_path: Path
) -> None:
    kills = tmp_path / "kills"
    kills.mkdir()
    for number in range(5):
        (kills / f"kill{number}").touch()
    config = write_config(
        tmp_path, "killed", **SMALL, workload__options={"kill_first": str(kills)}, limits__max_attempts=1
    )
    launched = evodevo("launch", str(config), "--detach", "--scheduler", two_workers.address)
    assert launched.returncode == 0, launched.stderr
    until(lambda: "attempts in a row" in str(seen(two_workers, "killed")["message"]), "the run to say so")
    status = seen(two_workers, "killed")
    assert status["state"] == "waiting"
    assert status["message"].startswith("waiting: worker tcp://")
    until(lambda: history_of(two_workers.runs_dir / "killed").end, "the end", within_s=2 * PATIENCE_S)
    until(lambda: (two_workers.runs_dir / "killed" / "history.csv").exists(), "the tables")
    history = history_of(two_workers.runs_dir / "killed")
    assert history.end == "done"
    (victim,) = (life for life in history.lives() if len(life.lost) > 1)
    assert sum("was lost" in why for why in victim.lost) == 5, victim.lost
    assert untimed_history(two_workers.runs_dir / "killed") == undisturbed


def test_a_worker_that_is_stopped_hangs_nothing_and_changes_nothing(
    two_workers: Cluster, undisturbed: list[dict[str, str]], tmp_path: Path
) -> None:
    flag = tmp_path / "stop"
    flag.touch()
    config = write_config(tmp_path, "stopped", **SMALL, workload__options={"stop_once": str(flag)})
    done = evodevo("launch", str(config), "--scheduler", two_workers.address)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not flag.exists()
    history = history_of(two_workers.runs_dir / "stopped")
    assert (history.end, history.lost_attempts) == ("done", 0)
    assert untimed_history(two_workers.runs_dir / "stopped") == undisturbed
    until(lambda: evodevo_workers(two_workers) == 2, "the stopped worker to be there again, restarted")


@pytest.mark.parametrize("error", ["RuntimeError", "GeneratorExit", "KeyboardInterrupt", "SystemExit"])
def test_a_workload_that_is_wrong_fails_its_run_after_two_attempts_with_its_traceback(
    error: str, two_workers: Cluster, undisturbed: list[dict[str, str]], tmp_path: Path
) -> None:
    config = write_config(tmp_path, f"wrong-{error}", **SMALL, workload__options={"raises": error})
    done = evodevo("launch", str(config), "--scheduler", two_workers.address)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{error}: it says so" in done.stderr
    assert "tiny.py" in done.stderr
    until(lambda: evodevo_workers(two_workers) == 2, "both workers to be there")
    history = history_of(two_workers.runs_dir / f"wrong-{error}")
    assert (history.end, len(history.generations)) == ("failed", 1)
    assert all(life.attempts == 2 for life in history.lives()), "each was tried on both workers"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all that is left."""
    with open(disk / "ballast", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    return disk / "ballast"


@pytest.mark.parametrize("what", ["journal", "checkpoints"])
def test_a_run_on_a_full_disk_waits_and_says_so_and_continues_when_there_is_room_again(
    what: str, small_disk: Path, undisturbed: list[dict[str, str]], processes: Processes, tmp_path: Path
) -> None:
    cluster = Cluster(processes, small_disk / "runs" if what == "journal" else tmp_path / "runs", open_port())
    cluster.start_scheduler("--preload", IMPATIENT)
    cluster.start_worker()
    where = {"journal": tmp_path, "checkpoints": small_disk}[what] / "checkpoints"
    hold = tmp_path / "hold"
    hold.touch()
    config = write_config(
        tmp_path,
        "full",
        **SMALL,
        workload__options={"hold": str(hold)},
        checkpoints__url=str(where),
        limits__max_attempts=1,
    )
    launched = evodevo("launch", str(config), "--detach", "--scheduler", cluster.address)
    assert launched.returncode == 0, launched.stderr
    until(lambda: history_of(cluster.runs_dir / "full").births, "the founders")
    ballast = fill(small_disk)
    hold.unlink()
    until(lambda: seen(cluster, "full")["state"] == "waiting", "the run to wait")
    assert "No space left on device" in seen(cluster, "full")["message"]
    assert seen(cluster, "full")["message"].startswith("waiting: ")
    assert "waiting: " in evodevo("status", "--scheduler", cluster.address).stdout
    ballast.unlink()
    watched = evodevo("watch", "full", "--scheduler", cluster.address)
    assert watched.returncode == 0, watched.stdout + watched.stderr
    assert untimed_history(cluster.runs_dir / "full") == undisturbed


def test_a_store_that_is_read_only_for_a_while_changes_nothing(
    small_disk: Path, two_workers: Cluster, undisturbed: list[dict[str, str]], tmp_path: Path
) -> None:
    config = write_config(
        tmp_path,
        "read-only",
        **SMALL,
        workload__options={"pause_s": 0.2},
        checkpoints__url=str(small_disk / "checkpoints"),
        limits__max_attempts=1,
    )
    launched = evodevo("launch", str(config), "--detach", "--scheduler", two_workers.address)
    assert launched.returncode == 0, launched.stderr
    until(lambda: history_of(two_workers.runs_dir / "read-only").over, "the first member")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    until(lambda: history_of(two_workers.runs_dir / "read-only").lost_attempts, "an attempt to be lost")
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    watched = evodevo("watch", "read-only", "--scheduler", two_workers.address)
    assert watched.returncode == 0, watched.stdout + watched.stderr
    assert history_of(two_workers.runs_dir / "read-only").lost_attempts
    assert untimed_history(two_workers.runs_dir / "read-only") == undisturbed
