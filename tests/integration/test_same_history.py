"""A run is a function of its config and seed, whatever happens to its workers and its scheduler."""

import os
import signal
from pathlib import Path

import pytest
from integration.clusters import (
    Cluster,
    Processes,
    evodevo,
    history_of,
    until,
    untimed_history,
    write_config,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """The history of a run with one worker that nothing happens to."""
    directory = tmp_path_factory.mktemp("undisturbed")
    config = write_config(directory)
    done = evodevo("launch", str(config), "--runs-dir", str(directory), "--workers", "1")
    assert done.returncode == 0, done.stderr
    return untimed_history(directory / "digits")


def began(run: Path, generation: int) -> bool:
    return any(life.outcome for lives in history_of(run).generations[generation:] for life in lives)


def test_the_history_is_the_same_with_three_workers(
    tmp_path: Path, undisturbed: list[dict[str, str]]
) -> None:
    done = evodevo("launch", str(write_config(tmp_path)), "--runs-dir", str(tmp_path), "--workers", "3")
    assert done.returncode == 0, done.stderr
    assert untimed_history(tmp_path / "digits") == undisturbed


def test_the_history_is_the_same_with_a_worker_killed_in_every_generation(
    tmp_path: Path, processes: Processes, undisturbed: list[dict[str, str]]
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    config = write_config(tmp_path, workload__options={"marks": str(marks), "pause_s": 0.5})
    launched = processes.start(
        "-m", "evodevo", "launch", str(config), "--runs-dir", str(tmp_path), "--workers", "2", log="launch"
    )
    for generation in range(4):
        until(
            lambda g=generation: len(history_of(tmp_path / "digits").generations) > g,
            f"generation {generation}",
        )
        for mark in marks.iterdir():
            mark.unlink()
        victim = until(lambda: [mark.name for mark in marks.iterdir()], "an epoch to begin")[0]
        os.kill(int(victim), signal.SIGKILL)
    assert launched.wait(90) == 0, processes.log("launch")
    history = history_of(tmp_path / "digits")
    assert sum(len(life.lost) for life in history.lives()) >= 4
    assert untimed_history(tmp_path / "digits") == undisturbed


def test_the_history_is_the_same_after_the_scheduler_was_killed_twice(
    tmp_path: Path, processes: Processes, undisturbed: list[dict[str, str]]
) -> None:
    """With a cluster of one's own, the scheduler dies with the command, and `resume` carries on."""
    config = write_config(tmp_path, workload__options={"pause_s": 0.3})
    arguments = ("launch", str(config))
    for generation in (1, 2):
        launched = processes.start("-m", "evodevo", *arguments, "--runs-dir", str(tmp_path), log="launch")
        until(lambda g=generation: began(tmp_path / "digits", g), f"an outcome in generation {generation}")
        os.kill(launched.pid, signal.SIGKILL)
        launched.wait()
        arguments = ("resume", "digits")
    assert history_of(tmp_path / "digits").end is None
    done = evodevo("resume", "digits", "--runs-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert untimed_history(tmp_path / "digits") == undisturbed


def test_a_restarted_scheduler_carries_its_runs_on_by_itself(
    tmp_path: Path, cluster: Cluster, undisturbed: list[dict[str, str]]
) -> None:
    cluster.start_scheduler()
    for _ in range(2):
        cluster.start_worker()
    config = write_config(tmp_path, workload__options={"pause_s": 0.3})
    run = cluster.runs_dir / "digits"
    submitted = evodevo("launch", str(config), "--detach", "--scheduler", cluster.address)
    assert submitted.returncode == 0, submitted.stderr
    for generation in (1, 2):
        until(
            lambda g=generation: history_of(run).completed() >= g, f"generation {generation} to be complete"
        )
        cluster.scheduler.kill()
        cluster.scheduler.wait()
        for worker in cluster.workers:
            worker.wait(60)  # a worker ends with its scheduler
        cluster.start_scheduler()
        cluster.workers = [cluster.start_worker(), cluster.start_worker()]
    until(lambda: (run / "report" / "index.html").exists(), "the report")
    assert history_of(run).end == "done"
    assert untimed_history(run) == undisturbed
