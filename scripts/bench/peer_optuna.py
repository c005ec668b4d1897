"""Run Optuna's searches with pruning over a budget of member-epochs: `python peer_optuna.py DIRECTORY`.

The search is TPE with Hyperband, or for `optuna_halving` random values with successive halving. For the peers
in `COSINES` the learning rate of a trial follows half a cosine, from its value to zero after the last epoch.

peers.py runs this with the Python of an environment that has Optuna. The first trial has the config's initial
values. Each trial trains from scratch, for at most as many epochs as a line of members, and is evaluated
after each; new trials start until the budget is spent. Sampler and pruner have their default settings.
"""

import math
from typing import Any

import optuna
from peer_search import COSINES, FOLLOWS_COSINE, bounds_of, choices_of, decoded, encoded
from peer_training import Trainer, main

PRUNED = optuna.trial.TrialState.PRUNED


def suggest(trial: optuna.Trial, name: str, locus: Any) -> float:
    """Return the trial's value of a locus; a choice is represented by its index."""
    choices = choices_of(locus)
    if choices is not None:
        return int(trial.suggest_categorical(name, list(range(len(choices)))))
    low, high = bounds_of(locus)
    log = locus.scale == "log"
    if locus.type == "int":
        return int(trial.suggest_int(name, int(low), int(high), log=log))
    return float(trial.suggest_float(name, low, high, log=log))


def search(trainer: Trainer) -> str:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = trainer.job.seed
    study = optuna.create_study(
        study_name=f"seed {seed}",  # Hyperband picks a trial's bracket by this name and the trial's number
        direction="minimize" if trainer.mode == "min" else "maximize",
        sampler=_sampler(trainer, seed),
        pruner=_pruner(trainer),
    )
    study.enqueue_trial(encoded(trainer.space))
    loci = {name: locus for name, locus in trainer.space.loci.items() if locus.evolves}
    left = trainer.budget
    while left:
        trial = study.ask()
        coded = {name: suggest(trial, name, locus) for name, locus in loci.items()}
        left -= _train(trainer, study, trial, decoded(trainer.space, coded), min(left, trainer.epochs))
    return str(optuna.__version__)


def _sampler(trainer: Trainer, seed: int) -> optuna.samplers.BaseSampler:
    if trainer.peer == "optuna_halving":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed)


def _pruner(trainer: Trainer) -> optuna.pruners.BasePruner:
    if trainer.peer == "optuna_halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=trainer.epochs, reduction_factor=3)


def _train(
    trainer: Trainer, study: optuna.Study, trial: optuna.Trial, hyperparameters: dict[str, Any], most: int
) -> int:
    """Train a trial until it is pruned, or for `most` epochs; return the number of epochs trained."""
    parent, value = None, math.nan
    for epoch in range(most):
        now = dict(hyperparameters)
        if trainer.peer in COSINES:
            now[FOLLOWS_COSINE] *= 0.5 * (1 + math.cos(math.pi * epoch / trainer.epochs))
        parent, value = trainer.train(now, epoch, parent)
        trial.report(value, epoch + 1)
        if not math.isfinite(value) or trial.should_prune():
            study.tell(trial, state=PRUNED)
            return epoch + 1
    study.tell(trial, value)
    return most


if __name__ == "__main__":
    main(search)
