"""scripts/bench/demes.py: what it runs directly is what the engine would, with demes as without."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from evodevo.evolution.population import Birth
from evodevo.run.simulation import play
from evodevo.testing.simulated import outcome_of

BENCH = Path(__file__).resolve().parents[1] / "scripts" / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCH)
    return importlib.import_module("demes")


def of_birth(birth: Birth) -> tuple[Any, ...]:
    return birth.genome, birth.parent_a, birth.parent_b


def test_its_members_are_those_of_a_run(bench: Any) -> None:
    for arm in bench.ARMS:
        function = bench.Function("rastrigin", 2)
        config = bench.config_for("rastrigin", arm, 2, 48, 22)
        history = play(
            config,
            lambda life, leg, history, of=function: outcome_of(
                of(**{name: life.birth.genome[name] for name in bench.NAMES})
            ),
            config.strategy,
        )
        direct = [one for members in bench.members_of(config, function) for one in members]
        assert [(one.id, *of_birth(one.birth), one.fom) for one in direct] == [
            (life.id, *of_birth(life.birth), life.fom) for life in history.lives()
        ], arm


def test_an_arm_makes_no_more_calls_than_it_is_given(bench: Any) -> None:
    found = bench.evolve({"function": "rastrigin", "arm": "demes", "seed": 0, "calls": 100, "population": 48})
    more = bench.evolve({"function": "rastrigin", "arm": "demes", "seed": 0, "calls": 400, "population": 48})
    assert found["best"] > more["best"] > 0


def test_schwefel_s_function_has_its_minimum_of_zero_and_another_one_far_from_it(bench: Any) -> None:
    function = bench.Function("schwefel", 0)
    deepest = dict.fromkeys(bench.NAMES, 420.968746)
    assert function(**deepest) == pytest.approx(0, abs=1e-3)
    second = {**deepest, "x0": -302.524935}
    assert function(**second) == pytest.approx(118.44, abs=0.01)
    for name, step in (("x0", 5.0), ("x0", -5.0), ("x3", 5.0), ("x3", -5.0)):
        assert function(**{**second, name: second[name] + step}) > function(**second)
