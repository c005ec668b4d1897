"""What a user sees and keeps when things go wrong: the first level."""

import os
import signal
from pathlib import Path

import pytest

from tests.golden import assert_golden
from tests.integration.clusters import (
    PATIENCE_S,
    Processes,
    evodevo,
    history_of,
    until,
    untimed_history,
    write_config,
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_with_130_and_leaves_a_run_that_can_be_resumed(
    number: int, tmp_path: Path, processes: Processes
) -> None:
    config = write_config(tmp_path, workload__options={"pause_s": 1.0}, limits={"max_attempts": 1})
    launched = processes.start(
        "-m", "evodevo", "launch", str(config), "--runs-dir", str(tmp_path), log="launch"
    )
    until(lambda: history_of(tmp_path / "digits").completed() >= 1, "the first generation")
    if number == signal.SIGINT:
        os.killpg(launched.pid, number)  # a terminal sends it to all processes of the command
    else:
        launched.terminate()
    assert launched.wait(PATIENCE_S) == 130
    log = processes.log("launch")
    assert "Traceback" not in log
    assert "evodevo resume digits" in log
    assert not any(life.lost for life in history_of(tmp_path / "digits").lives()), "it is nobody's failure"
    assert "interrupted" in evodevo("status", "digits", "--runs-dir", str(tmp_path)).stdout
    resumed = evodevo("resume", "digits", "--runs-dir", str(tmp_path))
    assert resumed.returncode == 0, resumed.stderr
    assert history_of(tmp_path / "digits").end == "done"
    again = evodevo("resume", "digits", "--runs-dir", str(tmp_path))
    assert again.returncode == 0
    assert "is done already" in again.stdout


def test_an_interrupt_before_a_run_begins_is_one_line_and_leaves_nothing(
    tmp_path: Path, processes: Processes
) -> None:
    config = write_config(tmp_path)
    runs_dir = tmp_path / "runs"
    launched = processes.start(
        "-m", "evodevo", "launch", str(config), "--runs-dir", str(runs_dir), log="launch"
    )
    until(lambda: "trying digits" in processes.log("launch"), "the line about the start")
    os.killpg(launched.pid, signal.SIGINT)
    assert launched.wait(PATIENCE_S) == 130
    assert_golden("command-line/interrupted-before-the-run", processes.log("launch"))
    assert not runs_dir.exists()


def test_a_run_with_too_many_failures_stops_with_the_first_traceback_and_status_1(tmp_path: Path) -> None:
    config = write_config(
        tmp_path, workload__options={"raise_above": 0.06}, limits={"max_failed_fraction": 0.0}
    )
    failed = evodevo("launch", str(config), "--runs-dir", str(tmp_path))
    assert failed.returncode == 1
    assert failed.stderr.startswith("evodevo: run digits failed: ")
    assert "ArithmeticError: learning rate" in failed.stderr
    assert "digits.py" in failed.stderr
    assert "Traceback" not in failed.stdout
    told = evodevo("status", "digits", "--runs-dir", str(tmp_path))
    for shown in (failed.stdout, told.stdout):
        assert "ArithmeticError:" in shown
    assert history_of(tmp_path / "digits").end == "failed"


def test_members_that_raise_or_diverge_have_fitness_0_and_the_run_continues(tmp_path: Path) -> None:
    config = write_config(
        tmp_path,
        workload__options={"raise_above": 0.15, "nan_above": 0.06},
        search__population=8,
        search__options={"initial": "spread", "initial_spread": 0.2},
        limits={"max_failed_fraction": 0.9},
    )
    done = evodevo("launch", str(config), "--runs-dir", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    history = history_of(tmp_path / "digits")
    statuses = {life.status for life in history.generations[0]}
    assert statuses == {"done", "diverged", "failed"}
    for life in history.lives():
        parent = history.by_id.get(life.birth.parent_params or "")
        assert parent is None or parent.status == "done"


def test_an_epoch_that_hangs_is_ended_by_its_time_limit_and_the_run_continues(tmp_path: Path) -> None:
    """Its thread never looks at the clock, so the worker is restarted."""
    config = write_config(
        tmp_path,
        workload__options={"hang_above": 0.08},
        limits={"epoch_timeout_s": 2.0, "max_attempts": 1, "max_failed_fraction": 0.9},
        search__generations=1,
    )
    done = evodevo("launch", str(config), "--runs-dir", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    failed = [life for life in history_of(tmp_path / "digits").lives() if life.status == "failed"]
    assert failed
    assert all("epoch_timeout_s" in (life.outcome.error or "") for life in failed if life.outcome)


def test_a_member_that_kills_its_workers_fails_after_as_many_as_it_may_lose_and_harms_no_other(
    tmp_path: Path,
) -> None:
    config = write_config(
        tmp_path,
        workload__options={"out_of_memory_above": 0.08},
        limits={"max_lost_workers": 2, "max_failed_fraction": 0.9},
        search__generations=2,
    )
    done = evodevo("launch", str(config), "--runs-dir", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    for life in history_of(tmp_path / "digits").lives():
        if life.status == "failed":
            assert len(life.lost) in (2, 3), "two alone, and perhaps one together with others before"
            assert "was lost" in life.lost[0]
        else:
            assert life.status == "done"
            assert len(life.lost) <= 1, "members that were in a task with it go alone after that"


def test_a_member_that_kills_its_workers_harms_none_of_those_that_were_in_a_task_with_it(
    tmp_path: Path,
) -> None:
    """Also where one worker is all that a member has: who has ended the worker is then tried alone."""
    histories = {}
    for members in (1, 7):
        config = write_config(
            tmp_path,
            f"by_{members}",
            workload__options={"out_of_memory_above": 0.08},
            limits={"max_lost_workers": 1, "max_failed_fraction": 0.9},
            search__generations=2,
            cluster={"workers": 2, "members_per_task": members},
        )
        done = evodevo("launch", str(config), "--runs-dir", str(tmp_path))
        assert done.returncode == 0, done.stdout + done.stderr
        histories[members] = untimed_history(tmp_path / f"by_{members}")
    assert {row["status"] for row in histories[1]} == {"done", "failed"}
    assert histories[7] == histories[1]
