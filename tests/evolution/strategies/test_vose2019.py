"""The strategy of the paper: squared fitness, four-way mutation without a floor, no survivors."""

import math

import pytest

from evodevo.evolution.fitness import as_foms
from evodevo.evolution.space import FloatLocus, Space
from tests.configs import complaint
from tests.evolution.generations import make, play
from tests.run.fakes import config_of

SPACE = Space({"x": FloatLocus(type="float", low=0.0, high=100.0, initial=0.5)})


def test_its_fitness_is_the_square_of_the_paper() -> None:
    fitness = make("vose2019", SPACE, 3).fitness(as_foms([1.0, 1.5, 2.0]))
    assert list(fitness) == pytest.approx([1.0, math.exp(-5 * 0.25), math.exp(-5)])


def test_a_small_value_on_a_linear_scale_changes_by_a_fifth_of_itself_at_most_and_does_change() -> None:
    strategy = make("vose2019", SPACE, 20, initial="given", mutation_rate=1.0)
    *_, last = play(strategy, [[1.0] * 20] * 2)
    ratios = [float(str(member.birth.genome["x"])) / 0.5 for member in last]
    assert all(0.8 <= ratio <= 1.2 for ratio in ratios)
    assert len(set(ratios)) == 20


def test_the_best_member_is_replaced_like_everybody() -> None:
    strategy = make("vose2019", SPACE, 12, initial="spread", mutation_rate=1.0)
    first, second = play(strategy, [[float(at) for at in range(12)]] * 2)
    assert first[0].birth.genome not in [member.birth.genome for member in second]


@pytest.mark.parametrize("options", [{"mutation_rate": 2.0}, {"survivors": 1.0}, {"initial_spread": 0.0}])
def test_its_own_defaults_have_the_bounds_of_every_option(options: dict[str, float]) -> None:
    (name,) = options
    said = complaint(lambda: config_of(search__strategy="vose2019", search__options=options))
    assert f"search.options.{name}" in said
