"""Random search: nothing is learned from one member for another."""

import pytest

from evodevo.evolution.strategies import Birth
from tests.evolution.generations import make, play
from tests.evolution.spaces import assert_legal, identical, line

SPACE = line(3, high=10.0)
STEADY: list[list[float | None]] = [[4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 2.0, 2.0]]
FAILING: list[list[float | None]] = [
    [4.0, None, 2.0, 1.0],
    [1.0, float("nan"), 3.0, 4.0],
    [2.0, 2.0, 2.0, 2.0],
]


def test_a_slot_keeps_its_genome_and_its_parameters_to_the_end() -> None:
    founders, *later = play(make("random_search", SPACE, 4), STEADY)
    for generation, members in enumerate(later):
        for slot, member in enumerate(members):
            own = f"g{generation}s{slot}"
            assert identical(member.birth, Birth(founders[slot].birth.genome, own, None, own))


def test_the_foms_of_survivors_change_nothing() -> None:
    one = play(make("random_search", SPACE, 4), STEADY)
    other = play(make("random_search", SPACE, 4), STEADY[::-1])
    assert identical([m.birth for g in one for m in g], [m.birth for g in other for m in g])


@pytest.mark.parametrize("initial", ["spread", "random"])
def test_a_slot_that_failed_starts_afresh_with_another_founder_each_time(initial: str) -> None:
    history = play(make("random_search", SPACE, 4, initial=initial), FAILING)
    genomes = [generation[1].birth.genome for generation in history]
    assert len(set(map(repr, genomes))) == 3
    for generation in history[1:]:
        assert_legal(SPACE, generation[1].birth.genome)
        assert identical(generation[1].birth, Birth(generation[1].birth.genome))


def test_a_failure_leaves_the_other_slots_alone() -> None:
    steady, failing = (play(make("random_search", SPACE, 4), foms) for foms in (STEADY, FAILING))
    for slot in (0, 2, 3):
        assert identical([g[slot].birth for g in failing], [g[slot].birth for g in steady])


def test_a_generation_without_survivors_starts_afresh_as_a_whole() -> None:
    first, second = play(make("random_search", SPACE, 4, initial="random"), [[None] * 4, [1.0] * 4])
    assert all(member.birth.parent_params is None for member in second)
    assert not {repr(m.birth.genome) for m in first} & {repr(m.birth.genome) for m in second}
