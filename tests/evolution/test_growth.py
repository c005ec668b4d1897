"""Blocks of loci become plain loci, phases grow, and `variable_length` breeds as it says."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from evolution.generations import ask, evaluated
from pydantic import TypeAdapter, ValidationError

from evodevo.evolution.growth import Blocks, Phases, laid_out
from evodevo.evolution.population import Birth, Member
from evodevo.evolution.space import Locus, Space
from evodevo.evolution.strategies.variable_length import VariableLength, VariableLengthOptions
from tests.golden import raises_golden

BLOCKS = Blocks.model_validate(
    {
        "most": 3,
        "loci": {
            "width": {"type": "choice", "choices": [8, 16, 32, 64]},
            "second": {"type": "bool"},
            "depth": {"type": "int", "low": 1, "high": 9, "when": {"second": True, "kind": "conv"}},
        },
        "first": {"second": {"type": "fixed", "value": True}},
    }
)
LOCI = {"kind": {"type": "choice", "choices": ["conv", "dense"]}, **BLOCKS.laid_out()}
SPACE = Space({name: TypeAdapter(Locus).validate_python(locus) for name, locus in LOCI.items()})
PHASES = Phases(lengths=[1, 2, 3], generations=3)


def strategy(population: int = 6, seed: int = 0, mode: Any = "max", **options: Any) -> VariableLength:
    made = VariableLength(SPACE, population, mode, seed, VariableLengthOptions(**options))
    made.phases = PHASES
    return made


def of_phase_0(one: VariableLength, foms: Sequence[float | None]) -> list[Member]:
    return evaluated(0, ask(one, 0), foms)


def test_blocks_are_loci_by_number_that_count_where_the_genome_is_long_enough() -> None:
    assert list(LOCI) == [
        "kind",
        "blocks",
        *(f"block{number}.{name}" for number in (1, 2, 3) for name in ("width", "second", "depth")),
    ]
    assert LOCI["blocks"] == {"type": "int", "low": 1, "high": 3, "initial": 1}
    assert LOCI["block1.second"] == {"type": "fixed", "value": True}
    assert LOCI["block2.second"] == {"type": "bool", "when": {"blocks": [2, 3]}}
    assert LOCI["block3.depth"]["when"] == {"blocks": [3], "block3.second": True, "kind": "conv"}
    genome = {**SPACE.sample(strategy().stream(0, 0, "test")), "kind": "conv", "blocks": 2}
    genome |= {"block2.second": False}
    assert list(SPACE.express(genome)) == [
        *("kind", "blocks", "block1.width", "block1.second", "block1.depth"),
        *("block2.width", "block2.second"),
    ]


def test_a_block_can_have_another_name() -> None:
    made = Blocks.model_validate({"most": 2, "name": "stage", "loci": {"width": {"type": "bool"}}})
    assert list(made.laid_out()) == ["stages", "stage1.width", "stage2.width"]


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("one-block", {"most": 1, "loci": {"a": {}}}),
        ("no-loci", {"most": 2, "loci": {}}),
        ("first-of-no-locus", {"most": 2, "loci": {"a": {}}, "first": {"b": {}}}),
        ("name-with-dot", {"most": 2, "loci": {"a": {}}, "name": "a.b"}),
    ],
)
def test_blocks_that_make_no_sense_are_refused(name: str, blocks: dict[str, Any]) -> None:
    with raises_golden(f"growth/blocks/{name}", ValidationError):
        Blocks.model_validate(blocks)


def test_reading_a_section_again_changes_nothing() -> None:
    given = {"blocks": {"most": 2, "loci": {"a": {"type": "bool"}}}, "phases": {"lengths": [1, 2]}}
    once = laid_out(given)
    assert (once["generations"], once["blocks"]) == (6, None)
    assert laid_out(once) == once


def test_phases_say_which_generation_is_whose() -> None:
    assert [PHASES.at(generation) for generation in range(10)] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert [at for at in range(12) if PHASES.begins(at)] == [0, 3, 6]
    assert (PHASES.total, PHASES.length(4)) == (9, 2)


@pytest.mark.parametrize(
    ("name", "lengths"), [("shrink", [2, 1]), ("same", [1, 1]), ("shrink-later", [1, 3, 2])]
)
def test_phases_that_shrink_are_refused(name: str, lengths: list[int]) -> None:
    with raises_golden(f"growth/phases/{name}", ValidationError):
        Phases(lengths=lengths)


def test_the_tail_of_a_phase_is_what_counts_in_it_for_the_first_time() -> None:
    assert PHASES.tail(SPACE, 0) == ["kind", "block1.width", "block1.depth"]
    assert PHASES.tail(SPACE, 1) == ["block2.width", "block2.second", "block2.depth"]
    leap = Phases(lengths=[1, 3], generations=1)
    assert leap.tail(SPACE, 1) == [f"block{number}.{name}" for number in (2, 3) for name in BLOCKS.loci]


def test_founders_have_the_length_of_the_first_phase() -> None:
    assert {birth.genome["blocks"] for birth in ask(strategy(), 0)} == {1}
    assert all(SPACE.contains(birth.genome) for birth in ask(strategy(), 0))


def test_the_best_fraction_survives_and_of_the_others_some() -> None:
    foms = [0.1, 0.2, 0.3, 0.4, 0.5, None]
    for lucky, count in ((0.0, 3), (1.0, 5)):
        one = strategy(lucky=lucky, mutation_rate=0.0)
        members = of_phase_0(one, foms)
        births = ask(one, 1, members)
        ranked = [f"g0s{slot}" for slot in (4, 3, 2, 1, 0)]
        assert [birth.parent_a for birth in births[:count]] == ranked[:count]
        assert all(birth.parent_b is None for birth in births[:count])
        assert all(birth.parent_b is not None for birth in births[count:])
        for birth in births[:count]:
            assert birth.genome == next(m for m in members if m.id == birth.parent_a).birth.genome
    found = []
    for seed in range(1000):
        one = strategy(seed=seed, mutation_rate=0.0)
        found.append(sum(birth.parent_b is None for birth in ask(one, 1, of_phase_0(one, foms))) - 3)
    assert 0.34 < sum(found) / len(found) < 0.46  # two others, each with 0.2


def test_a_mutant_differs_in_one_gene_that_counts_and_the_best_never_mutates() -> None:
    mutants = 0
    for seed in range(30):
        one = strategy(seed=seed, mutation_rate=1.0, lucky=0.0)
        members = of_phase_0(one, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
        best, *others = ask(one, 1, members)[:3]
        assert best.genome == members[5].birth.genome
        for birth in others:
            before = next(m for m in members if m.id == birth.parent_a).birth.genome
            changed = [name for name in before if birth.genome[name] != before[name]]
            assert len(changed) == 1
            assert SPACE.active(changed[0], before)
            assert changed[0] in PHASES.tail(SPACE, 0)
            mutants += 1
    assert mutants == 60


def test_a_child_has_each_gene_of_either_parent_and_one_point_cuts_once() -> None:
    for crossover in ("uniform", "one_point"):
        masks = set()
        for seed in range(60):
            one = strategy(seed=seed, crossover=crossover, lucky=0.0)
            genome = {**SPACE.sample(one.stream(0, 0, "test")), "blocks": 1}
            a = {**genome, "kind": "conv", "block1.width": 8, "block1.depth": 1}
            b = {**genome, "kind": "dense", "block1.width": 16, "block1.depth": 2}
            births = [Birth(a), Birth(b), *[Birth(a)] * 4]
            members = evaluated(0, births, [0.6, 0.5, 0.4, 0.0, 0.0, 0.0])
            child = ask(one, 1, members)[3]
            ab = [m.birth.genome for m in members if m.id in (child.parent_a, child.parent_b)]
            tail = PHASES.tail(SPACE, 0)
            assert all(child.genome[name] in [parent[name] for parent in ab] for name in tail)
            masks.add("".join("b" if child.genome[name] == b[name] else "a" for name in tail))
        assert ("aba" in masks) == (crossover == "uniform")
        assert {"abb", "baa"} <= masks


def test_the_fitter_is_a_parent_more_often_unless_parents_are_drawn_evenly() -> None:
    shares = {}
    for parents in ("fitness", "uniform"):
        firsts = []
        for seed in range(300):
            one = strategy(seed=seed, parents=parents, lucky=0.0, sigma=3.0)
            child = ask(one, 1, of_phase_0(one, [0.9, 0.5, 0.45, 0.0, 0.0, 0.0]))[3]
            assert child.parent_a != child.parent_b
            firsts.append(child.parent_a == "g0s0")
        shares[parents] = sum(firsts) / len(firsts)
    assert shares["uniform"] < 0.42 < 0.55 < shares["fitness"]


def test_a_phase_begins_from_the_best_and_a_later_child_from_whom_its_parents_did() -> None:
    one = strategy(lucky=0.0)
    births = [Birth({**birth.genome, "blocks": 1}) for birth in ask(one, 0)]
    members = evaluated(2, births, [0.1, 0.9, None, math.nan, 0.5, 0.2])
    begun = ask(one, 3, members)
    assert {birth.parent_params for birth in begun} == {"g2s1"}
    assert len({repr(birth.genome) for birth in begun}) > 1
    for birth in begun:
        changed = {name for name in birth.genome if birth.genome[name] != births[1].genome[name]}
        assert changed <= {"blocks", *PHASES.tail(SPACE, 1)}
        assert birth.genome["blocks"] == 2
    after = ask(one, 4, evaluated(3, begun, [0.1, 0.9, 0.3, 0.4, 0.5, 0.2]))
    assert {birth.parent_params for birth in after} == {"g2s1"}
