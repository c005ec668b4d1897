"""Play generations of a strategy without training: members get the foms that a test gives them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evodevo.evolution.fitness import Mode
from evodevo.evolution.growth import Phases
from evodevo.evolution.space import Space, Value
from evodevo.evolution.strategies import STRATEGIES, Birth, Member, Strategy


def make(
    name: str,
    space: Space,
    population: int = 6,
    mode: Mode = "min",
    seed: int = 0,
    pool: int | None = None,
    **options: Any,
) -> Strategy:
    kind = STRATEGIES[name]
    chosen = kind.Options(**options)
    whole = Space({**space.loci, **kind.own_loci(chosen)})
    made = kind(whole, population, mode, seed, chosen, pool)
    made.phases = Phases(lengths=[1]) if kind.grows else None
    return made


def evaluated(generation: int, births: Sequence[Birth], foms: Sequence[float | None]) -> list[Member]:
    """Return the members of some births; the one of generation 3, slot 4, is called g3s4."""
    return [
        Member(f"g{generation}s{slot}", generation, slot, birth, fom)
        for slot, (birth, fom) in enumerate(zip(births, foms, strict=True))
    ]


def ask(strategy: Strategy, generation: int, members: Sequence[Member] = ()) -> list[Birth]:
    """Return the births of a generation by slot: founders, or children of the previous members."""
    if generation == 0:
        return [strategy.founder(0, slot) for slot in range(strategy.population)]
    return [child_at(strategy, generation, slot, members) for slot in range(strategy.population)]


def child_at(strategy: Strategy, generation: int, slot: int, members: Sequence[Member]) -> Birth:
    """Return the birth at a slot, given the previous generation's members that it needs."""
    needs = strategy.needs(generation, slot)
    needed = range(len(members)) if needs is None else needs
    parents = strategy.evaluated([members[at] for at in needed])
    return strategy.birth(generation, slot, parents, needed.index(slot))


def play(strategy: Strategy, foms: Sequence[Sequence[float | None]]) -> list[list[Member]]:
    """Yield generations of births that get these foms."""
    history: list[list[Member]] = []
    for generation, own in enumerate(foms):
        births = ask(strategy, generation, history[-1] if history else ())
        history.append(evaluated(generation, births, own))
    return history


def children_of(
    strategy: Strategy, genomes: Sequence[Mapping[str, Value]], foms: Sequence[float | None], times: int
) -> Iterator[list[Birth]]:
    """Return `times` generations of children of the same parents."""
    for generation in range(1, times + 1):
        parents = evaluated(generation - 1, [Birth(genome) for genome in genomes], foms)
        yield ask(strategy, generation, parents)


def slot_of(member_id: str | None) -> int:
    assert member_id is not None
    return int(member_id.partition("s")[2])
