"""Train the fittest genome of a run from scratch until it stops improving, as a separate run."""

from typing import Any

from evodevo.config import RunConfig
from evodevo.errors import UsageError
from evodevo.run.history import History

DEFAULT_PATIENCE = 10
MOST_EPOCHS = 1000


def training_config(
    history: History, name: str, patience: int = DEFAULT_PATIENCE, max_epochs: int = MOST_EPOCHS
) -> RunConfig:
    """Return the config of a run whose only member has the best genome and seed of another run.

    Each leg is one epoch. The member ends after `patience` epochs without improvement, or `max_epochs` in
    all, and its best epoch is its result. Raises `UsageError` if the run has no best member yet.
    """
    config, best = history.config, history.best
    if best is None:
        raise UsageError(f"run {config.run.name!r} has no best member yet; resume it with `evodevo resume`")
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
    # patience decides the end
    limits = config.limits.model_copy(update={"wall_time_s": None, "member_time_s": None})
    changes = {"run": run, "search": search, "limits": limits, "objective": _objective(config)}
    changes |= {"phases": [], "phase": None}  # no phase follows
    return config.model_copy(update=changes)


def _objective(config: RunConfig) -> Any:
    """Return the objective that takes the best epoch, by the target's metric if the run has a target.

    Raises `UsageError` if the target has several metrics.
    """
    objective, target = config.objective, config.objective.target
    if target is None:
        return objective.model_copy(update={"over": "best", "repeats": 1})
    if len(target.goals) > 1:
        raise UsageError(
            f"run {config.run.name!r} has an objective.target of {len(target.goals)} metrics, but training "
            "until it stops improving needs one; set objective.metric in a separate config"
        )
    (goal,) = target.goals
    mode = "min" if goal.at_least is None else "max"
    own = {"metric": goal.metric, "mode": mode, "target": None, "over": "best", "repeats": 1}
    return objective.model_copy(update=own)
