"""Compare members with their group.

The group is their generation, or their deme's share of it; in a run without generations, all members.
"""

import bisect
from collections.abc import Iterable, Iterator
from functools import partial

from evodevo.evolution.fitness import as_foms, relative_fitness
from evodevo.evolution.strategies import STRATEGIES
from evodevo.evolution.strategies.demes import Demes
from evodevo.run.history import History


def fitness_by_member(history: History) -> dict[str, float]:
    """Return relative fitness by member id for complete generations; without generations, for all done.

    With demes it is relative to the member's deme. A user's strategy is not called, because viewing a run
    must not run code that its config names: its members get the default fitness.
    """
    config = history.config
    search = config.search
    known = config.strategy() if search.strategy in STRATEGIES else None
    fitness_of = known.fitness if known else partial(relative_fitness, mode=config.objective.mode)
    if not history.in_generations:
        groups = [(fitness_of, [life for life in history.lives() if life.outcome])]
    else:
        whole = [lives for at, lives in enumerate(history.generations) if history.complete(at)]
        groups = [(fitness_of, lives) for lives in whole]
        if search.demes:
            layout = search.demes.layout(search.population)
            of_deme = [one.fitness for one in known.strategies] if isinstance(known, Demes) else None
            groups = [
                (of_deme[deme] if of_deme else fitness_of, lives[slots.start : slots.stop])
                for lives in whole
                for deme, slots in enumerate(map(layout.slots, range(layout.count)))
            ]
    return {
        life.id: float(fitness)
        for fitness_of, lives in groups
        for life, fitness in zip(lives, fitness_of(as_foms([life.fom for life in lives])), strict=True)
    }


def foms_by_generation(history: History) -> dict[str, list[float]]:
    """Return the columns generation, best, median, low and high, with one row per generation that has foms.

    Without generations, a row covers a member and all that were born before it.
    """
    columns: dict[str, list[float]] = {"generation": [], "best": [], "median": [], "low": [], "high": []}
    for generation, foms in _sorted_foms(history):
        low, high, middle = foms[0], foms[-1], len(foms) // 2
        columns["generation"].append(generation)
        columns["best"].append(low if history.config.objective.mode == "min" else high)
        columns["median"].append(foms[middle] if len(foms) % 2 else foms[middle - 1] / 2 + foms[middle] / 2)
        columns["low"].append(low)
        columns["high"].append(high)
    return columns


def fom_scale(lows: Iterable[float], highs: Iterable[float]) -> str:
    """Return the scale of an axis for foms: log if they are positive and span more than a decade."""
    low, high = min(lows, default=0.0), max(highs, default=0.0)
    return "log" if low > 0 and high > 10 * low else "linear"


def _sorted_foms(history: History) -> Iterator[tuple[int, list[float]]]:
    foms: list[float] = []
    for generation, lives in enumerate(history.generations):
        if history.in_generations:
            foms = []
        found = [life.fom for life in lives if life.fom is not None]
        for fom in found:
            bisect.insort(foms, fom)
        if found:
            yield generation, foms
