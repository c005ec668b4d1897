"""The arithmetic of scripts/bench: shares of busy workers, interleaving, times from a journal."""

import asyncio
import importlib
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from evodevo.config import parse
from evodevo.run.history import load_history

BENCH = Path(__file__).resolve().parents[1] / "scripts" / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCH)
    return importlib.import_module


def test_a_stay_counts_as_far_as_it_is_within_the_time_that_is_looked_at(bench: Any) -> None:
    stays = [(0.0, 4.0), (1.0, 3.0), (4.0, 8.0)]
    assert bench("busy").busy_share(stays, 2, 0.0, 4.0) == 0.75
    assert bench("busy").busy_share(stays, 2, 2.0, 6.0) == 0.625


def test_the_drain_begins_with_the_outcome_that_leaves_fewer_members_than_workers(bench: Any) -> None:
    stays = [(0.0, end) for end in (5.0, 1.0, 3.0, 2.0, 4.0)]
    assert bench("busy").drain_begins(stays, 2) == 4.0
    assert bench("busy").drain_begins(stays, 5) == 1.0


def test_more_workers_than_members_are_never_all_busy(bench: Any) -> None:
    assert bench("busy").drain_begins([(0.0, 2.0), (0.0, 1.0)], 8) == 1.0


def test_every_run_measures_each_kind_once_and_begins_with_another(bench: Any) -> None:
    assert list(bench("measuring").interleaved("ab", 2)) == [(0, "a"), (0, "b"), (1, "b"), (1, "a")]


def test_a_run_lasts_from_its_first_births_to_its_last_outcome(bench: Any) -> None:
    kinds = ["run", "controller", "births", "outcome", "births", "outcome", "end"]
    records = [{"kind": kind, "time": float(number)} for number, kind in enumerate(kinds)]
    assert bench("measuring").steady_span(records) == (2.0, 5.0)


def test_a_config_without_work_is_a_good_one(bench: Any) -> None:
    config = parse(bench("measuring").no_work_config("one", "Sleep", 4, 2, mean_s=0.1))
    assert (config.search.population, config.workload.options) == (4, {"mean_s": 0.1})


def test_a_member_sleeps_for_a_time_that_its_training_seed_decides(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    workload = bench("no_work").Sleep(mean_s=2.0, sigma=0.5)
    workload.prepare(torch.device("cpu"), None)
    for seed in (1, 2, 1):
        assert list(workload.train(workload.begin({"a": 0.5, "b": 0.5, "c": 0.5}, seed, None))) == []
    assert slept[0] == slept[2] != slept[1]


@pytest.mark.parametrize("search", ["tri_parent:generations", "tri_parent:pools", "tri_parent:steady"])
def test_simulated_workers_carry_a_search_to_its_end(bench: Any, tmp_path: Path, search: str) -> None:
    scale = bench("scale")
    cost = scale.cost_of(tmp_path / "run", search, scale.Shape(12, 3, 5), 2, 0)
    assert cost.cpu_us > 0
    assert cost.wall_us >= 0
    history = load_history(tmp_path / "run" / "journal.jsonl")
    assert len({life.worker for life in history.over}) == 5


def test_simulated_gangs_carry_a_search_to_its_end(bench: Any, tmp_path: Path) -> None:
    scale = bench("scale")
    shape = scale._shape("6x2/7@3")
    assert (shape, str(shape)) == (scale.Shape(6, 2, 7, 3), "6x2/7@3")
    scale.cost_of(tmp_path / "run", "tri_parent:generations", shape, 2, 0)
    history = load_history(tmp_path / "run" / "journal.jsonl")
    assert (len(history.over), history.config.cluster.workers_per_member) == (12, 3)


@pytest.mark.slow
def test_connections_stand_for_workers_that_carry_a_search_to_its_end(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [str(BENCH), str(BENCH.parents[1])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    crowd = bench("crowd")
    measured = asyncio.run(crowd.measured(tmp_path / "run", crowd.Crowd(9, 3), 2, 0.05, 0.1))
    assert load_history(tmp_path / "run" / "journal.jsonl").lost_attempts == 0
    assert 2 < measured["messages"] < 6
    assert measured["bytes"] > 500


def test_a_gang_of_processes_forms_and_adds(bench: Any) -> None:
    form_ms, sums_ms = bench("gang").gang_of(3, [0.01])
    assert form_ms > 0
    assert sums_ms.keys() == {0.01}


@pytest.mark.parametrize(("at_once", "count"), [(10, 2 + 22), (1, 2 + 20)])
def test_a_made_up_journal_reads_as_a_run_of_whole_generations(
    bench: Any, tmp_path: Path, at_once: int, count: int
) -> None:
    assert bench("scale").write_journal(tmp_path / "run", 25, 10, at_once) == count
    history = load_history(tmp_path / "run" / "journal.jsonl")
    assert history.completed() == len(history.generations)
    assert history.line(history.over[-1])[0].generation == 0


def test_growth_compares_each_shape_with_the_first_run_by_run(bench: Any) -> None:
    scale = bench("scale")
    small, large = scale.Shape(100, 9, 16), scale.Shape(1000, 9, 1000)
    assert scale.growth({small: [1.0, 2.0], large: [3.0, 3.0]}) == {large: [3.0, 1.5]}


def test_networks_that_are_timed_one_by_one_and_stacked_make_the_same_steps(bench: Any) -> None:
    stacking = bench("stacking")
    case = stacking.CASES["LeNet"]._replace(shape=(3, 1, 28, 28))
    torch.manual_seed(0)
    models = [case.model() for _ in range(2)]
    images, labels = torch.randn(2, *case.shape), torch.randint(0, 10, (2, 3))
    together = stacking.Together(models, last=True)
    alone = stacking.Alone(case, models)
    for _ in range(3):
        together.step(images, labels, bfloat16=False)
        alone.step(images, labels, bfloat16=False)
    for name, value in together.model.state_dict().items():
        wanted = torch.stack([model.state_dict()[name] for model in models])
        torch.testing.assert_close(value, wanted, rtol=1e-4, atol=1e-6)
