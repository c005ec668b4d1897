"""scripts/bench/demes.py: what it runs directly is what the engine would, with demes as without."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from evodevo.run.simulation import play
from evodevo.testing.simulated import outcome_of

BENCH = Path(__file__).resolve().parents[1] / "scripts" / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCH)
    return importlib.import_module("demes")


def test_its_members_are_those_of_a_run(bench: Any) -> None:
    for arm in bench.ARMS:
        function = bench.Moved("rastrigin", 2)
        config = bench.config_for("rastrigin", arm, 2, 48, 22)
        history = play(
            config,
            lambda life, leg, history, of=function: outcome_of(
                of(**{name: life.birth.genome[name] for name in bench.NAMES})
            ),
            config.strategy,
        )
        direct = [one for members in bench.members_of(config, function) for one in members]
        assert [(one.id, one.birth, one.fom) for one in direct] == [
            (life.id, life.birth, life.fom) for life in history.births
        ], arm


def test_an_arm_makes_no_more_calls_than_it_is_given(bench: Any) -> None:
    found = bench.evolve({"function": "rastrigin", "arm": "demes", "seed": 0, "calls": 100, "population": 48})
    more = bench.evolve({"function": "rastrigin", "arm": "demes", "seed": 0, "calls": 400, "population": 48})
    assert found["best"] > more["best"] > 0
