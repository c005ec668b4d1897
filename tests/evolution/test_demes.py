"""Demes: the grid, migration, and that each deme's strategy sees its own members and migrants."""

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from evodevo.config import parse
from evodevo.evolution.demes import Layout, Migration
from evodevo.evolution.rng import deme_seed
from evodevo.evolution.strategies import Birth, Population, Strategy, name_of
from evodevo.evolution.strategies.base import CommonOptions
from evodevo.evolution.strategies.demes import Demes
from evodevo.testing import check_strategy, simulate
from tests.configs import small
from tests.evolution.generations import ask, evaluated, play

GRID = {"grid": [2, 3], "every": 2}
STRATEGIES: list[tuple[str, dict[str, Any]]] = [
    ("tri_parent", {}),
    ("tri_parent", {"keep": "both", "crossover": "switch_following"}),
    ("vose2019", {}),
    ("truncation_pbt", {"fraction": 0.5}),
    ("natural_selection", {}),
    ("random_search", {}),
]
FREQUENT = {"grid": [2, 2], "every": 3, "select_every": [1, 1, 2, 4]}


def layout(*sides: int, size: int = 5, every: int = 2, migrants: int = 1, wrap: bool = True) -> Layout:
    count = 1
    for side in sides:
        count *= side
    return Layout(sides, size, every, migrants, wrap, (1,) * count)


def demes_of(demes: Mapping[str, Any], population: int, **changes: Any) -> Demes:
    keys = {f"search.{key}": value for key, value in changes.items()}
    config = parse(small({"search.population": population, "search.demes": demes, **keys}))
    made = config.strategy()
    assert isinstance(made, Demes)
    return made


def test_neighbours_are_one_step_along_a_side_and_across_edges_if_they_wrap() -> None:
    assert layout(2, 3).neighbours(0) == [1, 2, 3]
    assert layout(2, 3).neighbours(4) == [1, 3, 5]
    assert layout(2, 3, wrap=False).neighbours(0) == [1, 3]
    assert layout(2, 3, wrap=False).neighbours(4) == [1, 3, 5]
    assert layout(4, 4).neighbours(5) == [1, 4, 6, 9]
    assert layout(4, 4).neighbours(0) == [1, 3, 4, 12]
    assert layout(5).neighbours(0) == [1, 4]
    assert layout(5, wrap=False).neighbours(4) == [3]
    assert layout(2).neighbours(0) == [1]


@pytest.mark.parametrize("sides", [(2,), (7,), (2, 2), (3, 4), (1, 5), (5, 1)])
@pytest.mark.parametrize("wrap", [True, False])
def test_neighbourhood_is_mutual_and_nobody_is_a_neighbour_of_itself(
    sides: tuple[int, ...], wrap: bool
) -> None:
    grid = layout(*sides, wrap=wrap)
    for deme in range(grid.count):
        assert deme not in grid.neighbours(deme)
        assert all(deme in grid.neighbours(other) for other in grid.neighbours(deme))


def test_the_best_of_each_neighbour_take_the_places_of_the_worst() -> None:
    foms: list[list[float | None]] = [[5, 1, None, 2, 3], [9, 8, 7, 6, 5], [None, None, None, None, None]]
    ring = layout(3, migrants=2)
    assert ring.arrivals(0, foms.__getitem__, "min") == [Migration(9, 2), Migration(8, 0)]
    assert ring.arrivals(0, foms.__getitem__, "max") == [Migration(5, 2), Migration(6, 1)]
    assert [one.source for one in ring.arrivals(2, foms.__getitem__, "min")] == [1, 3, 9, 8]


def test_only_every_kth_generation_needs_the_neighbours() -> None:
    strategy = demes_of(GRID, 24)
    assert [strategy.needs(generation, 0) for generation in (1, 3, 5)] == [[0, 1, 2, 3]] * 3
    assert strategy.needs(1, 23) == [20, 21, 22, 23]
    assert strategy.needs(2, 0) == list(range(16))
    assert strategy.needs(2, 23) == [*range(8, 12), *range(12, 24)]


def test_demes_without_migrants_never_need_each_other() -> None:
    strategy = demes_of({**GRID, "migrants": 0}, 24)
    assert {tuple(strategy.needs(generation, 5)) for generation in range(1, 9)} == {(4, 5, 6, 7)}


def test_with_mating_pools_a_deme_draws_them_among_its_own() -> None:
    strategy = demes_of({"grid": [3], "every": 4}, 30, pace="pools", pool=4)
    needs = [strategy.needs(1, slot) for slot in range(10, 20)]
    assert {len(needed) for needed in needs} == {4}
    assert all(set(needed) <= set(range(10, 20)) for needed in needs)
    assert len(set(map(tuple, needs))) > 5
    assert strategy.needs(4, 12) == list(range(30))


