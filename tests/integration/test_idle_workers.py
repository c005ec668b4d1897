"""Workers that get no work from a run, and who says so."""

import json
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from distributed import Client

from tests.integration.clusters import Cluster, evodevo, history_of, until, write_config

pytestmark = pytest.mark.slow

WHY = "its data differ from the run's (train)"


def seen(cluster: Cluster, run: str) -> dict[str, Any]:
    told = evodevo("status", run, "--json", "--scheduler", cluster.address)
    assert told.returncode == 0, told.stderr
    found: dict[str, Any] = json.loads(told.stdout)[0]
    return found


def page_of(cluster: Cluster) -> str:
    with Client(cluster.address, set_as_default=False) as client:
        return str(client.dashboard_link).removesuffix("/status")


def test_a_worker_that_is_unfit_for_a_run_takes_no_part_in_it_costs_no_attempt_and_is_told_of_everywhere(
    cluster: Cluster, tmp_path: Path
) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    config = write_config(
        tmp_path,
        workload__use="tiny:Tiny",
        workload__options={"hold": str(hold)},
        cluster__members_per_task=1,
        limits__max_attempts=2,
    )
    cluster.start_scheduler()
    fit = cluster.start_worker()
    launched = evodevo("launch", str(config), "--detach", "--scheduler", cluster.address)
    assert launched.returncode == 0, launched.stderr
    cluster.start_worker(TINY_UNFIT=WHY)
    until(lambda: seen(cluster, "digits")["unused_workers"] == 1, "the unfit worker to be known")

    status = seen(cluster, "digits")
    (why,) = status["unused_why"]
    assert why.startswith("worker tcp://")
    assert why.endswith(f": {WHY}")
    assert (status["state"], status["workers"], status["message"]) == ("running", 1, None)
    with urlopen(f"{page_of(cluster)}/evodevo/runs.json") as answer:
        (run,) = json.load(answer)
    assert (run["unused_workers"], run["unused_why"]) == (1, [why])
    listed = evodevo("status", "--scheduler", cluster.address)
    assert f"no work from digits for {why}" in listed.stdout
    log = cluster.processes.log("scheduler")
    assert log.count("gets no work from run digits") == 1

    fit.kill()  # no fit worker is left
    until(lambda: seen(cluster, "digits")["state"] == "waiting", "the run to wait")
    assert why in seen(cluster, "digits")["message"]
    hold.unlink()
    cluster.start_worker()
    watched = evodevo("watch", "digits", "--scheduler", cluster.address)
    assert watched.returncode == 0, watched.stderr
    assert "1 worker gets no work; worker" in watched.stdout
    history = history_of(cluster.runs_dir / "digits")
    assert history.end == "done"
    assert not any(WHY in text for life in history.lives() for text in life.lost)
