"""NaturalSelection's genetic algorithm: survivors, parents, and their children."""

import functools
import math
from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from evodevo.evolution.strategies import Birth
from tests.evolution.generations import ask, children_of, evaluated, make, play, slot_of
from tests.evolution.spaces import assert_legal, assert_rate, space_of

BITS = 100
ONE_MAX = space_of(**{f"x{number}": {"type": "bool"} for number in range(BITS)})
GENES = space_of(**{name: {"type": "int", "low": 0, "high": 999} for name in "abcdefgh"})
FOMS = [4.0, 1.0, None, 3.0, math.nan, 2.0, 5.0, 2.5, 6.0, 3.5]  # best: slot 1; 2 and 4 failed


def generations(times: int, **options: Any) -> list[list[Birth]]:
    """Generations of children of the same parents: slot i has the value i everywhere."""
    genomes = [dict.fromkeys(GENES.loci, slot) for slot in range(len(FOMS))]
    strategy = make("natural_selection", GENES, len(FOMS), **options)
    return list(children_of(strategy, genomes, FOMS, times))


@functools.cache
def drawn_steeply() -> list[list[Birth]]:
    return generations(2000, sigma=2.0)


def sources(birth: Birth) -> set[str | None]:
    return {birth.parent_a, birth.parent_b}


def test_one_max_with_a_hundred_bits_comes_to_its_optimum() -> None:
    strategy = make("natural_selection", ONE_MAX, population=100, mode="max")
    births, best = ask(strategy, 0), 0.0
    for generation in range(100):
        members = evaluated(generation, births, [float(sum(map(bool, b.genome.values()))) for b in births])
        best = max(member.fom or 0.0 for member in members)
        if best == BITS:
            break
        births = ask(strategy, generation + 1, members)
    assert best == BITS


def test_founders_are_drawn_from_the_whole_space() -> None:
    strategy = make("natural_selection", GENES, population=200)
    values = [value for birth in ask(strategy, 0) for value in birth.genome.values()]
    assert_rate(sum(int(value) < 500 for value in values), len(values), 0.5)  # type: ignore[call-overload]


def test_elites_go_on_as_they_are_and_the_others_are_children() -> None:
    for generation in generations(20, elites=0.15, sigma=0.0):  # of ten: rounded up, two
        for birth in generation[:2]:
            assert birth.parent_a == birth.parent_b
            assert set(birth.genome.values()) == {slot_of(birth.parent_a)}
        assert any(birth.parent_a != birth.parent_b for birth in generation[2:])


def test_nobody_inherits_parameters() -> None:
    assert not make("natural_selection", GENES).inherits
    assert {birth.parent_params for one in generations(5) for birth in one} == {None}


@pytest.mark.parametrize("slots", [slice(0, 1), slice(1, None)], ids=["elites", "breeders"])
def test_the_better_a_member_the_more_often_it_is_drawn_and_one_that_failed_never(slots: slice) -> None:
    drawn = Counter(slot_of(birth.parent_a) for one in drawn_steeply() for birth in one[slots])
    assert drawn.keys() == {0, 1, 3, 5, 6, 7, 8, 9}
    assert [slot for slot, _ in drawn.most_common()] == [1, 5, 7, 3, 9, 0, 6, 8]
    assert drawn[1] / drawn[8] == pytest.approx(math.exp(2.0), rel=0.25)


def test_without_selection_pressure_all_that_have_a_fom_are_drawn_equally_often() -> None:
    times = 500
    drawn = Counter(slot_of(one[0].parent_a) for one in generations(times, sigma=0.0))
    assert len(drawn) == 8
    for slot in drawn:
        assert_rate(drawn[slot], times, 1 / 8)


def test_children_of_one_generation_have_their_parents_from_one_breeding_pool() -> None:
    for generation in generations(50, breeders=0.2, sigma=0.0, mutation_rate=0.0):  # of ten: two
        assert len(set().union(*(sources(birth) for birth in generation[1:]))) <= 2


def test_each_gene_of_a_child_comes_from_either_parent_with_the_same_probability() -> None:
    from_a = total = 0
    for generation in generations(300, mutation_rate=0.0):
        for birth in generation[1:]:
            a, b = slot_of(birth.parent_a), slot_of(birth.parent_b)
            assert set(birth.genome.values()) <= {a, b}
            if a != b:
                from_a += sum(value == a for value in birth.genome.values())
                total += len(birth.genome)
    assert_rate(from_a, total, 0.5)


def test_a_fifth_of_the_children_mutate_and_of_these_one_gene_in_the_mean() -> None:
    children = [birth for generation in generations(600) for birth in generation[1:]]
    new = [
        sum(int(value) > 9 for value in birth.genome.values())  # type: ignore[call-overload]
        for birth in children
    ]
    kept = 10 / 1000  # the fraction of drawn values that are a parent's
    assert_rate(sum(new), len(new) * len(GENES.loci), 0.2 / len(GENES.loci) * (1 - kept))
    untouched = 1 - 0.2 * (1 - (1 - (1 - kept) / len(GENES.loci)) ** len(GENES.loci))
    assert_rate(new.count(0), len(new), untouched)


def test_the_rate_of_genes_can_be_given() -> None:
    (generation,) = generations(1, mutation_rate=1.0, gene_mutation_rate=1.0)
    assert all(len(set(birth.genome.values())) > 2 for birth in generation[1:])


def test_what_is_fixed_never_changes_and_children_are_legal() -> None:
    space = space_of(
        kind={"type": "choice", "choices": ["adam", "sgd"]},
        momentum={"type": "float", "low": 0.0, "high": 1.0, "when": {"kind": "sgd"}},
        units={"type": "fixed", "value": 16},
    )
    strategy = make("natural_selection", space, 10, mutation_rate=1.0, gene_mutation_rate=1.0)
    for generation in play(strategy, [FOMS] * 4):
        for member in generation:
            assert_legal(space, member.birth.genome)


@pytest.mark.parametrize(
    "options",
    [
        {"elites": -0.1},
        {"elites": 1.1},
        {"breeders": 0.0},
        {"mutation_rate": 2.0},
        {"sigma": -1.0},
        {"elite": 1},
    ],
    ids=str,
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make("natural_selection", GENES, **options)
