"""Run Ray Tune's asynchronous PBT over epochs that do nothing; print milliseconds per member-epoch as JSON.

    python ray_pbt.py POPULATION GENERATIONS SEED

overhead.py runs this with the Python of a virtual environment that has `ray[tune]`. The settings favour Ray:
actors are reused, results are not logged to CSV, JSON or TensorBoard, and checkpoints are neither flushed to
disk nor deleted (PBT fails if few are kept). The clock runs from the first result of the last process to
start (in practice one process serves nearly all trials after the first round) to the last result, which
excludes start-up and shutdown. An exploit sets a trial back, so there are more results than population x
generations; the mean is over all of them.
"""

import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.update(
    RAY_USAGE_STATS_ENABLED="0",
    RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS="0",
    TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1",
)

import ray
from ray import tune
from ray.tune.schedulers import PopulationBasedTraining

CPUS = 2


class Nothing(tune.Trainable):
    """The counterpart of no_work.Nothing: the metric depends only on the hyperparameters."""

    def setup(self, config: dict[str, Any]) -> None:
        self.config = config

    def reset_config(self, config: dict[str, Any]) -> bool:
        self.config = config
        return True

    def step(self) -> dict[str, float]:
        return {"validation_loss": sum((self.config[name] - 0.5) ** 2 for name in ("a", "b", "c"))}

    def save_checkpoint(self, directory: str) -> None:
        Path(directory, "weight").write_bytes(bytes(8))

    def load_checkpoint(self, directory: str) -> None:
        Path(directory, "weight").read_bytes()


class Clock(tune.Callback):
    """Records the time of each result and the process that it came from."""

    def __init__(self) -> None:
        self.results: list[tuple[float, int]] = []

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **_: Any) -> None:
        self.results.append((time.monotonic(), result["pid"]))

    def ms(self) -> tuple[float, int]:
        """Return the mean time per result since the last process started, and the number of results."""
        seen = set[int]()
        up = 0
        for number, (_, process) in enumerate(self.results):
            if process not in seen and len(seen) < CPUS:
                seen.add(process)
                up = number
        counted = len(self.results) - 1 - up
        return 1000 * (self.results[-1][0] - self.results[up][0]) / counted, counted


def main() -> None:
    population, generations, seed = map(int, sys.argv[1:])
    random.seed(seed)
    clock = Clock()
    with tempfile.TemporaryDirectory() as directory:
        ray.init(num_cpus=CPUS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        tuner = tune.Tuner(
            Nothing,
            param_space={name: tune.uniform(0.0, 1.0) for name in ("a", "b", "c")},
            tune_config=tune.TuneConfig(
                metric="validation_loss",
                mode="min",
                num_samples=population,
                reuse_actors=True,
                scheduler=PopulationBasedTraining(
                    time_attr="training_iteration",
                    perturbation_interval=1,
                    hyperparam_mutations={name: tune.uniform(0.0, 1.0) for name in ("a", "b", "c")},
                    log_config=False,
                ),
            ),
            run_config=tune.RunConfig(
                name="overhead",
                storage_path=directory,
                stop={"training_iteration": generations},
                callbacks=[clock],
                verbose=0,
            ),
        )
        errors = tuner.fit().errors
        ray.shutdown()
    if errors:
        raise errors[0]
    ms, counted = clock.ms()
    processes = len({process for _, process in clock.results})
    told = {"ms": ms, "counted": counted, "results": len(clock.results), "processes": processes}
    print(json.dumps({**told, "version": ray.__version__}))


if __name__ == "__main__":
    main()
