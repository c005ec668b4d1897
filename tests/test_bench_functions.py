"""scripts/bench/functions.py: the functions, and that what it runs directly is what the engine would."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evodevo

BENCH = Path(__file__).resolve().parents[1] / "scripts" / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCH)
    return importlib.import_module


def test_each_function_has_its_minimum_of_zero_where_the_seed_puts_it(bench: Any) -> None:
    suite = bench("function_suite")
    for name, case in suite.CASES.items():
        function = suite.Moved(name, 3)
        best = dict(zip(suite.NAMES, function.at, strict=True))
        assert function(**best) == pytest.approx(0, abs=1e-9), name
        assert np.abs(function.at).max() <= 0.8 * case.half
        assert np.abs(function.at).min() > 1e-3 * case.half
        draw = np.random.default_rng(0)
        for _ in range(200):
            near = {at: value + draw.normal(0, 0.05 * case.half) for at, value in best.items()}
            assert function(**near) > 0, name
        assert any(function.at != suite.Moved(name, 4).at)


def test_an_evaluation_is_a_call_and_a_known_point_is_none(bench: Any) -> None:
    functions, suite = bench("functions"), bench("function_suite")
    calls = []

    class Counted(suite.Moved):  # type: ignore[name-defined,misc]
        def __call__(self, **values: float) -> float:
            calls.append(tuple(values.values()))
            return float(super().__call__(**values))

    members = [
        one
        for own in functions.members_of(functions.config_for("sphere", 0, None, 12), Counted("sphere", 0))
        for one in own
    ]
    assert len(members) == 12 * 10
    assert len(calls) == len(set(calls)) < len(members)


def test_results_are_read_again_and_a_torn_line_is_not(bench: Any, tmp_path: Path) -> None:
    functions = bench("functions")
    line = (
        '{"search": "random", "function": "sphere", "seed": 1, "marks": [100, 200, 500], "best": [3, 2, 1]}'
    )
    (tmp_path / "out").write_text(f"{line}\n{line[:40]}")
    results = functions.read(tmp_path / "out")
    assert [*results] == [("random", "sphere", 1)]
    ours = {("evodevo", "sphere", 1): {**results["random", "sphere", 1], "best": [4, 1, 0.5]}}
    shifted = {(one, function, 0): record for (one, function, _), record in {**results, **ours}.items()}
    assert "| sphere | 0.5 (0.5 to 0.5) | 1 (1 to 1); 1 |" in functions.table(shifted, 1, 500)


@pytest.mark.slow
def test_what_the_benchmark_runs_directly_is_what_minimise_does_on_a_cluster(bench: Any) -> None:
    functions, suite = bench("functions"), bench("function_suite")
    function = suite.Moved("rastrigin", 2)
    config = functions.config_for("rastrigin", 2, None, 6)
    direct = [
        (one.id, *(one.birth.genome[name] for name in suite.NAMES), one.fom)
        for members in functions.members_of(config, function)
        for one in members
    ]
    half = function.case.half
    result = evodevo.minimise(
        function,
        dict.fromkeys(suite.NAMES, (-half, half)),
        generations=6,
        seed=2,
        workers=2,
    )
    rows = [
        (row["member"], *(row[f"hp.{name}"] for name in suite.NAMES), row["fom"]) for row in result.rows()
    ]
    assert rows == direct
