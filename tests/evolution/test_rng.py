"""Named random streams."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evodevo.evolution.rng import leg_seed, stream, training_seed
from tests.evolution.spaces import assert_mean

NAME: dict[str, Any] = {"seed": 7, "generation": 3, "slot": 5, "purpose": "mating"}


def numbers(**changed: Any) -> list[int]:
    rng = stream(**{**NAME, **changed})
    return [int(number) for number in rng.integers(2**63, size=4)]


def test_the_same_name_gives_the_same_numbers() -> None:
    assert numbers() == numbers()


@pytest.mark.parametrize(
    "changed",
    [{"seed": 8}, {"generation": 4}, {"slot": 6}, {"purpose": "alpha"}, {"generation": 5, "slot": 3}],
    ids=str,
)
def test_another_name_gives_other_numbers(changed: dict[str, Any]) -> None:
    assert not set(numbers()) & set(numbers(**changed))


def test_the_numbers_of_a_name_never_change_from_one_process_or_release_to_the_next() -> None:
    # A run is resumed and replayed by name: other numbers here would break every journal there is.
    assert stream(0, 0, 0, "mating").integers(1000, size=5).tolist() == [937, 761, 587, 995, 206]
    assert training_seed(0, 0, 0) == 22315606


def test_a_stream_neither_sees_nor_touches_the_global_generator() -> None:
    found = np.random.get_state()
    try:
        np.random.seed(1)
        first, next_global = numbers(), np.random.random()
        np.random.seed(2)
        assert numbers() == first
        np.random.seed(1)
        assert np.random.random() == next_global
    finally:
        np.random.set_state(found)


def test_streams_of_neighbouring_slots_are_uniform_and_uncorrelated() -> None:
    draws = np.array([stream(0, 1, slot, "mating").random() for slot in range(3000)])
    assert_mean(draws, 0.5, deviation=np.sqrt(1 / 12))
    centred = (draws - 0.5) * np.sqrt(12)
    for lag in (1, 2, 7):
        assert_mean(centred[lag:] * centred[:-lag], 0.0, deviation=1.0)


@given(seed=st.integers(0, 2**64), generation=st.integers(0, 10**6), slot=st.integers(0, 10**6))
def test_a_training_seed_is_a_whole_number_that_torch_numpy_and_json_accept(
    seed: int, generation: int, slot: int
) -> None:
    drawn = training_seed(seed, generation, slot)
    assert type(drawn) is int
    assert 0 <= drawn < 2**31
    assert drawn == training_seed(seed, generation, slot)


def test_members_are_trained_with_different_seeds() -> None:
    seeds = {training_seed(0, generation, slot) for generation in range(10) for slot in range(10)}
    assert len(seeds) == 100


def test_the_first_leg_of_a_life_is_trained_with_its_training_seed_itself() -> None:
    assert [leg_seed(seed, 0) for seed in (0, 7, 2**31 - 1)] == [0, 7, 2**31 - 1]


@given(seed=st.integers(0, 2**31 - 1), leg=st.integers(0, 10**6))
def test_a_legs_seed_is_a_whole_number_like_a_training_seed_and_always_the_same(seed: int, leg: int) -> None:
    drawn = leg_seed(seed, leg)
    assert type(drawn) is int
    assert 0 <= drawn < 2**31
    assert drawn == leg_seed(seed, leg)


def test_every_leg_of_every_life_is_trained_with_another_seed() -> None:
    lives = [training_seed(0, generation, slot) for generation in range(5) for slot in range(5)]
    assert len({leg_seed(life, leg) for life in lives for leg in range(8)}) == 200


def test_the_seeds_of_legs_never_change_from_one_process_or_release_to_the_next() -> None:
    assert [leg_seed(7, leg) for leg in (1, 2)] == [1463287113, 851770634]
