"""Two genomes become two complementary ones."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evodevo.evolution.crossover import Kind, complementary
from evodevo.evolution.space import Space
from tests.evolution.spaces import assert_legal, assert_rate, genomes, identical, rngs, spaces

KINDS: list[Kind] = ["single_locus", "switch_following"]
TRIALS, LOCI, RATE = 8000, 5, 0.33
A = {str(i): "a" for i in range(LOCI)}
B = {str(i): "b" for i in range(LOCI)}


def from_b(kind: Kind, rate: float = RATE, trials: int = TRIALS) -> np.ndarray:
    """bool (trials, loci): which loci the first genotype took from b."""
    rng = np.random.default_rng(3)
    firsts = [complementary(A, B, rate, kind, rng)[0] for _ in range(trials)]
    return np.array([[first[name] == "b" for name in A] for first in firsts])


def rolls(*numbers: float) -> Any:
    """A generator that rolls these numbers."""
    return SimpleNamespace(random=lambda count: np.array(numbers[:count]))


def sources(kind: Kind, rng: Any, rate: float = RATE) -> str:
    return "".join(map(str, complementary(A, B, rate, kind, rng)[0].values()))


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), space=spaces(), rate=st.floats(0, 1), rng=rngs)
def test_what_one_genotype_takes_from_a_the_other_takes_from_b(
    kind: Kind, data: st.DataObject, space: Space, rate: float, rng: np.random.Generator
) -> None:
    a, b = data.draw(genomes(space)), data.draw(genomes(space))
    before = (dict(a), dict(b))
    one, other = complementary(a, b, rate, kind, rng)
    for genotype in (one, other):
        assert_legal(space, genotype)
    for name in space.loci:
        straight = identical(one[name], a[name]) and identical(other[name], b[name])
        assert straight or (identical(one[name], b[name]) and identical(other[name], a[name]))
    assert identical((a, b), before)


@pytest.mark.parametrize("kind", KINDS)
def test_the_two_genotypes_are_complementary_at_the_rate_of_the_paper(kind: Kind) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        one, other = complementary(A, B, RATE, kind, rng)
        assert [{one[name], other[name]} for name in A] == [{"a", "b"}] * LOCI


@pytest.mark.parametrize("kind", KINDS)
def test_a_rate_of_zero_crosses_nothing(kind: Kind) -> None:
    assert complementary(A, B, 0.0, kind, np.random.default_rng(0)) == (A, B)


def test_a_rate_of_one_swaps_every_locus_or_switches_at_every_locus() -> None:
    rng = np.random.default_rng(0)
    assert sources("single_locus", rng, rate=1.0) == "bbbbb"
    assert sources("switch_following", rng, rate=1.0) == "babab"


def test_an_event_swaps_its_own_locus_alone_or_all_that_follow() -> None:
    assert sources("single_locus", rolls(0.9, 0.1, 0.9, 0.9, 0.9)) == "abaaa"
    assert sources("switch_following", rolls(0.9, 0.1, 0.9, 0.9, 0.9)) == "abbbb"
    assert sources("switch_following", rolls(0.9, 0.1, 0.9, 0.2, 0.9)) == "abbaa"


def test_single_locus_swaps_each_locus_at_the_rate() -> None:
    for swaps in from_b("single_locus").sum(axis=0):
        assert_rate(swaps, TRIALS, RATE)  # 4 standard deviations, 0.021


def test_single_locus_swaps_are_independent_between_loci() -> None:
    swapped = from_b("single_locus")
    for i in range(LOCI):
        for j in range(i):
            assert_rate((swapped[:, i] & swapped[:, j]).sum(), TRIALS, RATE**2)


def test_switch_following_changes_source_at_each_locus_at_the_rate_and_independently() -> None:
    swapped = from_b("switch_following")
    switched = np.diff(swapped.astype(int), axis=1, prepend=0) != 0
    for i in range(LOCI):
        assert_rate(switched[:, i].sum(), TRIALS, RATE)
        for j in range(i):
            assert_rate((switched[:, i] & switched[:, j]).sum(), TRIALS, RATE**2)


def test_a_genome_without_loci_crosses_to_two_without_loci() -> None:
    assert complementary({}, {}, RATE, "single_locus", np.random.default_rng(0)) == ({}, {})
