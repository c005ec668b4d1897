"""The fittest genome of a run, trained from scratch until it gets no better, as a run of its own."""

from typing import Any

from evodevo.config import RunConfig
from evodevo.errors import UsageError
from evodevo.run.history import History

DEFAULT_PATIENCE = 10
MOST_EPOCHS = 1000


def training_config(
    history: History, name: str, patience: int = DEFAULT_PATIENCE, max_epochs: int = MOST_EPOCHS
) -> RunConfig:
    """Return the config of a run whose one member has the best genome and seed of another run.

    Each leg is an epoch; after `patience` of them that were no better, or `max_epochs` in all, its life is
    over, and the best of them is its result. Raises `UsageError` if nobody is the best yet.
    """
    config, best = history.config, history.best
    if best is None:
        raise UsageError(f"run {config.run.name!r} has no best member yet; `evodevo resume` carries it on")
    search = config.search.model_copy(
        update={
            "strategy": "replay",
            "inherit": "none",
            "population": 1,
            "demes": None,
            "generations": 1,
            "pace": "generations",
            "pool": None,
            "legs": max_epochs,
            "patience": patience,
            "goal": None,
            "plateau": None,
            "stop_early": None,
            "reuse": None,
            "phases": None,
            "epochs_per_generation": 1,
            "steps_per_generation": None,
            "recombine": None,
            "soup": False,
            "start": None,
            "options": {
                "genomes": [dict(best.birth.genome)],
                "training_seeds": [best.training_seed],
                "legs": [],
            },
        }
    )
    run = config.run.model_copy(update={"name": name})
    limits = config.limits.model_copy(update={"wall_time_s": None, "member_time_s": None})  # patience ends it
    changes = {"run": run, "search": search, "limits": limits, "objective": _objective(config)}
    changes |= {"phases": [], "phase": None}  # none follows
    return config.model_copy(update=changes)


def _objective(config: RunConfig) -> Any:
    """The best epoch; by the metric of a target, if the run has one. Raises `UsageError` for several."""
    objective, target = config.objective, config.objective.target
    if target is None:
        return objective.model_copy(update={"over": "best", "repeats": 1})
    if len(target.goals) > 1:
        raise UsageError(
            f"run {config.run.name!r} has an objective.target of {len(target.goals)} metrics, and training "
            "until it gets no better goes by one; set objective.metric in a config of its own"
        )
    (goal,) = target.goals
    mode = "min" if goal.at_least is None else "max"
    own = {"metric": goal.metric, "mode": mode, "target": None, "over": "best", "repeats": 1}
    return objective.model_copy(update=own)
