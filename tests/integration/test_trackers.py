"""Trackers beside whole runs: what they told after a kill and a resume, and that they never stop a run."""

import importlib.util
import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.clusters import Cluster, evodevo, history_of, until, untimed_history, write_config
from tests.trackers.readers import Curves, mlflow_curves, mlflow_runs, tensorboard_curves, wandb_curves

pytestmark = pytest.mark.slow

TINY = {"workload__use": "tiny:Tiny", "search__generations": 8}
INSTALLED = [name for name in ("tensorboard", "mlflow", "wandb") if importlib.util.find_spec(name)]


def processes_of(run: Path) -> list[psutil.Process]:
    """The processes of a run's trackers."""
    found = psutil.process_iter(["cmdline"])
    return [one for one in found if {"evodevo.trackers", str(run)} <= set(one.info["cmdline"] or ())]


def points(curves: Curves) -> Curves:
    """Return the same with each curve's points sorted; duplicates are kept."""
    return {name: sorted(found) for name, found in curves.items()}


def has_of(name: str, run: Path, uri: str, experiment: str = "evodevo") -> Curves:
    match name:
        case "tensorboard":
            return points(tensorboard_curves(run / "tensorboard"))
        case "mlflow":
            return points(mlflow_curves(uri, experiment))
    return points(wandb_curves(run))


@pytest.mark.skipif(not INSTALLED, reason="no tracker's library is installed: pip install tensorboard")
def test_after_kills_and_a_resume_each_library_reads_everything_once(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = f"file:{tmp_path}/mlruns"
    options: dict[str, Any] = {"mlflow": {"uri": uri}}
    trackers = {name: options.get(name, {}) for name in INSTALLED}
    hold = tmp_path / "hold"
    hold.touch()
    held = {"hold": str(hold), "hold_from": 2}
    asked = {"run__trackers": trackers, "run__losses_per_epoch": 3}
    config = write_config(tmp_path, "told", **TINY, workload__options=held, **asked)
    run = cluster.runs_dir / "told"
    cluster.start_scheduler()
    cluster.start_worker()
    begun = evodevo("launch", str(config), "--detach", "--scheduler", cluster.address)
    assert begun.returncode == 0, begun.stderr
    until(lambda: history_of(run).completed() >= 2, "two generations")
    until(lambda: len(processes_of(run)) == len(INSTALLED), "a process for each tracker")
    for process in processes_of(run):  # they are restarted while the run lasts
        process.kill()
    if "tensorboard" in INSTALLED:
        until(lambda: list((run / "tensorboard").rglob("*.evodevo")), "TensorBoard's files")
    os.kill(cluster.scheduler.pid, signal.SIGKILL)
    cluster.scheduler.wait()
    hold.unlink()
    cluster.start_scheduler()
    cluster.start_worker()  # the first may have ended with its scheduler
    until(lambda: history_of(run).end == "done", "the end of the run")
    until(lambda: not processes_of(run), "the ends of all trackers")
    cluster.scheduler.terminate()

    assert not list((run / "trackers").glob("*.problem"))
    assert len(history_of(run).over) == 40
    for name in INSTALLED:
        before = has_of(name, run, uri)
        elsewhere = ["--set", "experiment=again"] if name == "mlflow" else []
        told = evodevo("track", "told", name, *elsewhere, "--runs-dir", str(cluster.runs_dir))
        assert told.returncode == 0, told.stderr
        assert before == has_of(name, run, uri, "again"), name
        assert any("losses/train_loss" in curve for curve in before), name
    if "mlflow" in INSTALLED:
        assert {found.info.status for found in mlflow_runs(uri).values()} == {"FINISHED"}


def test_a_tracker_that_fails_says_so_and_the_run_has_the_same_history(tmp_path: Path) -> None:
    histories = []
    for name, trackers in (("alone", {}), ("told", {"unhappy:Broken": {}})):
        config = write_config(tmp_path, name, **TINY, run__trackers=trackers)
        done = evodevo("launch", str(config), "--runs-dir", str(tmp_path / "runs"))
        assert done.returncode == 0, done.stderr
        histories.append(untimed_history(tmp_path / "runs" / name))
    assert histories[0] == histories[1]
    assert "tracker unhappy:Broken: ConnectionError: nobody answers" in done.stderr
    status = evodevo("status", "told", "--json", "--runs-dir", str(tmp_path / "runs"))
    assert json.loads(status.stdout)[0]["message"].endswith("ConnectionError: nobody answers")


def test_a_tracker_whose_process_is_killed_comes_back(tmp_path: Path) -> None:
    out = tmp_path / "told.txt"
    options = {"pause_s": 0.5}
    trackers = {"unhappy:Mortal": {"out": str(out)}}
    config = write_config(tmp_path, "told", **TINY, workload__options=options, run__trackers=trackers)
    done = evodevo("launch", str(config), "--runs-dir", str(tmp_path / "runs"))
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "told"
    until(lambda: not processes_of(run), "the end of the tracker")
    assert out.read_text().splitlines() == [life.id for life in history_of(run).over]


def test_a_run_that_had_no_tracker_is_told_afterwards(tmp_path: Path) -> None:
    config = write_config(tmp_path, "told", **TINY)
    assert evodevo("launch", str(config), "--runs-dir", str(tmp_path)).returncode == 0
    out = tmp_path / "told.txt"
    out.touch()
    done = evodevo("track", "told", "unhappy:Mortal", "--set", f"out={out}", "--runs-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert len(out.read_text().splitlines()) == 40
    wrong = evodevo("track", "told", "unhappy:Mortal", "--runs-dir", str(tmp_path))
    assert (wrong.returncode, "unhappy:Mortal.out: is missing" in wrong.stderr) == (2, True)
    failed = evodevo("track", "told", "unhappy:Broken", "--runs-dir", str(tmp_path))
    assert (failed.returncode, "nobody answers" in failed.stderr) == (1, True)
