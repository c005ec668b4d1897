"""A toy workload that trains in milliseconds, and the records that a worker is given to train it."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evodevo.run.records import Assignment, CheckpointRef, Job, Outcome, WorkUnit
from workers.hyperparameters import Hyperparameters
from workers.unit import carry_out
from workers.workload import Batch, Splits, Training, Workload

TOY = "tests.workers.toys:Toy"
HYPERPARAMETERS = {"learning_rate": 0.05, "momentum": 0.9}


class Toy(Workload):
    """Three classes of points around three centres. Its loss draws from every global generator."""

    def __init__(self, batch_size: int = 16) -> None:
        self.batch_size = batch_size

    def data(self, root: str | None) -> Splits:
        return Splits(points(100, seed=1), points(30, seed=2), points(20, seed=3))

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 3))

    def optimizer(self, model: nn.Module, hp: Hyperparameters) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            model.parameters(), hp["learning_rate"], hp["momentum"], weight_decay=hp.get("weight_decay", 0.0)
        )

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        inputs, labels = batch
        noise = 0.01 * (random.random() + np.random.random())
        return nn.functional.cross_entropy(model(inputs + noise), labels)

    def metrics(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor | float]:
        inputs, labels = batch
        logits = model(inputs)
        return {
            "loss": nn.functional.cross_entropy(logits, labels),
            "accuracy": (logits.argmax(1) == labels).double().mean(),
        }


class Numbered(Toy):
    """Its training examples are their own numbers, so that a test can see which are trained, and when."""

    evaluated = 50

    def data(self, root: str | None) -> Splits:
        numbers = torch.arange(100, dtype=torch.float32)
        return Splits((numbers, -numbers), (torch.arange(self.evaluated, dtype=torch.float32),))

    def metrics(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor | float]:
        return {"mean": batch[0].mean(), "mean_square": float((batch[0] ** 2).mean())}


class Showing(Toy):
    """Shows the sum of each parameter and buffer of its model."""

    def exhibits(self, training: Training) -> Mapping[str, bytes]:
        sums = {name: float(value.sum()) for name, value in training.model.state_dict().items()}
        return {"weights.txt": repr([sums[name] for name in sorted(sums)]).encode()}


class Clock:
    """Replaces the module `time`; it moves only when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.monotonic()


def points(count: int, seed: int) -> Batch:
    """Return inputs float32 (count, 4) and labels int64 (count,)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    return torch.randn(count, 4, generator=generator) + 2 * nn.functional.one_hot(labels, 4), labels


def prepared(workload: Workload) -> Workload:
    workload.prepare(torch.device("cpu"), None)
    return workload


def trained(
    workload: Workload,
    hyperparameters: Mapping[str, Any] = HYPERPARAMETERS,
    seed: int = 7,
    parent: bytes | None = None,
) -> bytes:
    """Return the checkpoint of a member trained for one epoch."""
    training = workload.begin(hyperparameters, seed, parent)
    for _ in workload.train(training):
        pass
    return workload.checkpoint(training)


def orders(workload: Workload, seed: int, epochs: int = 1, **begin: Any) -> list[list[float]]:
    """Return the numbers of the examples of each batch, in the order of training."""
    training = workload.begin(begin.get("hyperparameters", HYPERPARAMETERS), seed, begin.get("parent"))
    return [batch[0].tolist() for _ in range(epochs) for batch in workload.train_batches(training)]


def section(use: str | None = TOY, command: Any = None, **options: Any) -> dict[str, Any]:
    """Return a config's `workload` section after validation."""
    return {"use": None if command else use, "command": command, "options": options}


def job(directory: Path, workload: Mapping[str, Any] | None = None, **changed: Any) -> Job:
    given: dict[str, Any] = {
        "run": "toy",
        "workload": workload or section(),
        "metric": "validation_loss",
        "checkpoints_url": str(directory / "params"),
        "data_root": None,
        "threads": 1,
        "epoch_timeout_s": None,
        **changed,
    }
    return Job(**given)


def assignment(parent: CheckpointRef | None = None, **changed: Any) -> Assignment:
    given: dict[str, Any] = {
        "member": "g0s0",
        "attempt": 1,
        "hyperparameters": HYPERPARAMETERS,
        "epoch": 0,
        "training_seed": 7,
        **changed,
    }
    return Assignment(parent=parent, **given)


def run_one(job: Job, assignment: Assignment) -> Outcome:
    """Return the outcome of a unit of one member, in the longest leg; raises `OSError` if it is lost."""
    report = run_unit(job, [replace(assignment, epochs=job.longest_leg)])[0]
    if "lost" in report:
        raise OSError(report["lost"])
    return Outcome.from_json(report["outcome"])


def run_unit(job: Job, assignments: Sequence[Assignment]) -> dict[int, dict[str, Any]]:
    """Carry out a unit; return the last report of each member that was begun, by its index."""
    reports: dict[int, dict[str, Any]] = {}
    carry_out(WorkUnit(job, assignments), lambda report: reports.update({report["index"]: dict(report)}))
    return reports


def command_attempt(
    directory: Path, command: list[str], parent: CheckpointRef | None = None, **changed: Any
) -> tuple[Job, Assignment]:
    about = {key: changed.pop(key) for key in ("epoch_timeout_s", "longest_leg", "steps") if key in changed}
    the_job = job(directory, section(command=command), metric="fom", **about)
    return the_job, assignment(parent, **{"hyperparameters": {}, **changed})


def files(directory: Path) -> Iterator[Path]:
    return (path for path in sorted(directory.rglob("*")) if path.is_file())
