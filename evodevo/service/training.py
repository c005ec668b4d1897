"""The fittest genome of a run, trained from scratch until it gets no better, as a run of its own."""

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
            "population": 1,
            "generations": 1,
            "pace": "generations",
            "pool": None,
            "legs": max_epochs,
            "patience": patience,
            "goal": None,
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
    limits = config.limits.model_copy(update={"wall_time_s": None})  # it is patience that ends it
    return config.model_copy(update={"run": run, "search": search, "limits": limits})
