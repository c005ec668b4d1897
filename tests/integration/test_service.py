"""Several runs on one cluster, and clients that come and go."""

import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

import evodevo as package
from tests.integration.clusters import Cluster, Processes, evodevo, history_of, until, write_config

pytestmark = pytest.mark.slow


def status_of(cluster: Cluster, run: str) -> dict[str, Any]:
    told = evodevo("status", run, "--json", "--scheduler", cluster.address)
    assert told.returncode == 0, told.stderr
    found: dict[str, Any] = json.loads(told.stdout)[0]
    return found


def test_two_detached_runs_share_the_workers_and_outlive_their_client(
    tmp_path: Path, cluster: Cluster, processes: Processes
) -> None:
    cluster.start_scheduler()
    cluster.start_worker()
    cluster.start_worker()
    hold = tmp_path / "hold"
    hold.touch()
    for name in ("one", "two"):
        (tmp_path / f"began-{name}").mkdir()
        config = write_config(
            tmp_path,
            name,
            workload__options={"hold": str(hold), "marks": str(tmp_path / f"began-{name}")},
            search__strategy="scheduled",
            search__population=1,  # so it leaves a worker to the other
            search__options={"epochs": 4},
        )
        launched = evodevo("launch", str(config), "--detach", "--scheduler", cluster.address)
        assert launched.returncode == 0, launched.stderr
        assert "dashboard: http:" in launched.stdout
    for name in ("one", "two"):  # at the same time, as no epoch ends
        until(lambda n=name: list((tmp_path / f"began-{n}").iterdir()), f"an epoch of {name} on a worker")

    watcher = processes.start("-m", "evodevo", "watch", "two", "--scheduler", cluster.address, log="watch")
    until(lambda: "generation" in processes.log("watch"), "the watcher to say something")
    os.kill(watcher.pid, signal.SIGKILL)

    assert status_of(cluster, "one")["state"] == "running"
    listed = evodevo("status", "--scheduler", cluster.address)
    assert "one" in listed.stdout
    assert "two" in listed.stdout

    cancelling = processes.start(
        "-m", "evodevo", "cancel", "two", "--scheduler", cluster.address, log="cancel"
    )
    until(lambda: history_of(cluster.runs_dir / "two").end == "cancelled", "the end of the second run")
    hold.unlink()  # a worker writes the report
    assert cancelling.wait(60) == 0, processes.log("cancel")
    assert status_of(cluster, "two")["state"] == "cancelled"
    detached = evodevo("resume", "two", "--detach", "--scheduler", cluster.address)
    assert (detached.returncode, "dashboard: http:" in detached.stdout) == (0, True), detached.stderr
    resumed = evodevo("resume", "two", "--scheduler", cluster.address)
    assert resumed.returncode == 0, resumed.stderr
    assert "done" in resumed.stdout
    until(lambda: status_of(cluster, "one")["state"] == "done", "the first run to be done")


def test_cancel_and_watch_find_the_scheduler_of_a_live_run_by_themselves(
    tmp_path: Path, processes: Processes
) -> None:
    (tmp_path / "hold").touch()
    config = write_config(tmp_path, workload__options={"hold": str(tmp_path / "hold")})
    launched = processes.start(
        "-m", "evodevo", "launch", str(config), "--runs-dir", str(tmp_path), log="launch"
    )
    until(lambda: history_of(tmp_path / "digits").generations, "the first births")
    assert "running" in evodevo("status", "digits", "--runs-dir", str(tmp_path)).stdout
    cancelled = evodevo("cancel", "digits", "--runs-dir", str(tmp_path))
    assert cancelled.returncode == 0, cancelled.stderr
    assert launched.wait(60) == 0
    assert "cancelled" in evodevo("watch", "digits", "--runs-dir", str(tmp_path)).stdout
    again = evodevo("cancel", "digits", "--runs-dir", str(tmp_path))
    assert again.returncode == 2
    assert "is not running: it is cancelled" in again.stderr


def test_a_client_in_python_submits_waits_and_reads_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    with package.local(workers=1, runs_dir=tmp_path) as client:
        run = client.submit(write_config(tmp_path, search__generations=2, search__population=3))
        assert run.wait().state == "done"
        assert [other.name for other in client.runs()] == ["digits"]
        with urlopen(client.dashboard) as page:
            assert b'<a href="evodevo">' in page.read()
    frame = run.view.history
    best = package.open_run(tmp_path / "digits").best
    assert best is not None
    assert best.fom == min(life.fom for life in frame.lives() if life.fom is not None)
    schedule = package.Schedule.load(tmp_path / "digits" / "schedule.yaml")
    assert schedule == best.schedule
    assert schedule.at(schedule.epochs - 1) == best.hyperparameters
    table = package.open_run(tmp_path / "digits").history().frame()
    assert len(table) == 6
    assert set(table["status"]) == {"done"}


def test_a_second_controller_of_a_live_run_is_refused(tmp_path: Path, processes: Processes) -> None:
    (tmp_path / "hold").touch()
    config = write_config(tmp_path, workload__options={"hold": str(tmp_path / "hold")})
    processes.start("-m", "evodevo", "launch", str(config), "--runs-dir", str(tmp_path), log="launch")
    until(lambda: history_of(tmp_path / "digits").generations, "the first births")
    second = evodevo("resume", "digits", "--runs-dir", str(tmp_path))
    assert second.returncode == 2
    assert "is running" in second.stderr


def test_of_two_who_launch_a_run_with_resume_at_once_one_carries_it_out_and_the_other_is_told_who(
    tmp_path: Path, processes: Processes
) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    config = write_config(tmp_path, workload__options={"hold": str(hold)}, cluster={"workers": 1})
    options = ("launch", str(config), "--resume", "--runs-dir", str(tmp_path))
    launched = {log: processes.start("-m", "evodevo", *options, log=log) for log in ("one", "two")}
    until(lambda: any(one.poll() is not None for one in launched.values()), "one of them to end")
    loser, winner = sorted(launched, key=lambda log: launched[log].poll() is None)
    said = processes.log(loser).splitlines()[-1]
    assert launched[loser].returncode == 2, said
    assert "run 'digits' is being carried out by another controller" in said
    scheduler = history_of(tmp_path / "digits").controller["scheduler"]
    assert f"pid {launched[winner].pid}, scheduler {scheduler}" in said
    hold.unlink()
    assert launched[winner].wait(60) == 0, processes.log(winner)
    assert history_of(tmp_path / "digits").end == "done"


def test_of_many_who_cancel_or_resume_at_once_all_are_told_the_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    hold = tmp_path / "hold"
    hold.touch()
    config = write_config(tmp_path, workload__options={"hold": str(hold)})

    def told(ask: Callable[[], None]) -> str:
        try:
            ask()
        except package.UsageError as why:
            return str(why)
        return "ok"

    with package.local(workers=2, runs_dir=tmp_path) as client, ThreadPoolExecutor(4) as people:
        run = client.submit(config)
        until(lambda: history_of(tmp_path / "digits").generations, "the first births")
        cancelled = list(people.map(told, [run.cancel] * 4))
        assert set(cancelled) <= {"ok", "run 'digits' is not running: it is cancelled"}
        assert run.status().state == "cancelled"
        hold.unlink()
        resumed = list(people.map(told, [run.resume] * 4))
        assert sorted(resumed) == ["ok", *["run 'digits' is already running"] * 3]
        assert run.wait().state == "done"
