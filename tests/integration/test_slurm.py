"""Runs on a real Slurm of three nodes; jobs are cancelled, preempted, out of time and dead on arrival."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client
from distributed.utils import open_port

from tests.integration.clusters import (
    HERE,
    PATIENCE_S,
    Held,
    Processes,
    evodevo,
    history_of,
    until,
    untimed_history,
    write_config,
)
from tests.integration.slurm import MISSING, PrivateSlurm
from workers.departure import ends_at

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MISSING is not None, reason=f"no {MISSING} here: apt-get install slurm-wlm munge"),
    pytest.mark.skipif(os.getuid() != 0, reason="a private Slurm needs root"),
]
SBATCH = HERE.parent.parent / "scripts" / "slurm" / "evodevo.sbatch"
JOBS = {"gpus": 0, "memory": "500MB", "walltime": "00:05:00", "max_workers": 2, "interface": "lo"}


@pytest.fixture(scope="module")
def slurm() -> Iterator[PrivateSlurm]:
    found = PrivateSlurm()
    try:
        found.start()
        yield found
    finally:
        found.stop()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """The history of a run with local workers that nothing happens to."""
    directory = tmp_path_factory.mktemp("undisturbed")
    done = evodevo("launch", str(write_config(directory)), "--runs-dir", str(directory))
    assert done.returncode == 0, done.stderr
    return untimed_history(directory / "digits")


def test_worker_jobs_are_replaced_whatever_becomes_of_them_and_the_history_is_the_same(
    slurm: PrivateSlurm, tmp_path: Path, processes: Processes, undisturbed: list[dict[str, str]]
) -> None:
    held = Held(tmp_path)
    first = tmp_path / "first"
    dead_on_arrival = f"[ -e {first} ] || {{ touch {first}; exit 1; }}"
    config = write_config(
        tmp_path,
        workload__options=held.options,
        limits__max_attempts=1,  # none of this is a member's failure
        cluster__slurm={**JOBS, "prologue": [dead_on_arrival]},
    )
    launched = processes.start(
        "-m", "evodevo", "launch", str(config), "--slurm", "--runs-dir", str(tmp_path), log="launch"
    )
    held.until_epochs_began(2)
    assert first.exists()
    cancelled, out_of_time = slurm.jobs("R")
    with Client(history_of(tmp_path / "digits").controller["scheduler"], set_as_default=False) as client:
        ends = client.run(ends_at)
    assert all(0 < end - time.time() <= 300 for end in ends.values()), "workers know their jobs' walltime"

    slurm.run("scontrol", "update", f"jobid={out_of_time}", "endtime=now+2seconds")  # it looks every 30 s
    slurm.run("scancel", cancelled)
    until(lambda: not {cancelled, out_of_time} & set(slurm.jobs()), "the end of both jobs")
    until(lambda: len(slurm.jobs("R")) == 2, "jobs in their places")
    held.until_epochs_began(2)

    preempted = slurm.jobs("R")
    slurm.run("sbatch", "-p", "urgent", "-N", "3", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 2")
    until(lambda: not set(preempted) & set(slurm.jobs()), "the preempted jobs' end")
    held.kill()
    held.file.unlink()
    assert launched.wait(PATIENCE_S) == 0, processes.log("launch")

    assert untimed_history(tmp_path / "digits") == undisturbed
    lives = list(history_of(tmp_path / "digits").lives())
    lost = [why for life in lives for why in life.lost]
    assert sum(life.preempted for life in lives) == len(lost) >= 3
    assert any(f"Slurm ends its job {cancelled} (SIG" in why for why in lost)
    until(lambda: not slurm.jobs(), "all jobs to be gone")


def test_members_that_two_jobs_train_together_are_those_of_two_local_workers(
    slurm: PrivateSlurm, tmp_path: Path
) -> None:
    gang = {"workload__use": "nets:Plain", "cluster__workers_per_member": 2, "cluster__slurm": JOBS}
    found = []
    for name, where in (("local", ["--workers", "2"]), ("jobs", ["--slurm"])):
        config = write_config(tmp_path, name, search__population=3, search__generations=2, **gang)
        done = evodevo("launch", str(config), *where, "--runs-dir", str(tmp_path))
        assert done.returncode == 0, done.stderr
        found.append(untimed_history(tmp_path / name))
    assert found[0] == found[1]
    until(lambda: not slurm.jobs(), "all jobs to be gone")


def test_a_run_in_one_batch_job_resumes_when_the_job_is_submitted_again_or_requeued(
    slurm: PrivateSlurm, tmp_path: Path, undisturbed: list[dict[str, str]]
) -> None:
    held, runs, output = Held(tmp_path), tmp_path / "runs", tmp_path / "job.out"
    config = write_config(tmp_path, workload__options=held.options, limits__max_attempts=1)

    def submit() -> str:
        environment = {
            **os.environ,
            "EVODEVO_RUNS_DIR": str(runs),
            "EVODEVO_INTERFACE": "lo",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        done = subprocess.run(
            [
                "sbatch", "--parsable", "--gres=none", "--cpus-per-task=1", "--mem=1G", "--time=5",
                f"--output={output}", f"--chdir={HERE}", str(SBATCH), str(config),
            ],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.strip()

    killed = submit()
    held.until_epochs_began(2)
    slurm.run("scancel", killed)
    until(lambda: not slurm.jobs(), "the end of the cancelled job")

    job = submit()
    held.until_epochs_began(2)
    slurm.run("scancel", "--signal=USR1", "--batch", job)  # as Slurm warns of the end
    until(lambda: "finish their epochs" in output.read_text(), "the warning to arrive")
    held.file.unlink()
    until(lambda: slurm.jobs("PD") == [job], "the job to queue itself again")
    assert any(life.outcome for life in history_of(runs / "digits").lives())

    said = len(output.read_text())
    # Slurm lets two minutes pass; a node takes no job back within the second in which it ended it.
    slurm.run("scontrol", "update", f"jobid={job}", "starttime=now+5")
    until(lambda: slurm.jobs("R") == [job], "the job to begin again")
    until(lambda: (runs / "digits" / "history.csv").exists(), "the end of the run")
    until(lambda: not slurm.jobs(), "the end of the job")
    assert "done, generation 4/4" in output.read_text()[said:]
    for noise in ("Job step aborted", "slurmstepd", "CANCELLED", "Killed"):
        assert noise not in output.read_text()[said:]
    assert untimed_history(runs / "digits") == undisturbed
    assert not any(life.lost for life in history_of(runs / "digits").lives())


def test_a_slurm_whose_controller_is_down_is_one_message(slurm: PrivateSlurm, tmp_path: Path) -> None:
    port = f"SlurmctldPort={open_port()}"
    text = (slurm.directory / "slurm.conf").read_text()
    (tmp_path / "slurm.conf").write_text(re.sub(r"SlurmctldPort=\d+", port, text))
    config = write_config(tmp_path, cluster__slurm=JOBS)
    options = ("--slurm", "--runs-dir", str(tmp_path / "runs"))
    refused = evodevo("launch", str(config), *options, SLURM_CONF=str(tmp_path / "slurm.conf"))
    assert refused.returncode == 2
    assert refused.stderr.startswith("evodevo: cluster.slurm: Slurm does not answer (Slurmctld(primary)")
    assert len(refused.stderr.splitlines()) == 1


def test_jobs_that_sbatch_refuses_are_one_message_and_nothing_is_written(
    slurm: PrivateSlurm, tmp_path: Path
) -> None:
    config = write_config(tmp_path, cluster__slurm={**JOBS, "partition": "nowhere"})
    refused = evodevo("launch", str(config), "--slurm", "--runs-dir", str(tmp_path / "runs"))
    assert refused.returncode == 2
    assert "cluster.slurm: sbatch refuses these jobs: " in refused.stderr
    assert "invalid partition specified: nowhere" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "runs" / "digits").exists()
