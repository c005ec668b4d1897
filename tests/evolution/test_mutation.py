"""How a value changes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evodevo.evolution.mutation import (
    LARGEST_STEP,
    SMALLEST_STEP,
    STEP,
    explore,
    four_way,
    log_normal,
    self_adaptive,
    step_locus,
)
from evodevo.evolution.space import Space
from tests.evolution.spaces import (
    assert_legal,
    assert_mean,
    assert_rate,
    genomes,
    identical,
    line,
    rngs,
    space_of,
    spaces,
)

LOCI, TRIALS, RATE = 20, 2000, 0.05


def log_normal_by_half(space: Space, genome: Any, rate: float, rng: np.random.Generator) -> dict[str, Any]:
    return log_normal(space, genome, rate, 0.5, rng)


OPERATORS: list[Callable[..., Any]] = [four_way, log_normal_by_half, explore]


def changes(rate: float, trials: int) -> np.ndarray:
    """float (trials, LOCI): relative change of each value, 0 if it did not mutate."""
    wide, rng = line(LOCI), np.random.default_rng(5)
    start = dict.fromkeys(wide.loci, 100.0)
    children = [four_way(wide, start, rate, rng) for _ in range(trials)]
    return np.array([list(child.values()) for child in children]) / 100.0 - 1.0


@pytest.mark.parametrize("operator", OPERATORS)
@given(data=st.data(), space=spaces(), rate=st.floats(0, 1) | st.sampled_from([0.0, 1.0]), rng=rngs)
def test_no_mutation_leaves_the_bounds_or_the_type_or_changes_its_argument(
    operator: Callable[..., Any], data: st.DataObject, space: Space, rate: float, rng: np.random.Generator
) -> None:
    genome = data.draw(genomes(space))
    before = dict(genome)
    assert_legal(space, operator(space, genome, rate, rng))
    assert identical(genome, before)


def test_each_locus_mutates_at_the_rate_and_independently_of_the_others() -> None:
    mutated = changes(RATE, TRIALS) != 0
    assert_rate(mutated.sum(), mutated.size, RATE)  # 4 standard deviations, 0.0044
    for name in range(LOCI):
        assert_rate(mutated[:, name].sum(), TRIALS, RATE)
    neighbours = mutated[:, 1:] & mutated[:, :-1]
    assert_rate(neighbours.sum(), neighbours.size, RATE**2, deviations=5)  # pairs share loci: one more


def test_a_rate_of_zero_changes_nothing_and_a_rate_of_one_everything() -> None:
    assert not changes(0.0, 50).any()
    assert changes(1.0, 50).all()


@pytest.mark.parametrize("low, high", [(-0.20, -0.10), (-0.01, 0.0), (0.0, 0.01), (0.10, 0.20)])
def test_each_of_the_four_ways_is_taken_a_quarter_of_the_time_and_evenly_over_its_range(
    low: float, high: float
) -> None:
    all_changes = changes(1.0, 600).ravel()
    rounding = 1e-12
    in_range = all_changes[(all_changes >= low - rounding) & (all_changes <= high + rounding)]
    assert_rate(len(in_range), len(all_changes), 0.25)
    # Even: mean and spread of a uniform distribution, and close to both of its ends.
    places = (in_range - low) / (high - low)
    assert_mean(places, 0.5, deviation=np.sqrt(1 / 12))
    assert_mean((places - 0.5) ** 2, 1 / 12, deviation=np.sqrt(1 / 180))
    assert places.min() < 0.01
    assert places.max() > 0.99


def test_no_change_lies_outside_the_four_ways() -> None:
    sizes = np.abs(changes(1.0, 600))
    assert np.all((sizes <= 0.01 + 1e-12) | ((sizes >= 0.10 - 1e-12) & (sizes <= 0.20 + 1e-12)))


@pytest.mark.parametrize("operator", OPERATORS)
def test_all_but_constants_change_also_a_locus_that_does_not_count(operator: Callable[..., Any]) -> None:
    mixed = space_of(
        optimizer={"type": "choice", "choices": ["adam", "sgd"]},
        momentum={"type": "float", "low": 0.0, "high": 1.0, "when": {"optimizer": "sgd"}},
        layers={"type": "int", "low": 1, "high": 9},
        nesterov={"type": "bool"},
        epochs={"type": "fixed", "value": 90},
    )
    genome = {"optimizer": "adam", "momentum": 0.5, "layers": 3, "nesterov": True, "epochs": 90}
    rate = 0.0 if operator is explore else 1.0  # for explore: the probability of a new draw
    rng = np.random.default_rng(0)
    children = [
        operator(mixed, genome, rate, rng) for _ in range(1 if operator is not log_normal_by_half else 20)
    ]
    assert [n for n in genome if all(child[n] == genome[n] for child in children)] == ["epochs"]


def test_explore_perturbs_every_locus_by_a_fifth_up_or_down_equally_often() -> None:
    wide, rng = line(LOCI), np.random.default_rng(2)
    start = dict.fromkeys(wide.loci, 100.0)
    explored = np.array([list(explore(wide, start, 0.0, rng).values()) for _ in range(300)]).round(9)
    assert set(explored.ravel()) == {80.0, 120.0}
    assert_rate((explored == 120.0).sum(), explored.size, 0.5)
    together = explored[:, 1:] == explored[:, :-1]
    assert_rate(together.sum(), together.size, 0.5)


def test_explore_draws_a_locus_anew_at_the_resampling_probability() -> None:
    unit, rng = line(LOCI, low=0.0, high=1.0), np.random.default_rng(2)
    start = dict.fromkeys(unit.loci, 0.5)
    explored = np.array([list(explore(unit, start, 0.25, rng).values()) for _ in range(300)])
    anew = ~np.isclose(np.abs(explored - 0.5), 0.1, rtol=0, atol=1e-9)
    assert_rate(anew.sum(), anew.size, 0.25)
    assert_mean(explored[anew], 0.5, deviation=np.sqrt(1 / 12))


def logarithms(operator: Callable[..., Any], space: Space, genome: Any, trials: int) -> np.ndarray:
    """float (trials, loci): natural logarithm of each value's ratio to what it was."""
    rng = np.random.default_rng(6)
    children = [operator(space, genome, 1.0, rng) for _ in range(trials)]
    return np.log([[child[name] / genome[name] for name in genome] for child in children])


