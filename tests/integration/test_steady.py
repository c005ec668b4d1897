"""A steady-state run in separate processes: what is done is kept when all of them are killed."""

import csv
import signal
from pathlib import Path

import pytest
from distributed.utils import open_port

from tests.integration.clusters import (
    Cluster,
    Held,
    Processes,
    evodevo,
    history_of,
    until,
    write_config,
)

pytestmark = pytest.mark.slow
MEMBERS = 8


def test_a_steady_run_resumes_where_it_was_after_everything_was_killed(
    tmp_path: Path, processes: Processes
) -> None:
    held = Held(tmp_path)
    config = write_config(
        tmp_path,
        workload__options={**held.options, "pause_s": 0.1},
        search__strategy="mutate_best",
        search__population=1,
        search__generations=MEMBERS,
        search__options={},
        limits={"max_attempts": 1},
    )
    run = tmp_path / "digits"
    checked = evodevo("check", str(config))
    assert checked.returncode == 0, checked.stderr
    assert "mutate_best, 8 members, each trained from scratch" in checked.stdout

    first = processes.start("-m", "evodevo", "launch", str(config), "--runs-dir", str(tmp_path), log="first")
    held.until_epochs_began(2)
    assert len(history_of(run).generations) == 2, "nobody is born without a worker"
    held.file.unlink()
    until(lambda: history_of(run).completed() >= 3, "three members")
    until(lambda: (run / "evolve.csv").exists(), "the files that are written after every member")
    assert "# Best generation: " in (run / "hyp_evolved.yaml").read_text()
    held.file.touch()
    processes.end()
    assert first.returncode == -signal.SIGKILL
    done = {life.id: life.birth for life in history_of(run).lives() if life.outcome}

    cluster = Cluster(processes, tmp_path, open_port())
    cluster.start_scheduler()
    cluster.start_worker()
    cluster.start_worker()
    until(
        lambda: history_of(run).controller.get("scheduler") == cluster.address,
        "the run to resume",
    )
    held.until_epochs_began(2)
    held.file.unlink()
    assert evodevo("watch", "digits", "--scheduler", cluster.address).returncode == 0

    history = history_of(run)
    assert (history.end, history.completed(), len(history.generations)) == ("done", MEMBERS, MEMBERS)
    assert {life.id: life.birth for life in history.lives() if life.id in done} == done
    assert all(life.birth.parent_a for life in list(history.lives())[4:])
    with open(run / "evolve.csv", newline="") as file:
        assert len(list(csv.reader(file))) == 1 + MEMBERS
    best = history.best
    assert best
    assert f"Best generation: {best.generation}\n" in (run / "hyp_evolved.yaml").read_text()
