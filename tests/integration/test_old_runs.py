"""Runs of the previous version (journal format 1) are read, reported and resumed to their ends.

`tests/data/format1` has two of them, as they were when all processes were killed, and the history.csv of one
as that version wrote it in an undisturbed run.
"""

import math
import shutil
from pathlib import Path

import pytest

from tests.integration.clusters import evodevo, history_of, untimed, untimed_history

pytestmark = pytest.mark.slow

OLD = Path(__file__).parents[1] / "data" / "format1"
COMPLETE = {"tri_parent": "2/5", "mutate_best": "4/8"}


@pytest.fixture(params=COMPLETE)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The directory of a copy."""
    return Path(shutil.copytree(OLD / request.param, tmp_path / request.param))


def test_it_can_be_read_and_reported_as_it_stands(old: Path) -> None:
    told = evodevo("status", old.name, "--runs-dir", str(old.parent))
    assert told.returncode == 0, told.stderr
    assert "interrupted" in told.stdout
    assert COMPLETE[old.name] in "".join(told.stdout.split())
    reported = evodevo("report", old.name, "--runs-dir", str(old.parent))
    assert reported.returncode == 0, reported.stderr
    rows = untimed_history(old)
    assert [row["status"] for row in rows].count("pending") == 1
    assert (old / "schedule.yaml").exists()
    assert (old / "report" / "index.html").exists()


def test_it_is_resumed_to_its_end(old: Path) -> None:
    done = {life.id: life.outcome for life in history_of(old).over}
    resumed = evodevo("resume", old.name, "--runs-dir", str(old.parent))
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    history = history_of(old)
    search = history.config.search
    assert history.end == "done"
    assert history.completed() == search.generations
    assert {life.id: life.outcome for life in history.lives() if life.id in done} == done
    assert not history.lost_attempts


def test_its_history_is_the_one_that_the_version_before_would_have_written(tmp_path: Path) -> None:
    run = Path(shutil.copytree(OLD / "tri_parent", tmp_path / "tri_parent"))
    resumed = evodevo("resume", run.name, "--runs-dir", str(tmp_path))
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    expected, found = untimed(OLD / "tri_parent.csv"), untimed_history(run)
    assert len(found) == len(expected)
    for was, now in zip(expected, found, strict=True):
        assert now.keys() == was.keys()
        assert [key for key in was if not _same(key, was[key], now[key])] == []


def _same(column: str, one: str, other: str) -> bool:
    """Compare with a tolerance: builds of torch and processors may differ in the last digits of a fom, which
    count for more in the fitness.
    """
    try:
        return math.isclose(float(one), float(other), rel_tol=1e-3 if column == "fitness" else 1e-6)
    except ValueError:
        return one == other
