"""Tri-parent recombination against the rules of its paper."""

import math
from functools import cache
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from evodevo.evolution.fitness import relative_fitness
from evodevo.evolution.mutation import STEP
from evodevo.evolution.strategies import Birth
from tests.evolution.generations import ask, children_of, make, play, slot_of
from tests.evolution.spaces import assert_rate, line

LOCI, TIMES = 10, 800
SPACE = line(LOCI, high=100.0)
# Four parents whose every value tells whose it is.
GENOMES = [dict.fromkeys(SPACE.loci, float(10 * (slot + 1))) for slot in range(4)]
FOMS = (1.0, 3.0, 2.0, 1.5)
FITNESS = relative_fitness(FOMS, "min", 2.0).tolist()


@cache
def births(foms: tuple[float | None, ...] = FOMS, times: int = TIMES, **options: Any) -> list[list[Birth]]:
    """Generations of four children of GENOMES, unmutated unless the options say otherwise."""
    strategy = make(
        "tri_parent", SPACE, 4, **{"sigma": 2.0, "mutation_rate": 0.0, "survivors": 0.0, **options}
    )
    return list(children_of(strategy, GENOMES, foms, times))


def from_b(child: Birth) -> np.ndarray:
    """bool (loci,): which values came from parent b."""
    of_a, of_b = (GENOMES[slot_of(parent)]["0"] for parent in (child.parent_a, child.parent_b))
    values = np.array(list(child.genome.values()))
    assert of_a != of_b
    assert np.isin(values, [of_a, of_b]).all(), "a value of neither parent"
    return np.equal(values, of_b)


def flat(generations: list[list[Birth]]) -> list[Birth]:
    return [child for generation in generations for child in generation]


def of_two(children: list[Birth]) -> list[Birth]:
    """Those whose hyperparameters come from two different members."""
    return [child for child in children if child.parent_a != child.parent_b]


def test_the_recombination_is_the_papers_unless_something_else_is_said() -> None:
    options: Any = make("tri_parent", SPACE).options
    assert (options.crossover_rate, options.crossover) == (0.33, "single_locus")
    assert (options.keep, options.alpha) == ("one", "drawn")


@pytest.mark.parametrize("parent", ["parent_a", "parent_b", "parent_params"])
def test_each_parent_is_drawn_in_proportion_to_fitness(parent: str) -> None:
    drawn = [slot_of(getattr(child, parent)) for child in flat(births())]
    for slot, own in enumerate(FITNESS):
        assert_rate(drawn.count(slot), len(drawn), own / sum(FITNESS))  # 4 standard deviations


def test_the_three_parents_are_drawn_independently_of_each_other() -> None:
    triples = [(slot_of(c.parent_a), slot_of(c.parent_b), slot_of(c.parent_params)) for c in flat(births())]
    share = np.array(FITNESS) / sum(FITNESS)
    chi_squared = 0.0
    for triple in product(range(4), range(4), range(4)):
        expected = len(triples) * math.prod(share[slot] for slot in triple)
        chi_squared += (triples.count(triple) - expected) ** 2 / expected
    # 64 cells: mean 63, standard deviation sqrt(2 * 63); 4 of them.
    assert chi_squared < 63 + 4 * math.sqrt(126)


def test_a_higher_sigma_selects_more_sharply() -> None:
    best = [sum(slot_of(c.parent_a) == 0 for c in flat(births(sigma=s, times=100))) for s in (0.0, 2.0, 30.0)]
    assert_rate(best[0], 400, 0.25)
    assert best[0] < best[1] < best[2] == 400


def test_a_member_that_failed_is_nobodys_parent() -> None:
    for child in flat(births(foms=(None, 2.0, math.nan, 3.0), sigma=0.0, times=100)):
        assert {slot_of(child.parent_a), slot_of(child.parent_b), slot_of(child.parent_params)} <= {1, 3}


def test_the_parent_of_parameters_gives_no_hyperparameters() -> None:
    others = [c for c in of_two(flat(births())) if c.parent_params not in (c.parent_a, c.parent_b)]
    assert len(others) > 100
    for child in others:
        from_b(child)  # refuses a value of neither


