"""Two phases of one config, killed in the first, between them and in the second."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from distributed.utils import open_port

from evodevo.service.recovery import unfinished
from tests.integration.clusters import (
    Cluster,
    Processes,
    evodevo,
    history_of,
    until,
    untimed_history,
    write_config,
)

pytestmark = pytest.mark.slow

MOMENTUM = {"type": "float", "low": 0.0, "high": 0.9, "initial": 0.5}
RATE = {"type": "float", "low": 1e-3, "high": 1.0, "scale": "log", "initial": 0.05}
PHASES: list[dict[str, Any]] = [
    {"name": "one", "search": {"inherit": "none", "generations": 3, "loci": {"momentum": MOMENTUM}}},
    {"name": "two", "search": {"generations": 3, "recombine": None}},
]
RUNS = ("digits-one", "digits-two")


def config_of(directory: Path, **options: Any) -> Path:
    changes = {"search__loci": {"learning_rate": RATE}, "search__options": {}, "phases": PHASES}
    return write_config(directory, workload__options=options, **changes)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("undisturbed")
    done = evodevo("launch", str(config_of(directory)), "--runs-dir", str(directory))
    assert done.returncode == 0, done.stderr
    return directory


def test_the_second_phase_fixes_what_it_does_not_search_at_the_values_found(undisturbed: Path) -> None:
    first, second = (history_of(undisturbed / run) for run in RUNS)
    assert first.best is not None
    found, loci = first.best.birth.genome, second.config.search.loci
    assert (loci["momentum"].type, loci["momentum"].initial) == ("fixed", found["momentum"])
    assert loci["learning_rate"].initial == found["learning_rate"]
    assert (second.end, second.origin and second.origin.checkpoint) == ("done", None)
    page = (undisturbed / "digits-two" / "report" / "index.html").read_text()
    assert "digits-one" in page


def test_a_scheduler_continues_with_a_phase_whose_successor_is_missing(
    undisturbed: Path, tmp_path: Path
) -> None:
    assert unfinished(undisturbed) == []
    shutil.copytree(undisturbed / "digits-one", tmp_path / "digits-one")
    assert unfinished(tmp_path) == ["digits-one"]
    resumed = evodevo("resume", "digits", "--runs-dir", str(tmp_path))
    assert resumed.returncode == 0, resumed.stderr
    assert untimed_history(tmp_path / "digits-two") == untimed_history(undisturbed / "digits-two")


@pytest.mark.parametrize("phase", RUNS)
def test_the_history_is_the_same_where_a_phase_was_killed(
    tmp_path: Path, processes: Processes, undisturbed: Path, phase: str
) -> None:
    launched = processes.start(
        "-m", "evodevo", "launch", str(config_of(tmp_path, pause_s=0.2)), "--runs-dir", str(tmp_path),
        log="launch",
    )  # fmt: skip
    until(lambda: history_of(tmp_path / phase).over, f"a member of {phase}")
    os.killpg(launched.pid, signal.SIGKILL)
    launched.wait()
    assert history_of(tmp_path / phase).end is None
    resumed = evodevo("resume", "digits", "--runs-dir", str(tmp_path))
    assert resumed.returncode == 0, resumed.stderr
    for run in RUNS:
        assert untimed_history(tmp_path / run) == untimed_history(undisturbed / run)


def test_a_scheduler_that_is_killed_between_two_phases_begins_the_next_when_it_is_back(
    undisturbed: Path, tmp_path: Path, processes: Processes
) -> None:
    cluster = Cluster(processes, tmp_path / "runs", open_port())
    scheduler = cluster.start_scheduler()
    cluster.start_worker()
    launched = evodevo("launch", str(config_of(tmp_path)), "--detach", "--scheduler", cluster.address)
    assert launched.returncode == 0, launched.stderr
    first, second = (cluster.runs_dir / run for run in RUNS)
    until(lambda: history_of(first).end == "done", "the first phase")
    scheduler.kill()
    scheduler.wait()
    cluster.start_scheduler()
    cluster.start_worker()
    until(lambda: second.exists() and history_of(second).end == "done", "the second phase")
    until(lambda: (second / "history.csv").exists(), "its tables")
    for run in RUNS:
        assert untimed_history(cluster.runs_dir / run) == untimed_history(undisturbed / run)


def test_a_phase_that_cannot_begin_is_said(tmp_path: Path) -> None:
    bad = [PHASES[0], {**PHASES[1], "objective": {"metric": "validation_los", "mode": "min"}}]
    changes = {"search__loci": {"learning_rate": RATE}, "search__options": {}, "phases": bad}
    told = evodevo("launch", str(write_config(tmp_path, **changes)), "--runs-dir", str(tmp_path))
    assert told.returncode != 0
    assert "validation_los" in told.stdout + told.stderr
