"""The genetic algorithm with truncation selection: who is kept, who has children, and what these are like."""

import math
from typing import Any

import pytest
from pydantic import ValidationError

from evodevo.evolution.strategies import Birth
from tests.evolution.generations import ask, children_of, evaluated, make, slot_of
from tests.evolution.spaces import assert_rate, space_of

GENES = space_of(**{name: {"type": "int", "low": 0, "high": 999} for name in "abcdefgh"})
FOMS = [4.0, 1.0, None, 3.0, math.nan, 2.0, 5.0, 2.5, 6.0, 3.5]  # best first: 1, 5, 7, 3, 9, 0, 6, 8


def generations(times: int, foms: list[float | None] = FOMS, **options: Any) -> list[list[Birth]]:
    """Generations of children of the same parents: slot i has the value i everywhere."""
    genomes = [dict.fromkeys(GENES.loci, slot) for slot in range(len(foms))]
    return list(children_of(make("truncation_ga", GENES, len(foms), **options), genomes, foms, times))


def test_the_best_fraction_is_kept_as_it_is_best_first() -> None:
    (births,) = generations(1, keep=0.3)
    assert [slot_of(birth.parent_a) for birth in births[:3]] == [1, 5, 7]
    assert [set(birth.genome.values()) for birth in births[:3]] == [{1}, {5}, {7}]


def test_children_have_genes_of_two_different_parents_that_were_kept_half_of_each() -> None:
    first, count = 0, 0
    for births in generations(100, keep=0.3, mutation_rate=0.0):
        for birth in births[3:]:
            pair = {slot_of(birth.parent_a), slot_of(birth.parent_b)}
            assert len(pair) == 2
            assert pair <= {1, 5, 7}
            assert set(birth.genome.values()) <= pair
            first += sum(value == slot_of(birth.parent_a) for value in birth.genome.values())
            count += len(birth.genome)
    assert_rate(first, count, 0.5)


def test_some_children_mutate_and_some_of_their_genes_are_drawn_anew() -> None:
    bred = [
        birth
        for births in generations(300, mutation_rate=0.4, gene_mutation_rate=1.0)
        for birth in births[3:]
    ]
    mutants = [birth for birth in bred if len(set(birth.genome.values())) > 2]
    assert_rate(len(mutants), len(bred), 0.4)


def test_two_are_kept_at_the_least_and_no_more_than_have_a_fom() -> None:
    (births,) = generations(1, keep=0.05)
    assert [birth.parent_a == birth.parent_b for birth in births] == [True, True, *[False] * 8]
    (births,) = generations(1, foms=[None, 2.0, None, 1.0], keep=1.0)
    assert [birth.parent_a == birth.parent_b for birth in births] == [True, True, False, False]


def test_a_lone_survivor_has_all_the_children() -> None:
    (births,) = generations(1, foms=[None, 2.0, None], mutation_rate=0.0)
    assert [set(birth.genome.values()) for birth in births] == [{1}, {1}, {1}]


def test_founders_are_random_and_nobody_inherits_parameters() -> None:
    strategy = make("truncation_ga", GENES, population=200)
    values = [value for birth in ask(strategy, 0) for value in birth.genome.values()]
    assert_rate(sum(int(value) < 500 for value in values), len(values), 0.5)  # type: ignore[call-overload]
    assert not strategy.inherits
    assert {birth.parent_params for one in generations(5) for birth in one} == {None}


def test_it_comes_near_the_bottom_of_a_bowl() -> None:
    space = space_of(
        x={"type": "float", "low": -5.0, "high": 5.0}, y={"type": "float", "low": -5.0, "high": 5.0}
    )
    strategy = make("truncation_ga", space, population=30, mutation_rate=0.5)
    births, best = ask(strategy, 0), math.inf
    for generation in range(20):
        foms = [(float(b.genome["x"]) - 1) ** 2 + float(b.genome["y"]) ** 2 for b in births]  # type: ignore[arg-type]
        best = min(best, *foms)
        births = ask(strategy, generation + 1, evaluated(generation, births, foms))
    assert best < 0.1


@pytest.mark.parametrize("options", [{"keep": 0.0}, {"keep": 1.1}, {"mutation_rate": -0.1}])
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make("truncation_ga", GENES, **options)