def test_each_of_the_two_genotypes_is_kept_half_the_time() -> None:
    kept = [from_b(child) for child in of_two(flat(births(crossover_rate=0.0)))]
    assert all(len(set(child)) == 1 for child in kept)
    assert_rate(sum(child[0] for child in kept), len(kept), 0.5)


def test_loci_cross_at_the_rate_of_the_paper() -> None:
    # Where both are kept, the first of a pair is the genotype that is a's but for the events.
    swapped = np.array([from_b(c) for generation in births(keep="both") for c in of_two(generation[::2])])
    for hits in swapped.sum(axis=0):
        assert_rate(hits, len(swapped), 0.33)


def test_crossover_switches_all_that_follows_where_it_is_told_to() -> None:
    children = births(keep="both", crossover="switch_following")
    switched = np.array([np.diff(from_b(c), prepend=False) for g in children for c in of_two(g[::2])])
    for hits in switched.sum(axis=0):
        assert_rate(hits, len(switched), 0.33)


@pytest.mark.parametrize("mutation", ["four_way", "log_normal"])
def test_values_mutate_at_the_rate_that_is_given(mutation: str) -> None:
    mutating = make("tri_parent", SPACE, 4, mutation=mutation, mutation_rate=0.05, survivors=0.0)
    children = flat(list(children_of(mutating, [GENOMES[1]] * 4, FOMS, 400)))
    mutated = np.array([[value != 20.0 for value in child.genome.values()] for child in children])
    assert_rate(mutated.sum(), mutated.size, 0.05)


@pytest.mark.parametrize("crossover", ["single_locus", "switch_following"])
def test_where_both_genotypes_are_kept_neighbours_are_complementary_siblings(crossover: str) -> None:
    crossed = 0
    for generation in births(keep="both", crossover=crossover, times=100):
        for one, other in (generation[0:2], generation[2:4]):
            assert (one.parent_a, one.parent_b) == (other.parent_a, other.parent_b)
            if of_two([one]):
                assert (from_b(one) ^ from_b(other)).all()
                crossed += 0 < from_b(one).sum() < LOCI
    assert crossed > 50


def test_siblings_get_their_parameters_independently() -> None:
    alphas = np.array([[slot_of(c.parent_params) for c in g] for g in births(keep="both", sigma=0.0)])
    for one, other in combinations(range(4), 2):
        assert_rate((alphas[:, one] == alphas[:, other]).sum(), TIMES, 1 / 4)


def test_with_one_kept_genotype_every_slot_draws_its_parents_independently() -> None:
    couples = [[(c.parent_a, c.parent_b) for c in generation] for generation in births(sigma=0.0)]
    for one, other in combinations(range(4), 2):
        assert_rate(sum(row[one] == row[other] for row in couples), TIMES, 1 / 16)


def test_children_mutate_independently_of_each_other() -> None:
    mutating = make("tri_parent", SPACE, 4, mutation_rate=0.5, survivors=0.0)
    generations = children_of(mutating, [GENOMES[1]] * 4, FOMS, 200)
    mutated = np.array([[[v != 20.0 for v in c.genome.values()] for c in g] for g in generations])
    for one, other in combinations(range(4), 2):
        together = mutated[:, one] & mutated[:, other]
        assert_rate(together.sum(), together.size, 1 / 4)


def test_keeping_both_works_with_an_odd_population() -> None:
    strategy = make("tri_parent", SPACE, 5, keep="both", survivors=0.0, mutation_rate=0.0, initial="random")
    history = play(strategy, [[1.0, 2.0, 3.0, 4.0, 5.0]] * 3)
    assert [len(generation) for generation in history] == [5, 5, 5]
    last = ask(strategy, 3, history[-1])[4]
    assert (last.parent_a, last.parent_b) != (None, None)


@pytest.mark.parametrize(
    "option, value",
    [
        ("sigma", -1.0),
        ("sigma", math.inf),
        ("sigma", math.nan),
        ("crossover_rate", 1.1),
        ("mutation_rate", -0.1),
        ("crossover", "uniform"),
        ("keep", "neither"),
    ],
)
def test_a_senseless_option_is_refused(option: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=option):
        make("tri_parent", SPACE, **{option: value})


