"""Checkpoints on S3: whole runs, killed and resumed, and the content of the bucket at the end."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from evodevo.run.retention import needed_checkpoints
from tests.integration.clusters import (
    Processes,
    evodevo,
    history_of,
    until,
    untimed_history,
    write_config,
)
from tests.object_store import BUCKET, s3_server

pytestmark = pytest.mark.slow

URL = f"s3://{BUCKET}/some/where"
QUICKSTART = str(Path(__file__).parents[2] / "configs" / "quickstart.yaml")
SHORT = ("--set", "search.generations=3", "--set", "search.population=3")


@pytest.fixture
def s3() -> Iterator[str]:
    with s3_server() as address:
        yield address


def objects(prefix: str = "") -> set[str]:
    """What is in the bucket, without the bucket's name."""
    fs = S3FileSystem()
    fs.invalidate_cache()
    return {path.removeprefix(f"{BUCKET}/") for path in fs.find(f"{BUCKET}/{prefix}")}


def kill_in_mid_run(processes: Processes, run: Path, *arguments: str) -> None:
    """Launch, and kill the process that has the scheduler when the second generation has an outcome."""
    launched = processes.start(
        "-m", "evodevo", "launch", *arguments, "--runs-dir", str(run.parent), log="launch"
    )

    def in_the_second() -> bool:
        return any(life.outcome for lives in history_of(run).generations[1:] for life in lives)

    until(lambda: in_the_second() or launched.poll() is not None, "the second generation")
    os.kill(launched.pid, signal.SIGKILL)
    launched.wait()
    assert history_of(run).end is None, processes.log("launch")


def succeed(*arguments: str) -> str:
    told = evodevo(*arguments)
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


def kept_by(run: Path) -> set[str]:
    """The objects that a run of that history needs."""
    history = history_of(run)
    return {f"some/where/{run.name}-{history.run_id}/{name}" for name in needed_checkpoints(history)}


def test_a_killed_run_is_resumed_from_s3_and_has_the_history_of_a_local_one(
    tmp_path: Path, processes: Processes, s3: str
) -> None:
    local = tmp_path / "local" / "digits"
    small = {"search__generations": 3, "search__population": 4}
    succeed("launch", str(write_config(tmp_path, **small)), "--workers", "1", "--runs-dir", str(local.parent))
    run = tmp_path / "digits"
    config = write_config(tmp_path, workload__options={"pause_s": 0.3}, checkpoints__url=URL, **small)
    kill_in_mid_run(processes, run, str(config))
    succeed("resume", "digits", "--runs-dir", str(tmp_path))
    assert untimed_history(run) == untimed_history(local)
    assert not (run / "params").exists()
    assert objects() == kept_by(run)
    best = (run / "best.safetensors").read_bytes()
    assert best == (local / "best.safetensors").read_bytes()

    (run / "best.safetensors").unlink()
    succeed("report", "digits", "--runs-dir", str(tmp_path))
    assert (run / "best.safetensors").read_bytes() == best
    assert "bit for bit" in succeed("replay", "digits", "--runs-dir", str(tmp_path))
    assert objects() == kept_by(run) | kept_by(tmp_path / "digits-replay")
    assert "kept 2" in succeed("prune", "digits", "--runs-dir", str(tmp_path))
    assert (
        len(objects("some/where/digits-" + history_of(run).run_id)) == 2
    )  # the best member's and the soup's


def test_the_quickstart_is_killed_and_resumed_with_its_checkpoints_on_s3(
    tmp_path: Path, processes: Processes, s3: str
) -> None:
    local = tmp_path / "local" / "quickstart"
    succeed("launch", QUICKSTART, *SHORT, "--workers", "1", "--runs-dir", str(local.parent))
    run = tmp_path / "quickstart"
    kill_in_mid_run(processes, run, QUICKSTART, *SHORT, "--set", f"checkpoints.url={URL}")
    succeed("resume", "quickstart", "--runs-dir", str(tmp_path))
    assert untimed_history(run) == untimed_history(local)
    assert (run / "best.safetensors").read_bytes() == (local / "best.safetensors").read_bytes()
    assert objects() == kept_by(run)


@pytest.mark.parametrize(
    ("environment", "url", "reason"),
    [
        ({}, "s3://another-bucket/x", "The specified bucket does not exist"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, URL, "Unable to locate credentials"),
        ({}, "s4://bucket/x", "Protocol not known: s4"),
    ],
)
def test_a_store_that_cannot_be_used_is_refused_before_anything_is_written(
    tmp_path: Path, s3: str, environment: dict[str, str], url: str, reason: str
) -> None:
    config = write_config(tmp_path, checkpoints__url=url)
    runs = tmp_path / "runs"
    told = evodevo("launch", str(config), "--runs-dir", str(runs), HOME=str(tmp_path), **environment)
    assert told.returncode == 2, told.stdout + told.stderr
    assert told.stderr.startswith("evodevo: checkpoints.url")
    assert told.stderr.count("\n") == 1
    assert f"{url}/digits-: " in told.stderr
    assert reason in told.stderr
    assert not (runs / "digits").exists()
    assert objects() == set()
    assert S3FileSystem().ls("") == [BUCKET]
