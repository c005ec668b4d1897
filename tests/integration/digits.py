"""A workload for tests of whole runs: a linear model on 600 real digits, quick, with ways to go wrong.

It is imported by workers as `digits:Digits`, the way a user's own module is.
"""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workers.combining import mean_distribution
from workers.data import mnist
from workers.hyperparameters import Hyperparameters
from workers.workload import Batch, Splits, Training, Workload

LARGEST_OF_TRIALS = 10
"""Upper bound of the members' seeds in the trial before a run; those of a run are far larger."""


class Digits(Workload):
    """`marks`: a directory in which each epoch leaves a file named after its process when it begins.

    `hold`: a file; while it exists, epochs from number `hold_from` on wait. `pause_s`: how long each epoch
    sleeps after that. `raise_above`, `nan_above`, `hang_above`, `out_of_memory_above`: what happens when the
    learning rate is above it.
    """

    def __init__(
        self,
        marks: str = "",
        hold: str = "",
        hold_from: int = 0,
        pause_s: float = 0.0,
        raise_above: float = 10.0,
        nan_above: float = 10.0,
        hang_above: float = 10.0,
        out_of_memory_above: float = 10.0,
    ) -> None:
        self.marks = marks
        self.hold = hold
        self.hold_from = hold_from
        self.pause_s = pause_s
        self.raise_above = raise_above
        self.nan_above = nan_above
        self.hang_above = hang_above
        self.out_of_memory_above = out_of_memory_above

    def rehearse(self, *given: Any) -> tuple[list[str], set[str]]:
        """Rehearse without waiting and without leaving marks."""
        kept = dict(vars(self))
        self.marks, self.hold, self.pause_s = "", "", 0.0
        self.hang_above = self.out_of_memory_above = 10.0
        try:
            return super().rehearse(*given)
        finally:
            vars(self).update(kept)

    def data(self, root: str | None) -> Splits:
        full = mnist.load(root)
        cut = [
            tuple(tensor[:200] for tensor in split)
            for split in (full.train, full.validation, full.test or ())
        ]
        return Splits(*cut)

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

    def optimizer(self, model: nn.Module, hp: Hyperparameters) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=hp["learning_rate"], momentum=hp["momentum"])

    def train_batches(self, training: Training) -> Iterator[Batch]:
        learning_rate = training.hyperparameters["learning_rate"]
        if training.generator.initial_seed() < LARGEST_OF_TRIALS:
            yield from super().train_batches(training)
            return
        if self.marks:
            Path(self.marks, str(os.getpid())).touch()
        if learning_rate > self.raise_above:
            raise ArithmeticError(f"learning rate {learning_rate} is too high")
        if learning_rate > self.hang_above:
            time.sleep(3600)
        if learning_rate > self.out_of_memory_above:
            os.kill(os.getpid(), 9)
        while self.hold and training.epoch >= self.hold_from and Path(self.hold).exists():
            time.sleep(0.02)
        time.sleep(self.pause_s)
        yield from super().train_batches(training)

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        images, labels = batch
        loss = F.cross_entropy(model(images), labels)
        return loss * float("nan") if hp["learning_rate"] > self.nan_above else loss

    def combine(self, outputs: Sequence[Tensor]) -> Tensor:
        return mean_distribution(outputs)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        images, labels = batch
        return {"loss": F.cross_entropy(model(images), labels)}