def test_a_log_normal_mutation_has_the_step_as_deviation_and_goes_up_and_down_alike() -> None:
    wide = line(LOCI)
    found = logarithms(log_normal_by_half, wide, dict.fromkeys(wide.loci, 100.0), 500)
    count = found.size
    assert abs(found.mean()) < 4 * 0.5 / count**0.5
    assert abs(found.std() - 0.5) < 4 * 0.5 / (2 * count) ** 0.5
    assert_rate((abs(found) < 0.5).sum(), count, 0.6827)


def test_a_log_normal_mutation_happens_at_its_rate() -> None:
    wide, rng = line(LOCI), np.random.default_rng(5)
    start = dict.fromkeys(wide.loci, 100.0)
    children = [log_normal(wide, start, 0.3, 0.5, rng) for _ in range(500)]
    mutated = np.array([[child[name] != 100.0 for name in wide.loci] for child in children])
    assert_rate(mutated.sum(), mutated.size, 0.3)


def adaptive(count: int) -> Space:
    """`count` float loci and the step."""
    return Space({**line(count).loci, STEP: step_locus(0.1)})


def test_a_self_adaptive_mutation_steps_by_the_genomes_own_new_step() -> None:
    wide = adaptive(400)
    before = {**dict.fromkeys(line(400).loci, 100.0), STEP: 0.1}
    for seed in range(5):
        child = self_adaptive(wide, before, 1.0, np.random.default_rng(seed))
        step = float(child[STEP])  # type: ignore[arg-type]
        found = np.log([float(child[name]) / 100.0 for name in line(400).loci])  # type: ignore[arg-type]
        assert step != 0.1
        assert abs(found.std() - step) < 4 * step / 800**0.5


@pytest.mark.parametrize("count", [1, 4])
def test_a_step_changes_by_one_over_the_root_of_the_number_of_loci(count: int) -> None:
    space = adaptive(count)
    before = {**dict.fromkeys(line(count).loci, 100.0), STEP: 0.1}
    found = logarithms(self_adaptive, space, before, 2000)[:, -1]
    inside = found[(found > np.log(SMALLEST_STEP / 0.1)) & (found < np.log(LARGEST_STEP / 0.1))]
    assert len(inside) > 0.97 * len(found)
    assert abs(np.median(found)) < 5 * count**-0.5 / 2000**0.5
    assert inside.std() == pytest.approx(count**-0.5, rel=0.1)


def test_a_step_changes_also_where_no_locus_mutates_and_stays_in_its_bounds() -> None:
    space, rng = adaptive(1), np.random.default_rng(7)
    genome: dict[str, Any] = {"0": 100.0, STEP: 0.1}
    steps = []
    for _ in range(300):
        genome = self_adaptive(space, genome, 0.0, rng)
        assert genome["0"] == 100.0
        steps.append(genome[STEP])
    assert min(steps) == SMALLEST_STEP
    assert max(steps) == LARGEST_STEP