def test_the_parameters_come_from_parent_a_where_they_are_tied_to_it() -> None:
    children = flat(births(alpha="tied"))
    assert all(child.parent_params == child.parent_a for child in children)
    drawn = flat(births())
    assert 0 < sum(child.parent_params == child.parent_a for child in drawn) < len(drawn)


def test_tying_the_parameters_leaves_the_hyperparameters_as_they_were() -> None:
    tied, drawn = flat(births(alpha="tied")), flat(births())
    assert [child.genome for child in tied] == [child.genome for child in drawn]


def test_without_crossover_a_child_has_the_genome_of_one_parent() -> None:
    for child in flat(births(crossover_rate=0.0)):
        assert child.genome in (GENOMES[slot_of(child.parent_a)], GENOMES[slot_of(child.parent_b)])


@pytest.mark.parametrize("mutation", ["four_way", "log_normal", "self_adaptive"])
def test_a_value_mutates_in_the_way_that_is_asked_for(mutation: str) -> None:
    strategy = make(
        "tri_parent", SPACE, 4, mutation=mutation, survivors=0.0, mutation_rate=1.0, mutation_step=1.0
    )
    genome = {**GENOMES[1], **({STEP: 1.0} if mutation == "self_adaptive" else {})}
    ratios = [
        float(child.genome[name]) / 20.0  # type: ignore[arg-type]
        for generation in children_of(strategy, [genome] * 4, FOMS, 20)
        for child in generation
        for name in SPACE.loci
    ]
    assert (max(ratios) <= 1.2 and min(ratios) >= 0.8) == (mutation == "four_way")


def test_an_adapted_step_is_inherited_from_a_hyperparameter_parent() -> None:
    strategy = make("tri_parent", SPACE, 4, mutation="self_adaptive", survivors=0.0, crossover_rate=0.0)
    genomes = [{**genome, STEP: 0.01 * 8**slot} for slot, genome in enumerate(GENOMES)]
    for generation in children_of(strategy, genomes, FOMS, 50):
        for child in generation:
            steps = [genomes[slot_of(parent)][STEP] for parent in (child.parent_a, child.parent_b)]
            assert min(abs(math.log(float(child.genome[STEP]) / step)) for step in steps) < 5 / LOCI**0.5  # type: ignore[arg-type]


def test_the_workload_never_sees_the_step() -> None:
    strategy = make("tri_parent", SPACE, 4, mutation="self_adaptive", survivors=0.0)
    genome = strategy.founder(0, 1).genome
    assert STEP in genome
    assert list(strategy.space.express(genome)) == list(SPACE.loci)


def test_survivors_go_on_as_they_are_in_their_own_slots_and_the_others_are_children() -> None:
    for generation in births(survivors=0.5, times=200):  # FOMS: slots 0 and 3 are the best of four
        for slot, child in enumerate(generation):
            own = (child.parent_a, child.parent_b, child.parent_params)
            if slot in (0, 3):
                assert {slot_of(parent) for parent in own} == {slot}
                assert child.genome == GENOMES[slot]
    children = [generation[slot] for generation in births(survivors=0.5) for slot in (1, 2)]
    drawn = [slot_of(child.parent_params) for child in children]
    for slot, own in enumerate(FITNESS):
        assert_rate(drawn.count(slot), len(drawn), own / sum(FITNESS))


def test_a_failed_member_does_not_survive_however_few_are_left() -> None:
    for generation in births((1.0, None, None, None), survivors=0.75, times=20):
        assert {slot_of(child.parent_params) for child in generation} == {0}


@pytest.mark.parametrize(("part", "of_four"), [(0.0, 0), (0.24, 0), (0.25, 1), (0.5, 2), (0.99, 3)])
def test_the_part_that_survives_is_rounded_down(part: float, of_four: int) -> None:
    strategy = make("tri_parent", SPACE, 4, survivors=part, mutation_rate=1.0)
    (generation,) = children_of(strategy, GENOMES, FOMS, 1)
    assert sum(child.genome in GENOMES for child in generation) == of_four
