"""scripts/bench/original_and_best.py: what a training cost, its table, and the paper's cases."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from evodevo.config_file import load
from evodevo.run.records import Outcome

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(REPOSITORY / "scripts" / "bench")
    return importlib.import_module("original_and_best")


def test_a_training_that_reached_its_target_has_cost_no_more_than_the_limit(bench: Any) -> None:
    progress = {"seconds": 2.5, "steps": 40.0}
    metrics = {"flops": 3e12, "parameters": 10.0}
    reached = bench.figures(Outcome("done", 2.5, metrics, progress=progress), 4.0)
    assert reached == {"fom": 2.5, "reached": 1, **progress, **metrics}
    assert bench.figures(Outcome("done", 4.1, metrics, progress=progress), 4.0)["reached"] == 0
    assert bench.figures(Outcome("failed"), 4.0)["reached"] == 0


def test_without_a_target_the_seconds_are_those_of_training(bench: Any) -> None:
    found = bench.figures(Outcome("done", 0.1, seconds={"train": 3.0, "eval": 1.0}), None)
    assert (found["seconds"], found["reached"], found["steps"]) == (3.0, None, None)


def row(seconds: float, **more: float) -> dict[str, float | None]:
    return {**dict.fromkeys(("steps", "flops", "parameters", "reached", "fom")), "seconds": seconds, **more}


def test_the_table_has_means_their_spread_and_how_much_less_than_the_original(bench: Any) -> None:
    measured = {
        "original": [row(8.0, reached=1, flops=4e12), row(12.0, reached=1, flops=4e12)],
        "best of the run": [row(2.0, reached=1, flops=1e12), row(2.0, reached=0, flops=1e12)],
    }
    head, _, first, second = bench.table(measured, "seconds_to_target", True)
    cells = [cell.strip() for cell in head.split("|")[1:-1]]
    assert cells == ["", "parameters", "reached", *("seconds", "less", "steps", "less", "TFLOPs", "less")]
    assert [cell.strip() for cell in first.split("|")[1:-1]] == [
        *("original", "", "2 of 2", "10 ± 2.8", "", "", "", "4 ± 0", "")
    ]
    assert [cell.strip() for cell in second.split("|")[1:-1]] == [
        *("best of the run", "", "1 of 2", "2 ± 0", "80.0 %", "", "", "1 ± 0", "75.0 %")
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lenet-time", "164.5 s -> 32.4 s, 80.3 % less"),
        ("p3b1-search", "118.6 s -> 25.8 s, 78.2 % less"),
        ("rpv", "9.22 % error -> 1.78 % error, 80.7 % less"),
    ],
)
def test_the_paper_s_case_of_a_config_has_its_loci_within_their_bounds(
    bench: Any, name: str, said: str
) -> None:
    config = load(REPOSITORY / "configs" / f"{name}.yaml")
    case = bench.CASES[config.workload.use]
    assert case.said == said
    assert case.values.keys() == config.search.loci.keys()
    assert all(config.search.loci[locus].contains(value) for locus, value in case.values.items())
