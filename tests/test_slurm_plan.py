"""Which Slurm jobs there should be, from what Slurm and the scheduler say."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evodevo.config import RunConfig, parse
from evodevo.errors import UsageError
from evodevo.service import slurm
from evodevo.service.slurm import ENDS_AT, LONGEST_PAUSE_S, PERIOD_S, plan, round_interval_s
from tests.configs import small
from tests.golden import raises_golden

REPOSITORY = Path(__file__).resolve().parents[1]
CTRL_C = """\
import signal
signal.signal(signal.SIGINT, handler := lambda number, frame: None)
from evodevo.service.slurm import _cluster_class
_cluster_class()
assert signal.getsignal(signal.SIGINT) is handler
"""


def test_rounds_get_further_apart_while_jobs_fail_for_weeks_if_need_be() -> None:
    assert [round_interval_s(failures) for failures in (0, 1, 2)] == [PERIOD_S, 2 * PERIOD_S, 4 * PERIOD_S]
    assert round_interval_s(2000) == LONGEST_PAUSE_S


def change(
    jobs: dict[str, str | None], wanted: int, queued: str, registered: str = "", idle: str = ""
) -> tuple[set[str], int]:
    found = plan(jobs, set(queued.split()), set(registered.split()), set(idle.split()), wanted)
    return set(found.drop), found.target


def test_what_is_missing_is_submitted() -> None:
    assert change({}, 3, "") == (set(), 3)
    assert change({"a": "1"}, 3, "1") == (set(), 3)


def test_a_job_that_slurm_does_not_know_any_more_is_replaced_whether_its_worker_came_or_not() -> None:
    assert change({"a": "1", "b": "2"}, 2, "2", registered="b") == ({"a"}, 2)
    assert change({"a": "1", "b": "2"}, 2, "2", registered="a b") == ({"a"}, 2)


def test_a_job_that_is_being_submitted_is_waited_for() -> None:
    assert change({"a": None, "b": "2"}, 2, "2") == (set(), 2)


def test_of_too_many_those_go_that_have_not_come_yet_and_then_the_idle_but_no_busy_one() -> None:
    jobs = {"busy": "1", "idle": "2", "coming": "3"}
    assert change(jobs, 2, "1 2 3", "busy idle", "idle") == ({"coming"}, 2)
    assert change(jobs, 1, "1 2 3", "busy idle", "idle") == ({"coming", "idle"}, 1)
    busy = {"a": "1", "b": "2"}
    assert change(busy, 1, "1 2", "a b") == (set(), 2)


def test_dask_jobqueue_does_not_take_ctrl_c_away() -> None:
    subprocess.run([sys.executable, "-c", CTRL_C], check=True)


def config_of(**cluster: Any) -> RunConfig:
    return parse(small({"cluster": cluster}))


@pytest.mark.parametrize(("gpus", "workers"), [(1, 3), (0, 1)])
def test_a_job_with_a_gpu_has_the_workers_that_share_it_and_tells_them_how_many_they_are(
    tmp_path: Path, gpus: int, workers: int
) -> None:
    config = config_of(workers_per_device=3, slurm={"gpus": gpus})
    found = slurm._arguments(config, tmp_path)
    assert (found["cores"], found["processes"]) == (workers, workers)
    assert f"export EVODEVO_WORKERS_PER_DEVICE={workers}" in found["job_script_prologue"]
    assert ("--gres=gpu:1" in found["job_extra_directives"]) == bool(gpus)


def test_workers_belong_to_the_job_whose_name_theirs_begins_with() -> None:
    spec: dict[str, Any] = {"j-1": {"group": ["-0", "-1"]}, "j-11": {"group": ["-0", "-1"]}}
    names = {"tcp://a": "j-1-1", "tcp://b": "j-11-0", "tcp://c": "j-1-0", "tcp://d": "other"}
    workers = {address: SimpleNamespace(name=name) for address, name in names.items()}
    scheduler = SimpleNamespace(workers=workers, plugins={"evodevo": None})
    cluster = SimpleNamespace(worker_spec=spec, scheduler=scheduler)
    found = slurm._Keeper(cluster, config_of(workers_per_device=2))._workers_by_job()
    assert found == {"j-1": ["tcp://a", "tcp://c"], "j-11": ["tcp://b"], "other": ["tcp://d"]}


@pytest.mark.parametrize("end", ["2030-01-01T00:00:00", "NONE", "N/A", ""])
@pytest.mark.parametrize("where", ["evodevo.sbatch", "launch --slurm"])
def test_a_job_without_an_end_goes_on_and_its_workers_are_told_none(
    where: str, end: str, tmp_path: Path
) -> None:
    (tmp_path / "squeue").write_text(f"#!/bin/sh\necho '{end}'\n")
    (tmp_path / "squeue").chmod(0o755)
    script = (REPOSITORY / "scripts" / "slurm" / "evodevo.sbatch").read_text()
    line = next(line for line in script.splitlines() if "squeue" in line)
    line = ENDS_AT if where == "launch --slurm" else line
    told = subprocess.run(
        ["bash", "-c", f'set -euo pipefail\n{line}\necho "${{EVODEVO_ENDS_AT-unset}}"'],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "TZ": "UTC"},
        capture_output=True,
        text=True,
    )
    assert (told.returncode, told.stdout) == (0, "1893456000\n" if end.startswith("2030") else "unset\n")


def test_fewer_jobs_than_a_member_needs_are_refused(tmp_path: Path) -> None:
    config = parse(small({"cluster.workers_per_member": 4, "cluster.slurm": {"max_workers": 3}}))
    with (
        raises_golden("slurm/too-few-workers-for-a-gang", UsageError),
        slurm.slurm(config, tmp_path),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
