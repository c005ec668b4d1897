"""Simulated runs: what `simulate` gives, and how a strategy is tried before a run."""

import subprocess
import sys
from typing import Any

import pytest

from evodevo.config import parse
from evodevo.errors import RunFailed, UsageError
from evodevo.evolution.population import Birth, Member, Population
from evodevo.evolution.strategies import STRATEGIES, TriParent
from evodevo.run.simulation import TRIED_ALONE, play, try_strategy
from evodevo.testing import simulate
from evodevo.testing.simulated import outcome_of
from tests.configs import small
from tests.golden import raises_golden

SPACE = {"x": (-5.0, 5.0), "y": (-5.0, 5.0)}


def bowl(x: float, y: float) -> float:
    return (x - 1) ** 2 + y**2


def test_a_simulated_run_shows_as_one_short_line() -> None:
    space = {"x": (0.0, 1.0)}
    found = simulate("random_search", lambda x: x, space, inherit=False)
    assert found.best is not None
    assert repr(found) == f"<Simulated: 100 members, best fom {found.best.fom:.6g} ({found.best.id})>"
    nothing = simulate("random_search", lambda x: None, space, inherit=False)
    assert repr(nothing) == "<Simulated: 100 members, no member with a fom>"


def test_a_simulated_run_has_members_the_best_and_a_row_for_each() -> None:
    run = simulate("tri_parent", bowl, SPACE, population=8, generations=20)
    assert len(run.members) == len(run.history) == 160
    assert run.best is not None
    assert run.best.fom == min(one.fom for one in run.members if one.fom is not None) < 0.5
    assert run.best.fom == bowl(**run.best.hyperparameters)
    assert [one.slot for one in run.generation(3)] == list(range(8))
    child = run.history[-1]
    assert (child["member"], child["generation"]) == ("g019s007", 19)
    assert child["parent_params"].startswith("g018")
    assert {"x", "y", "fom"} <= child.keys()


def test_a_simulated_run_is_the_same_each_time_and_another_with_another_seed() -> None:
    runs = [simulate("tri_parent", bowl, SPACE, seed=seed).history for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


def test_children_go_on_from_the_state_of_their_parent() -> None:
    def train(state: list[str], rate: float) -> tuple[float, list[str]]:
        return rate + len(state), [*state, "trained"]

    run = simulate("truncation_pbt", train, {"rate": (0.0, 0.5)}, generations=4, mode="max", state=[])
    for one in run.members:
        assert one.fom == one.hyperparameters["rate"] + one.generation
    scratch = simulate("truncation_pbt", train, {"rate": (0.0, 0.5)}, generations=3, state=[], inherit=False)
    assert all(one.fom == one.hyperparameters["rate"] for one in scratch.members)


class Judged(TriParent):
    def judge(self, member: Member, leg: int) -> bool:
        return member.slot % 2 == 0


def test_a_life_ends_when_a_custom_strategy_says_so() -> None:
    run = simulate(Judged, bowl, SPACE, population=4, generations=2, legs=3)
    assert [len(one.foms) for one in run.members] == [3, 1, 3, 1] * 2


def test_a_class_that_cannot_be_imported_is_simulated() -> None:
    class Local(Judged):
        pass

    assert len(simulate(Local, bowl, SPACE, population=4, generations=2).members) == 8


class Lossy(TriParent):
    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        genome = dict(super().birth(generation, slot, parents, own).genome)
        del genome["x"]
        return Birth(genome)


def test_what_the_engine_would_refuse_fails_a_simulated_run() -> None:
    with raises_golden("simulation/genome-without-a-locus", RunFailed):
        simulate(Lossy, bowl, SPACE)


class Late(TriParent):
    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        raise KeyError("w")


def config(strategy: str, **search: Any) -> Any:
    keys = {f"search.{key}": value for key, value in search.items()}
    return parse(small({"search.strategy": strategy, "search.options": {}, **keys}))


def test_a_strategy_whose_first_child_fails_is_refused_before_a_run() -> None:
    told = (
        r"search.strategy: in two simulated generations: strategy Late: birth\(1, 0, ...\) raised KeyError: "
    )
    with pytest.raises(UsageError, match=told + r"'w' \(.*test_simulation.py:\d+\)"):
        try_strategy(config("tests.run.test_simulation:Late"))


@pytest.mark.parametrize("restarted", [False, True])
def test_generations_that_recombine_start_from_the_mean_of_the_one_before(restarted: bool) -> None:
    recombining = config("tri_parent", generations=4, recombine={"last": 0.5}, initialisation="shared")
    history = play(
        recombining, lambda life, leg, history: outcome_of(1.0), recombining.strategy, restarted=restarted
    )
    assert [len(generation) for generation in history.generations] == [4] * 4
    assert [mean.generation for mean in history.means.values()] == [1, 2]
    for mean in history.means.values():
        children = history.generations[mean.generation + 1]
        assert {life.birth.parent_params for life in children} == {mean.id}


SPECIAL = ("scheduled", "replay", "variable_length")
"""Strategies that need special options or loci."""


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name not in SPECIAL])
def test_every_strategy_passes_its_trial(name: str) -> None:
    alone = name == "mutate_best"
    keys = {"population": 1, "generations": 300} if alone else {"legs": 3, "generations": 300}
    tried = try_strategy(config(name, **keys))
    assert tried.completed() == len(tried.generations) == (TRIED_ALONE if alone else 2)
    assert {life.status for life in tried.lives()} <= {"done", "diverged"}


def test_simulating_imports_neither_torch_nor_a_cluster() -> None:
    code = (
        "import sys; from evodevo.testing import simulate\n"
        "simulate('tri_parent', lambda x: x, {'x': (0.0, 1.0)})\n"
        "print(sorted({'torch', 'distributed', 'workers'} & set(sys.modules)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True
    )
    assert told.stdout.strip() == "[]"
