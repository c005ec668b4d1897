"""Networks for tests of members that several workers train: one with batch norm, one without.

They are imported by workers as `nets:Plain` and `nets:Normed`, the way a user's own module is.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evodevo.errors import Unfit
from workers.hyperparameters import Hyperparameters
from workers.workload import Batch, Splits, Training, Workload


class Plain(Workload):
    """Three classes of 240 drawn points.

    `pause_s`: how long each batch sleeps. A worker that has the variable NETS_UNFIT must take no part; it
    says why. In gangs, from the second generation on: `marks` is a directory in which each process leaves a
    file that is named after its rank and itself, and `fails` the rank that raises an error.
    """

    def __init__(self, marks: str = "", pause_s: float = 0.0, batch_size: int = 24, fails: str = "") -> None:
        self.marks, self.pause_s, self.batch_size, self.fails = marks, pause_s, batch_size, fails

    def data(self, root: str | None) -> Splits:
        if why := os.environ.get("NETS_UNFIT"):
            raise Unfit(why)
        generator = torch.Generator().manual_seed(1)
        labels = torch.arange(240) % 3
        inputs = torch.randn(240, 8, generator=generator) + 2 * F.one_hot(labels, 8)
        return Splits((inputs[:192], labels[:192]), (inputs[192:], labels[192:]))

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))

    def optimizer(self, model: nn.Module, hp: Hyperparameters) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=hp["learning_rate"], momentum=hp["momentum"])

    def train_batches(self, training: Training) -> Iterator[Batch]:
        if self.marks and training.epoch and training.gang:
            Path(self.marks, f"{training.gang.rank}-{os.getpid()}").touch()
        for batch in super().train_batches(training):
            time.sleep(self.pause_s)
            if self.fails and training.epoch and training.gang and str(training.gang.rank) == self.fails:
                raise ArithmeticError("this rank's share is bad")
            yield batch

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        inputs, labels = batch
        return F.cross_entropy(model(inputs), labels)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        inputs, labels = batch
        return {"loss": F.cross_entropy(model(inputs), labels)}


class Normed(Plain):
    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


class Dropping(Plain):
    """Draws random numbers in each step."""

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))
