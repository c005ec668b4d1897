"""Playing generations against a strategy: what came of births, without training anything."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evodevo.evolution.fitness import Mode
from evodevo.evolution.space import Space, Value
from evodevo.evolution.strategies import STRATEGIES, Birth, Member, Strategy


def make(
    name: str, space: Space, population: int = 6, mode: Mode = "min", seed: int = 0, **options: Any
) -> Strategy:
    kind = STRATEGIES[name]
    chosen = kind.Options(**options)
    whole = Space({**space.loci, **kind.own_loci(chosen)})
    return kind(whole, population, mode, seed, chosen)


def evaluated(generation: int, births: Sequence[Birth], foms: Sequence[float | None]) -> list[Member]:
    """What came of the births; the member of generation 3, slot 4, is called g3s4."""
    return [
        Member(f"g{generation}s{slot}", generation, slot, birth, fom)
        for slot, (birth, fom) in enumerate(zip(births, foms, strict=True))
    ]


def play(strategy: Strategy, foms: Sequence[Sequence[float | None]]) -> list[list[Member]]:
    """Generation after generation, asked for, given these foms and told."""
    history = []
    for generation, own in enumerate(foms):
        history.append(evaluated(generation, strategy.ask(generation), own))
        strategy.tell(history[-1])
    return history


def children_of(
    strategy: Strategy, genomes: Sequence[Mapping[str, Value]], foms: Sequence[float | None], times: int
) -> Iterator[list[Birth]]:
    """A generation born from the same parents, over and over again: `times` generations of children."""
    for generation in range(1, times + 1):
        strategy.tell(evaluated(generation - 1, [Birth(genome) for genome in genomes], foms))
        yield strategy.ask(generation)


def slot_of(member_id: str | None) -> int:
    assert member_id is not None
    return int(member_id.partition("s")[2])
