"""Who becomes a parent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evodevo.evolution.selection import RouletteWheel
from tests.evolution.spaces import assert_rate, rngs
from tests.golden import raises_golden

DRAWS = 20_000


def counts(fitness: list[float], seed: int = 1) -> list[int]:
    rng = np.random.default_rng(seed)
    wheel = RouletteWheel(fitness)
    drawn = [wheel.draw(rng) for _ in range(DRAWS)]
    return [drawn.count(at) for at in range(len(fitness))]


def test_members_are_drawn_in_proportion_to_their_fitness() -> None:
    fitness = [1.0, 0.5, 0.1, 0.4, 0.02]
    for hits, own in zip(counts(fitness), fitness, strict=True):
        assert_rate(hits, DRAWS, own / sum(fitness))  # 4 standard deviations


def test_a_fitness_of_zero_is_never_drawn() -> None:
    drawn = counts([0.0, 1e-6, 0.0, 0.0, 1.0, 0.0])
    assert [drawn[at] for at in (0, 2, 3, 5)] == [0, 0, 0, 0]


def test_only_the_ratios_of_fitness_matter() -> None:
    assert counts([1.0, 0.5, 0.25]) == counts([0.5, 0.25, 0.125])


@given(
    st.lists(st.sampled_from([0.0, 5e-324, 1e-300, 1.0]) | st.floats(0, 1), min_size=1, max_size=9).filter(
        any
    ),
    rngs,
)
def test_whoever_is_drawn_has_a_fitness_and_a_place(fitness: list[float], rng: np.random.Generator) -> None:
    drawn = RouletteWheel(fitness).draw(rng)
    assert type(drawn) is int
    assert fitness[drawn] > 0


@pytest.mark.parametrize("fitness", [[], [0.0], [0.0, 0.0, 0.0]])
def test_where_nobody_is_left_the_error_says_so(fitness: list[float]) -> None:
    with raises_golden("selection/nobody-left", ValueError):
        RouletteWheel(fitness)


@given(
    st.lists(st.sampled_from([0.0, 1e-300, 1.0]) | st.floats(0, 1), min_size=1, max_size=9).filter(any),
    st.integers(0, 2**32),
)
def test_the_draws_are_those_of_numpys_choice_so_that_old_runs_have_the_same_parents(
    fitness: list[float], seed: int
) -> None:
    wheel, one, other = RouletteWheel(fitness), np.random.default_rng(seed), np.random.default_rng(seed)
    shares = np.array(fitness) / sum(fitness)
    drawn = [wheel.draw(one) for _ in range(5)]
    assert drawn == [int(other.choice(len(fitness), p=shares)) for _ in range(5)]
    assert one.bit_generator.state == other.bit_generator.state
