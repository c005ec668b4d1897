"""`evodevo compare` as a person types it: killed, begun again, and read."""

import csv
import json
import os
import signal
from pathlib import Path

import pytest

from tests.integration.clusters import Processes, evodevo, history_of, until, write_config

pytestmark = pytest.mark.slow
ARMS = "original,tri_parent"


def test_a_killed_comparison_is_resumed_and_comes_to_the_same_figures(
    tmp_path: Path, processes: Processes
) -> None:
    config = write_config(tmp_path, search__population=4, search__generations=3)
    command = ["compare", str(config), "--arms", ARMS, "--seeds", "2"]

    killed = tmp_path / "killed"
    first = processes.start("-m", "evodevo", *command, "--runs-dir", str(killed), log="compare")
    table = killed / "digits-compare" / "results.csv"
    until(table.exists, "the figures of the first seed")
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    done = [run for run in killed.glob("digits-*-s*") if history_of(run).end == "done"]
    assert 2 <= len(done) < 4
    finished_once = {run.name: (run / "journal.jsonl").read_bytes() for run in done}

    again = evodevo(*command, "--runs-dir", str(killed))
    assert again.returncode == 0, again.stderr
    for name, journal in finished_once.items():
        assert (killed / name / "journal.jsonl").read_bytes() == journal, "a run that was done ran again"
    assert str(table) in again.stdout.replace("\n", "")

    at_once = evodevo(*command, "--json", "--runs-dir", str(tmp_path / "whole"))
    assert at_once.returncode == 0, at_once.stderr
    assert json.loads(at_once.stdout)["seeds"] == [3, 4]
    assert "digits-original-s3: done" in at_once.stderr
    assert table.read_text() == (tmp_path / "whole" / "digits-compare" / "results.csv").read_text()
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [(row["arm"], row["seed"]) for row in rows] == [
        (arm, seed) for arm in ARMS.split(",") for seed in ("3", "4")
    ]
    page = (killed / "digits-compare" / "index.html").read_text()
    assert "improvement over original" in page

    written_again = evodevo(*command, "--runs-dir", str(killed))
    assert written_again.returncode == 0
    assert "dashboard" not in written_again.stdout, "a cluster was started for nothing"


def test_a_comparison_with_an_arm_that_fails_says_so_and_exits_with_1(tmp_path: Path) -> None:
    config = write_config(
        tmp_path,
        workload__options={"nan_above": 0.04},
        search__population=2,
        search__generations=1,
        search__options={"initial": "given"},
    )
    failed = evodevo(
        "compare", str(config), "--arms", "original", "--seeds", "1", "--runs-dir", str(tmp_path)
    )
    assert failed.returncode == 1
    assert "the comparison is not complete; digits-original-s3: no member of generation 0" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_where_a_comparison_cannot_be_written_that_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    (tmp_path / "digits-compare").write_text("in the way")
    refused = evodevo(
        "compare", str(config), "--arms", "original", "--seeds", "1", "--runs-dir", str(tmp_path)
    )
    assert refused.returncode == 2
    assert refused.stderr == f"evodevo: {tmp_path / 'digits-compare'}: File exists\n"
    assert not list(tmp_path.glob("digits-original*"))


@pytest.mark.parametrize(
    ("arms", "message"),
    [("nonsense", "unknown arm 'nonsense'"), ("cosine,cosine", "an arm is named twice")],
)
def test_arms_that_cannot_be_are_one_message_and_exit_with_2(tmp_path: Path, arms: str, message: str) -> None:
    config = write_config(tmp_path)
    refused = evodevo("compare", str(config), "--arms", arms, "--runs-dir", str(tmp_path / "runs"))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert message in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not (tmp_path / "runs").exists()
