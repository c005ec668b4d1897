"""The README's main job as a newcomer runs it, and the replay of what it found."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import evodevo as package
from tests.integration.clusters import evodevo, history_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The directory of a whole run of the quickstart, and what was printed."""
    runs_dir = tmp_path_factory.mktemp("runs")
    told = subprocess.run(
        [sys.executable, "scripts/launch.py", "configs/quickstart.yaml", "--runs-dir", str(runs_dir)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stderr == ""
    return runs_dir / "quickstart", told.stdout


def test_it_leaves_all_the_files_and_no_others(quickstart: tuple[Path, str]) -> None:
    run, _ = quickstart
    assert sorted(path.name for path in run.iterdir()) == [
        "best.safetensors", "config.yaml", "history.csv", "journal.jsonl", "journal.lock",
        "params", "report", "schedule.yaml", "soup.safetensors", "summary.json",
    ]  # fmt: skip
    assert sorted(path.name for path in (run / "report").iterdir()) == [
        "fom.png",
        "index.html",
        "schedule.png",
    ]


def test_the_table_says_what_the_summary_says(quickstart: tuple[Path, str]) -> None:
    run, printed = quickstart
    summary = json.loads((run / "summary.json").read_text())
    assert f"{summary['best_fom']:.6g} (member {summary['best_member']})" in printed
    assert f"{summary['test_metrics']['test_accuracy']:.6g} (never selected by)" in printed
    assert str(run / "schedule.yaml") in printed.replace("\n", "")
    assert "http://127.0.0.1:" in printed


def test_a_line_is_printed_for_every_generation(quickstart: tuple[Path, str]) -> None:
    _, printed = quickstart
    assert all(f"generation {number}/12" in printed for number in range(1, 13))


def test_the_population_learns_to_read_digits(quickstart: tuple[Path, str]) -> None:
    run, _ = quickstart
    summary = json.loads((run / "summary.json").read_text())
    assert summary["best_metrics"]["validation_accuracy"] > 0.95
    assert summary["test_metrics"]["test_accuracy"] > 0.95


def test_the_best_file_is_the_best_members_checkpoint(quickstart: tuple[Path, str]) -> None:
    run, _ = quickstart
    best = history_of(run).best
    assert best is not None
    assert best.outcome is not None
    assert best.outcome.checkpoint is not None
    kept = run / "params" / best.outcome.checkpoint.name
    assert (run / "best.safetensors").read_bytes() == kept.read_bytes()


def test_a_replay_says_that_one_line_cannot_repeat_means(quickstart: tuple[Path, str]) -> None:
    run, _ = quickstart
    told = evodevo("replay", "quickstart", "--runs-dir", str(run.parent))
    assert told.returncode == 0, told.stdout + told.stderr
    why = r"differ from the original's: [123] of \d+ lives started from a mean of members"
    assert re.search(f"parameters: {why}", told.stdout)
    schedule = package.Schedule.load(run / "schedule.yaml")
    again = package.Schedule.load(run.parent / "quickstart-replay" / "schedule.yaml")
    assert [again.at(epoch) for epoch in range(again.epochs)] == [
        schedule.at(epoch) for epoch in range(again.epochs)
    ]  # to its best epoch, which need not be the last one


def test_a_replay_of_a_line_without_means_ends_with_the_same_parameters_bit_for_bit(tmp_path: Path) -> None:
    small = ["--set", "search.population=3", "--set", "search.generations=3"]
    told = evodevo(
        "launch",
        str(ROOT / "configs" / "quickstart.yaml"),
        *small,
        "--set",
        "search.recombine=null",
        "--runs-dir",
        str(tmp_path),
    )
    assert told.returncode == 0, told.stdout + told.stderr
    told = evodevo("replay", "quickstart", "--runs-dir", str(tmp_path))
    assert told.returncode == 0, told.stdout + told.stderr
    assert "gap +0" in told.stdout
    assert "the same as the original's, bit for bit" in told.stdout
    run, replayed = tmp_path / "quickstart", tmp_path / "quickstart-replay"
    assert (replayed / "best.safetensors").read_bytes() == (run / "best.safetensors").read_bytes()


def test_a_replay_with_another_seed_says_that_its_parameters_differ(quickstart: tuple[Path, str]) -> None:
    run, _ = quickstart
    told = evodevo(
        "replay", "quickstart", "--seed", "1", "--run-name", "other", "--runs-dir", str(run.parent)
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert "parameters: differ from the original's: it had other seeds than --seed 1" in told.stdout
