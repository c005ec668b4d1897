"""Find the best member of a run's last generation."""

from evodevo.evolution.fitness import best_first, is_usable
from evodevo.run.history import History
from evodevo.run.life import Life


def best_of_last(history: History) -> Life | None:
    """Return the best member of the last complete generation, if members are trained from scratch.

    None if members inherit (later ones are trained longer), are born one by one, or have no fom.
    """
    count = history.completed()
    if history.inherits or history.config.search.population == 1 or not count:
        return None
    last = history.generations[count - 1]
    best = last[best_first([life.fom for life in last], history.config.objective.mode)[0]]
    return best if is_usable(best.fom) else None
