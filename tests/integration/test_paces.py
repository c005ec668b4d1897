"""Paces other than the paper's, and generations of several epochs: real runs, their reports and replays."""

import json
from pathlib import Path
from typing import Any

import pytest

import evodevo as package
from tests.integration.clusters import evodevo, history_of, write_config

pytestmark = pytest.mark.slow

POPULATION, GENERATIONS = 4, 3


def launch(directory: Path, **changes: Any) -> Path:
    """The directory of a run that is done."""
    config = write_config(
        directory,
        workload={"use": "tiny:Tiny", "options": {}},
        search__population=POPULATION,
        search__generations=GENERATIONS,
        **changes,
    )
    done = evodevo("launch", str(config), "--runs-dir", str(directory))
    assert done.returncode == 0, done.stdout + done.stderr
    return directory / "digits"


def replay(run: Path) -> str:
    told = evodevo("replay", run.name, "--runs-dir", str(run.parent))
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


@pytest.mark.parametrize("pace", [{"search__pace": "pools", "search__pool": 2}, {"search__pace": "steady"}])
def test_a_run_without_a_barrier_is_carried_out_reported_and_replayed(
    tmp_path: Path, pace: dict[str, Any]
) -> None:
    run = launch(tmp_path, **pace)
    history = history_of(run)
    assert (history.end, history.completed()) == ("done", GENERATIONS)
    assert all(life.status == "done" for life in history.lives())
    assert any(life.birth.parent_params for life in history.generations[-1])
    assert "bit for bit" in replay(run)


@pytest.mark.parametrize(
    ("search", "epochs"),
    [
        ({"search__legs": 2}, 2),
        ({"search__epochs_per_generation": 2}, 2),
        ({"search__legs": 2, "search__epochs_per_generation": 2}, 4),
        ({"search__steps_per_generation": 3}, 1),
    ],
)
def test_a_generation_of_another_length_is_carried_out_reported_and_replayed(
    tmp_path: Path, search: dict[str, Any], epochs: int
) -> None:
    run = launch(tmp_path, **search)
    history = history_of(run)
    assert (history.end, history.completed()) == ("done", GENERATIONS)
    last = history.generations[-1][0]
    assert len(last.legs) == search.get("search__legs", 1) - 1
    assert history.epochs_trained(last) == GENERATIONS * epochs
    reported = evodevo("report", run.name, "--runs-dir", str(tmp_path))
    assert reported.returncode == 0, reported.stderr
    summary = json.loads((run / "summary.json").read_text())
    assert summary["members"] == POPULATION * GENERATIONS
    assert "bit for bit" in replay(run)


@pytest.mark.parametrize("search", [{"search__legs": 2}, {"search__epochs_per_generation": 2}])
def test_the_schedule_of_a_run_with_longer_generations_has_an_entry_for_every_epoch(
    tmp_path: Path, search: dict[str, Any]
) -> None:
    run = launch(tmp_path, **search)
    best = history_of(run).best
    assert best is not None
    schedule = package.Schedule.load(run / "schedule.yaml")
    assert schedule.epochs == 2 * (best.generation + 1)
