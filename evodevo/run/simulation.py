"""Simulate a run without cluster, files and clocks: a function invents the outcome of each leg. Pure."""

from collections import deque
from collections.abc import Callable

import numpy as np

from evodevo.config import RunConfig
from evodevo.errors import RunFailed, UsageError
from evodevo.evolution import rng
from evodevo.evolution.strategies import Strategy
from evodevo.run.course import Course
from evodevo.run.events import Begun, Births
from evodevo.run.history import History
from evodevo.run.life import Life, Mean
from evodevo.run.pacing import pacing_of
from evodevo.run.records import Outcome

TRIED = 1000
"""Maximum number of members per generation in the trial of a strategy."""
TRIED_ALONE = 10
"""Number of members in that trial if they are born one after the other."""

Evaluate = Callable[[Life, int, History], Outcome]
"""Returns the outcome of a leg, given the life, the leg's number and the history so far."""


def play(
    config: RunConfig,
    evaluate: Evaluate,
    strategy_of: Callable[[], Strategy],
    workers: int = 1,
    order: np.random.Generator | None = None,
    restarted: bool = False,
) -> History:
    """Return the history of a whole simulated run; nothing is written and nothing is trained.

    In the pace `steady`, up to `workers` members are born ahead. Legs end in the order in which their members
    wait, or in a random order if `order` is given. `restarted`: before each birth the run is taken over with
    a new strategy from `strategy_of`, as after a kill of the controller. Raises `RunFailed` if the strategy
    is at fault.

    Means (`search.recombine`) are simulated, so `evaluate` is called for each `Mean`, too. Not simulated:
    goals, plateaus and limits that end a run, the soup, and outcomes taken from members with equal genomes.
    """
    config = config.complete()
    assert config.search.pace is not None
    history, now = History(), 1.0
    history.take(Begun("simulated", config.to_json(), config.search.pace, config.inherits), now)
    pacing = pacing_of(strategy_of(), history)
    course = Course(history, pacing.lag, pacing.strategy.judge)
    waiting: deque[Life] = deque()
    while True:
        if restarted:
            pacing = pacing_of(strategy_of(), history)
            course = Course(history, pacing.lag, pacing.strategy.judge)
        while births := pacing.births(max(0, workers - len(waiting))):
            now += 1.0
            history.take(Births(births), now)
            for born in births:
                life = history.by_id[born.member]
                pacing.born(life)
                waiting.append(life)
        for averaging in pacing.averagings():
            now += 1.0
            history.take(averaging, now)
            mean = history.means[averaging.member]
            pacing.averaging(mean)
            waiting.append(mean)
        if not waiting:
            return history
        if order is not None:
            waiting.rotate(int(order.integers(len(waiting))))
        life = waiting.popleft()
        now += 1.0
        history.take(course.result(life, evaluate(life, len(life.legs), history)), now)
        if life.outcome is None:
            waiting.append(life)
        elif not isinstance(life, Mean):
            pacing.over(life)


def try_strategy(config: RunConfig) -> History:
    """Return the history of two generations of the strategy of a config, with invented figures of merit.

    One member in five diverges; nothing is trained. Raises `UsageError` if the strategy is at fault.
    """
    search = config.search
    alone = search.population == 1
    population, demes = min(search.population, TRIED), search.demes
    if demes is not None:  # fewer members in each, which migrate at once
        population = demes.count * min(search.population // demes.count, max(TRIED // demes.count, 10))
        demes = demes.model_copy(update={"every": 1})
    changes = {
        "generations": min(search.generations, TRIED_ALONE if alone else 2),
        "population": population,
        "demes": demes,
        "legs": min(search.legs, 2),
        "recombine": None,
        "start": None,
        "goal": None,
        "plateau": None,
    }
    tried = config.model_copy(update={"search": search.model_copy(update=changes)})
    try:
        return play(tried, invented, tried.strategy, workers=2)
    except RunFailed as why:
        raise UsageError(f"search.strategy: in two simulated generations: {why}") from None


def invented(life: Life, leg: int, history: History) -> Outcome:
    """Return an outcome that depends only on a member's place; one in five diverges, some foms are equal."""
    draw = rng.stream(history.config.run.seed, life.generation, life.slot, f"simulated {leg}")
    number = int(draw.integers(10))
    if life.slot and number < 2:
        return Outcome("diverged")
    fom = float(number)
    return Outcome("done", fom, {history.config.objective.metric: fom})
