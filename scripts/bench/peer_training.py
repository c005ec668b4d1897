"""Train members one epoch at a time, as a worker does, for another library's search (peers.py).

An epoch starts from a checkpoint (or from fresh parameters), with the run's next training seed, and returns a
checkpoint and the validation metrics. A file in the run's directory records the epochs of all processes;
beside it is the checkpoint with the best validation result so far, which is evaluated once on the test split,
at the end.
"""

import contextlib
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from peer_search import AVERAGED, budget_of, epochs_of, job_for

from evodevo.config import read_config
from evodevo.errors import UsageError
from evodevo.evolution.rng import training_seed
from evodevo.evolution.space import Space
from evodevo.run.records import Job
from workers.build import Trainable
from workers.cache import loaded
from workers.leg import weighted
from workers.preload import current_device
from workers.seeding import derived, seed_all
from workers.training import Leg, Training, mean_of

TASK, EPOCHS, BEST, BEST_CHECKPOINT = "task.json", "epochs.jsonl", "best.json", "best.checkpoint"
WORST = 1e6
"""Reported for a diverged member as long as no finite value is known."""


def train_epoch(
    workload: Trainable,
    job: Job,
    hyperparameters: Mapping[str, Any],
    seed: int,
    parent: bytes | None,
    leg: Leg,
) -> tuple[bytes | None, dict[str, float]]:
    """Train one epoch; return the checkpoint and the metrics, including the objective."""
    state = workload.begin(hyperparameters, seed, parent, leg)
    losses = []
    for loss in workload.train(state):
        if isinstance(state, Training):
            state.step += 1
        if loss is not None:
            losses.append(torch.as_tensor(loss))
    checkpoint = workload.checkpoint(state)
    seed_all(derived(job.seed, "evaluate"), current_device())
    trained = {"train_loss": mean_of(losses)} if losses else {}
    return checkpoint, weighted(job, {**trained, **workload.evaluate(state, "validation")})


class Trainer:
    """Trains the epochs of one peer's run, in a directory that all its processes share."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        task = json.loads((directory / TASK).read_text(encoding="utf-8"))
        self.peer: str = task["peer"]
        self.config = read_config(task["config"], TASK)
        self.job = job_for(self.config, directory)
        self.epochs, self.budget = epochs_of(self.config), budget_of(self.config)
        self.space = Space(self.config.search.loci)
        self.mode = self.config.objective.mode
        torch.set_num_threads(self.job.threads)
        self.workload = loaded(self.job)

    @property
    def trained(self) -> list[dict[str, Any]]:
        """The records of all epochs so far."""
        with contextlib.suppress(FileNotFoundError):
            lines = (self.directory / EPOCHS).read_text(encoding="utf-8").splitlines()
            return [json.loads(line) for line in lines]
        return []

    def train(
        self, hyperparameters: Mapping[str, Any], epoch: int, parent: bytes | None
    ) -> tuple[bytes | None, float]:
        """Train one epoch of parameters that have had `epoch`; return the checkpoint and the objective.

        The objective of a diverged member is not finite.
        """
        began = time.monotonic()
        number = len(self.trained)
        seed = training_seed(self.job.seed, number, 0)
        half_life = 1.0 if self.peer in AVERAGED else None
        leg = Leg(before=epoch, total=self.epochs, average_half_life=half_life)
        checkpoint, metrics = train_epoch(self.workload, self.job, hyperparameters, seed, parent, leg)
        value = metrics[self.job.metric]
        if math.isfinite(value) and self._is_best(value) and checkpoint is not None:
            (self.directory / BEST_CHECKPOINT).write_bytes(checkpoint)
            best = {"value": value, "metrics": metrics, "hyperparameters": dict(hyperparameters)}
            (self.directory / BEST).write_text(json.dumps(best), encoding="utf-8")
        record = {"epoch": epoch, "value": value, "seconds": time.monotonic() - began}
        with (self.directory / EPOCHS).open("a", encoding="utf-8") as file:
            file.write(json.dumps({**record, "hyperparameters": dict(hyperparameters)}) + "\n")
        return checkpoint, value

    def finite(self, value: float) -> float:
        """Return a finite objective for libraries that need one: if diverged, the worst value so far."""
        if math.isfinite(value):
            return value
        known = [record["value"] for record in self.trained if math.isfinite(record["value"])]
        if self.mode == "min":
            return max(known, default=WORST)
        return min(known, default=-WORST)

    def result(self) -> dict[str, Any]:
        """Evaluate the best model on test data; return its metrics and what the search spent."""
        if not (self.directory / BEST).exists():
            raise RuntimeError(f"no epoch ended with a finite {self.job.metric}")
        best = json.loads((self.directory / BEST).read_text(encoding="utf-8"))
        checkpoint = (self.directory / BEST_CHECKPOINT).read_bytes()
        leg = Leg(average_half_life=1.0 if self.peer in AVERAGED else None)
        state = self.workload.begin(best["hyperparameters"], 0, checkpoint, leg)
        seed_all(derived(self.job.seed, "evaluate"), current_device())
        return {
            "metrics": {**best["metrics"], **self.workload.evaluate(state, "test")},
            "member_epochs": len(self.trained),
            "training_seconds": sum(record["seconds"] for record in self.trained),
        }

    def _is_best(self, value: float) -> bool:
        with contextlib.suppress(FileNotFoundError):
            best = float(json.loads((self.directory / BEST).read_text(encoding="utf-8"))["value"])
            return value < best if self.mode == "min" else value > best
        return True


def main(search: Callable[[Trainer], str]) -> None:
    """Carry out the run in the directory given on the command line; print its result as a line of JSON.

    `search` spends the budget and returns the library's version.
    """
    try:
        trainer = Trainer(Path(sys.argv[1]))
    except UsageError as why:
        print(why, file=sys.stderr)
        sys.exit(2)
    version = search(trainer)
    print(json.dumps({**trainer.result(), "version": version}), flush=True)
