"""Run Ray Tune's PBT or PB2 over a budget of member-epochs: `python peer_ray.py DIRECTORY`.

peers.py runs this with the Python of an environment that has `ray[tune]` and scikit-learn. Settings are Ray's
defaults (asynchronous, quantiles of 0.25, resampling with probability 0.25), with these exceptions, all in
its favour: it perturbs after every epoch, which is the length of a generation; the first trial has the
config's initial values; values that PBT's factors of 0.8 and 1.2 move out of bounds are clipped; and a
diverged trial reports the worst value seen, because Ray never replaces a trial whose objective is NaN. PB2
supports only real numbers: other loci keep their initial values (without one, those that the trial started
with), and loci on a log scale are passed as log10.

An exploit sets the trial's iteration to that of the trial it copies. So the budget counts the epochs that
were actually trained, not iterations: each trial trains as many as a line of members, whatever it copies.
One trial trains at a time.
"""

import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.update(
    RAY_USAGE_STATS_ENABLED="0",
    RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS="0",
    RAY_CHDIR_TO_TRIAL_DIR="0",
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
)

import numpy as np
import ray
from peer_search import bounds_of, choices_of, clipped, decoded, encoded
from peer_training import Trainer, main
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining
from ray.tune.schedulers.pb2 import PB2
from ray.tune.search.basic_variant import BasicVariantGenerator

from evodevo.evolution.space import FloatLocus, Space

OBJECTIVE = "objective"
KEPT = 4
"""Checkpoints to keep per trial: others copy one that is not the last, so with 1 a copy fails."""
LONGEST_DIRECTORY = 38
"""Ray creates sockets in its directory, and the path of a socket has at most 107 characters."""
_trainers: dict[str, Trainer] = {}
"""The trainers of this process: successive trials in it share the workload."""


class Member(tune.Trainable):
    """A trial whose steps are one epoch each."""

    def setup(self, config: dict[str, Any], directory: str, logs: bool) -> None:
        if directory not in _trainers:
            _trainers[directory] = Trainer(Path(directory))
        self.trainer, self.logs = _trainers[directory], logs
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.hyperparameters = decoded(self.trainer.space, new_config, self.logs)
        self.epoch = 0
        self.parameters: bytes | None = None
        return True

    def step(self) -> dict[str, float]:
        self.parameters, value = self.trainer.train(self.hyperparameters, self.epoch, self.parameters)
        self.epoch += 1
        return {OBJECTIVE: self.trainer.finite(value)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        Path(checkpoint_dir, f"{self.epoch}.checkpoint").write_bytes(self.parameters or b"")

    def load_checkpoint(self, checkpoint: str) -> None:
        (path,) = Path(checkpoint).glob("*.checkpoint")
        self.epoch, self.parameters = int(path.stem), path.read_bytes() or None


class Budget(tune.Stopper):
    """Stops each trial after it has actually trained `epochs` epochs."""

    def __init__(self, epochs: int) -> None:
        self.epochs, self.trained = epochs, Counter[str]()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self.trained[trial_id] += 1
        return self.trained[trial_id] >= self.epochs

    def stop_all(self) -> bool:
        return False


def domain(locus: Any, logs: bool) -> Any:
    """Return the domain from which Tune draws a locus's value."""
    choices = choices_of(locus)
    low, high = bounds_of(locus, logs)
    if choices is not None:
        return tune.choice(list(range(len(choices))))
    log = locus.scale == "log"
    if not isinstance(locus, FloatLocus):
        return (tune.lograndint if log else tune.randint)(int(low), int(high) + 1)
    return tune.loguniform(low, high) if log and not logs else tune.uniform(low, high)


def scheduler(peer: str, space: Space, logs: bool) -> PopulationBasedTraining:
    loci = {name: locus for name, locus in space.loci.items() if locus.evolves}
    settings: dict[str, Any] = {
        "time_attr": "training_iteration",
        "perturbation_interval": 1,
        "custom_explore_fn": lambda coded: clipped(space, coded, logs),
        "log_config": False,
    }
    if peer == "ray_pb2":
        floats = {name: locus for name, locus in loci.items() if isinstance(locus, FloatLocus)}
        bounds = {name: list(bounds_of(locus, logs)) for name, locus in floats.items()}
        return PB2(hyperparam_bounds=bounds, **settings)
    mutations: dict[str, Any] = {}
    for name, locus in loci.items():
        choices = choices_of(locus)
        mutations[name] = domain(locus, logs) if choices is None else list(range(len(choices)))
    return PopulationBasedTraining(hyperparam_mutations=mutations, **settings)


def search(trainer: Trainer) -> str:
    logs = trainer.peer == "ray_pb2"
    initial = encoded(trainer.space, logs)
    param_space = {
        name: initial[name]
        if logs and name in initial and not isinstance(locus, FloatLocus)
        else domain(locus, logs)
        for name, locus in trainer.space.loci.items()
        if locus.evolves
    }
    first = {name: value for name, value in initial.items() if not isinstance(param_space[name], int)}
    random.seed(trainer.job.seed)
    np.random.seed(trainer.job.seed)
    logs_within = str(trainer.directory / "r")  # removed with the run's directory
    ray.init(
        address="local",
        _temp_dir=logs_within if len(logs_within) <= LONGEST_DIRECTORY else None,
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=128 << 20,
    )
    tuner = tune.Tuner(
        tune.with_parameters(Member, directory=str(trainer.directory), logs=logs),
        param_space=param_space,
        tune_config=tune.TuneConfig(
            metric=OBJECTIVE,
            mode=trainer.mode,
            num_samples=trainer.config.search.population,
            reuse_actors=True,
            scheduler=scheduler(trainer.peer, trainer.space, logs),
            search_alg=BasicVariantGenerator(
                points_to_evaluate=[first] if first else None, random_state=trainer.job.seed
            ),
        ),
        run_config=tune.RunConfig(
            name="trials",
            storage_path=str(trainer.directory),
            stop=Budget(trainer.epochs),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=KEPT),
            verbose=0,
        ),
    )
    errors = tuner.fit().errors
    ray.shutdown()
    if errors:
        raise errors[0]
    return str(ray.__version__)


if __name__ == "__main__":
    main(search)