class Watched(Strategy):
    """Children are copies of the best member shown; it keeps no state."""

    Options = CommonOptions
    seen: ClassVar[list[tuple[int, int, list[tuple[int, str]]]]] = []

    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        self.seen.append((generation, slot, [(one.slot, one.id) for one in parents.members]))
        best = parents.members[parents.ranking[0]]
        return Birth(best.birth.genome, parent_a=best.id, parent_params=best.id)


def test_a_strategy_sees_its_own_deme_and_migrants_in_the_places_of_the_worst() -> None:
    strategy = demes_of({"grid": [2], "every": 2}, 6, strategy=name_of(Watched), options={})
    foms: list[list[float | None]] = [[1, 2, 3, 4, 5, 6]] * 2
    history = play(strategy, foms)
    Watched.seen.clear()
    births = ask(strategy, 2, history[-1])
    assert Watched.seen[0] == (2, 0, [(0, "g1s0"), (1, "g1s1"), (2, "g1s3")])
    assert Watched.seen[3] == (2, 0, [(0, "g1s3"), (1, "g1s4"), (2, "g1s0")])
    assert [birth.parent_a for birth in births] == ["g1s0"] * 6
    Watched.seen.clear()
    ask(strategy, 3, evaluated(2, births, foms[0]))
    assert Watched.seen[3] == (3, 0, [(0, "g2s3"), (1, "g2s4"), (2, "g2s5")])


def test_each_deme_has_its_own_founders_and_options() -> None:
    own = {2: {"mutation_step": 0.9}, "5": {"sigma": 1.0}}
    strategy = demes_of({**GRID, "options": own}, 24, options={"initial": "random"})
    steps = [one.options.mutation_step for one in strategy.strategies]  # type: ignore[attr-defined]
    assert steps == [0.5, 0.5, 0.9, 0.5, 0.5, 0.5]
    assert strategy.strategies[5].options.sigma == 1.0  # type: ignore[attr-defined]
    assert [one.seed for one in strategy.strategies] == [deme_seed(7, deme) for deme in range(6)]
    assert len({repr(strategy.founder(0, slot)) for slot in range(24)}) == 24


def test_between_selections_members_go_on_and_those_who_failed_have_successors() -> None:
    strategy = demes_of({"grid": [2], "every": 4, "select_every": [1, 3]}, 8)
    assert strategy.needs(1, 6) == strategy.needs(2, 6) == [6]
    assert strategy.needs(3, 6) == [4, 5, 6, 7]
    (members,) = play(strategy, [[4.0, 3.0, 2.0, 1.0, 4.0, 3.0, 2.0, 1.0]])
    births = ask(strategy, 1, members)
    assert [birth.parent_params for birth in births[4:]] == ["g0s4", "g0s5", "g0s6", "g0s7"]
    assert [birth.genome for birth in births[4:]] == [one.birth.genome for one in members[4:]]
    assert [birth.genome for birth in births[:4]] != [one.birth.genome for one in members[:4]]
    migrating = ask(strategy, 4, members)
    assert [birth.parent_params for birth in migrating[4:]] == ["g0s3", "g0s5", "g0s6", "g0s7"]
    failed = evaluated(3, [one.birth for one in members], [1.0] * 4 + [None, 2.0, 3.0, None])
    successors = ask(strategy, 4, failed)
    assert successors[4].parent_params in {"g3s5", "g3s6", "g3s0"}


@pytest.mark.parametrize(("name", "options"), STRATEGIES, ids=str)
def test_every_strategy_keeps_the_contract_in_demes(name: str, options: dict[str, Any]) -> None:
    check_strategy(name, options, population=12, demes={"grid": [3], "every": 2})


@pytest.mark.parametrize("name", ["tri_parent", "truncation_pbt", "random_search"])
def test_demes_of_several_frequencies_keep_the_contract(name: str) -> None:
    check_strategy(name, population=12, demes=FREQUENT)


def test_what_a_deme_finds_does_not_reach_others_before_the_first_migration() -> None:
    """The same run with and without migration: the same until then, and another afterwards."""

    def function(x: float, y: float) -> float:
        return x * x + y

    space = {"x": (-5.0, 5.0), "y": (0.0, 1.0)}
    together, apart = (
        simulate(
            "tri_parent", function, space, population=12, generations=9,
            demes={"grid": [3], "every": 4, "migrants": migrants},
        )
        for migrants in (1, 0)
    )  # fmt: skip
    rows = [[member.history[at : at + 12] for at in range(0, 108, 12)] for member in (together, apart)]
    assert rows[0][:4] == rows[1][:4]
    assert rows[0][4] != rows[1][4]
    crossing = [
        row["generation"]
        for row in together.history
        if row["parent_a"] and int(row["parent_a"][-3:]) // 4 != row["slot"] // 4
    ]
    assert set(crossing) == {4, 8}
