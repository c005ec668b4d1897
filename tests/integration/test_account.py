"""The account of a real run's seconds in its summary.json."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.integration.clusters import PATIENCE_S, Processes, evodevo, history_of, until, write_config

pytestmark = pytest.mark.slow

WORKERS = 2


def summary_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return found


def accounted(summary: dict[str, Any]) -> float:
    """Seconds of all parts that say what a worker did, or why it did nothing, over what there was."""
    named = sum(value for part, value in summary["seconds"].items() if part != "elsewhere")
    return float(named / (summary["training_s"] * summary["workers"]))


def test_the_parts_of_an_undisturbed_run_add_up_to_its_time_times_its_workers(tmp_path: Path) -> None:
    config = write_config(
        tmp_path, workload={"use": "tiny:Tiny", "options": {"pause_s": 0.2}}, cluster={"workers": WORKERS}
    )
    done = evodevo("launch", str(config), "--runs-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    summary = summary_of(tmp_path / "digits")
    assert summary["workers"] == WORKERS
    assert 4 * 3 * 0.2 <= summary["training_s"] < summary["elapsed_s"]
    assert summary["seconds"]["train"] >= 4 * 5 * 0.2
    assert accounted(summary) == pytest.approx(1, abs=0.02), summary


def test_they_do_so_where_a_worker_was_killed(tmp_path: Path, processes: Processes) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    config = write_config(
        tmp_path,
        workload__options={"marks": str(marks), "pause_s": 0.3},
        search__generations=6,
        cluster={"workers": WORKERS},
    )
    run = tmp_path / "digits"
    launched = processes.start(
        "-m", "evodevo", "launch", str(config), "--runs-dir", str(tmp_path), log="launch"
    )
    until(lambda: history_of(run).completed() >= 2, "two generations")
    for mark in marks.iterdir():
        mark.unlink()
    victim = until(lambda: [mark.name for mark in marks.iterdir()], "an epoch to begin")[0]
    os.kill(int(victim), signal.SIGKILL)
    assert launched.wait(PATIENCE_S) == 0, processes.log("launch")
    summary = summary_of(run)
    assert summary["lost_attempts"] >= 1
    assert summary["workers"] == WORKERS
    assert summary["seconds"]["lost"] > 0
    assert summary["seconds"]["start_up"] > 0, "another process comes in its place"
    assert accounted(summary) == pytest.approx(1, abs=0.05), summary
