"""Truncation PBT: which member copies which, and how a copy is changed."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from evodevo.evolution.fitness import Mode
from evodevo.evolution.strategies import Birth
from tests.evolution.generations import children_of, make, slot_of
from tests.evolution.spaces import assert_rate, identical, line

SPACE = line(3, high=1e6)
FOMS = [5.0, 0.5, 9.0, 3.0, 7.0, 1.0, 8.0, 2.0, 6.0, 4.0]  # best: slots 1 and 5; worst: 2 and 6


def births(
    foms: Sequence[float | None], times: int = 1, mode: Mode = "min", **options: Any
) -> list[list[tuple[int, Birth]]]:
    """Generations of (slot copied from, birth); slot i of the parents has 100 (i + 1) everywhere."""
    genomes = [dict.fromkeys(SPACE.loci, 100.0 * (slot + 1)) for slot in range(len(foms))]
    strategy = make("truncation_pbt", SPACE, len(foms), mode, **options)
    generations = children_of(strategy, genomes, foms, times)
    return [[(slot_of(birth.parent_params), birth) for birth in generation] for generation in generations]


def ratios(source: int, birth: Birth) -> list[float]:
    """Each value of the copy as a multiple of the donor's."""
    values = np.array(list(birth.genome.values()), dtype=float)
    return [round(float(ratio), 9) for ratio in values / (100.0 * (source + 1))]


def copiers(generation: list[tuple[int, Birth]]) -> list[int]:
    return [slot for slot, (source, _) in enumerate(generation) if source != slot]


def test_each_of_the_worst_copies_one_of_the_best_drawn_evenly_and_independently() -> None:
    generations = births(FOMS, times=400)
    assert all(copiers(generation) == [2, 6] for generation in generations)
    sources = [generation[slot][0] for generation in generations for slot in (2, 6)]
    assert set(sources) == {1, 5}
    assert_rate(sources.count(1), len(sources), 0.5)  # 4 standard deviations
    assert_rate(sum(generation[2][0] == generation[6][0] for generation in generations), 400, 0.5)


def test_where_the_fom_is_maximised_the_smallest_copy_the_largest() -> None:
    generations = births(FOMS, times=50, mode="max")
    assert all(copiers(generation) == [1, 5] for generation in generations)
    assert {generation[slot][0] for generation in generations for slot in (1, 5)} == {2, 6}


def test_a_member_that_is_not_among_the_worst_continues_unchanged_with_its_own_parameters() -> None:
    (generation,) = births(FOMS)
    for slot in (0, 1, 3, 4, 5, 7, 8, 9):
        unchanged = Birth(dict.fromkeys(SPACE.loci, 100.0 * (slot + 1)), f"g0s{slot}", None, f"g0s{slot}")
        assert identical(generation[slot][1], unchanged)


def test_a_copy_takes_parameters_and_hyperparameters_from_one_donor_and_perturbs_them() -> None:
    for generation in births(FOMS, times=50, resample_probability=0.0):
        for slot in (2, 6):
            source, birth = generation[slot]
            assert birth.parent_a == birth.parent_params
            assert birth.parent_b is None
            assert set(ratios(source, birth)) <= {0.8, 1.2}


def test_values_of_a_copy_are_drawn_anew_at_the_resampling_probability() -> None:
    copies = [generation[slot] for generation in births(FOMS, times=400) for slot in (2, 6)]
    drawn_anew = [ratio not in (0.8, 1.2) for source, birth in copies for ratio in ratios(source, birth)]
    assert_rate(sum(drawn_anew), len(drawn_anew), 0.25)


@pytest.mark.parametrize("failure", [None, math.nan, math.inf])
def test_all_that_failed_copy_and_no_more_than_they_when_they_are_the_worst(failure: float | None) -> None:
    (generation,) = births([failure, 1.0, 2.0, failure, 3.0, failure, 4.0, failure, 5.0, failure])
    assert copiers(generation) == [0, 3, 5, 7, 9]
    assert {generation[slot][0] for slot in (0, 3, 5, 7, 9)} <= {1, 2}


def test_only_survivors_are_copied_where_fewer_are_left_than_the_fraction() -> None:
    for generation in births([None, 1.0, None, None, 2.0, None], times=20, fraction=0.5):
        assert copiers(generation) == [0, 2, 3, 5]
        assert {source for source, _ in generation} <= {1, 4}


def test_among_equals_the_last_copy_the_first() -> None:
    (generation,) = births([1.0] * 10, fraction=0.1)
    assert copiers(generation) == [9]
    assert generation[9][0] == 0


@pytest.mark.parametrize(
    "population, fraction, count",
    [(10, 0.2, 2), (10, 0.3, 3), (5, 0.5, 2), (2, 0.5, 1), (3, 0.1, 1), (10, 0.29, 2), (100, 0.29, 29)],
)
def test_the_fraction_is_rounded_down_but_to_one_at_the_least(
    population: int, fraction: float, count: int
) -> None:
    (generation,) = births([float(slot) for slot in range(population)], fraction=fraction)
    assert copiers(generation) == list(range(population - count, population))


@pytest.mark.parametrize(
    "option, value", [("fraction", 0.0), ("fraction", 0.6), ("resample_probability", 1.5)]
)
def test_a_senseless_option_is_refused(option: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=option):
        make("truncation_pbt", SPACE, **{option: value})
