"""How members stand among those they are compared with.

That is their generation, or their deme's part of it; in a steady run, which has none to speak of, it is all
members.
"""

import bisect
from collections.abc import Iterable, Iterator
from functools import partial

from evodevo.evolution.fitness import as_foms, relative_fitness
from evodevo.evolution.strategies import STRATEGIES
from evodevo.evolution.strategies.demes import Demes
from evodevo.run.history import History


def fitness_by_member(history: History) -> dict[str, float]:
    """Relative fitness by member id, of the members of complete generations; in a steady run, of all done.

    In demes it is relative to the member's own deme. A strategy of a user's own is not asked, as looking at a
    run must run no code of its config's: its members have the fitness that strategies have by default.
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
    """Columns: generation, best, median, low, high; a row a generation that has foms.

    In a steady run a row is of a member and of all that were born before it.
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
    """The scale of an axis for foms: log where they are positive and lie more than a decade apart."""
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
