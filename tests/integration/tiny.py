"""A workload for tests of whole runs whose checkpoints are small: a linear model on 60 drawn points.

It is imported by workers as `tiny:Tiny`, the way a user's own module is.
"""

import os
import time
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evodevo.errors import Unfit
from workers.hyperparameters import Hyperparameters
from workers.workload import Batch, Splits, Training, Workload


class Tiny(Workload):
    """`pause_s`: how long each epoch sleeps before it trains. `hold`: a file; while it exists, epochs wait.

    A worker that has the variable TINY_UNFIT must take no part; it says why.
    """

    def __init__(self, pause_s: float = 0.0, hold: str = "") -> None:
        self.pause_s = pause_s
        self.hold = hold
        self.batch_size = 10

    def data(self, root: str | None) -> Splits:
        if why := os.environ.get("TINY_UNFIT"):
            raise Unfit(why)
        generator = torch.Generator().manual_seed(1)
        labels = torch.arange(60) % 3
        inputs = torch.randn(60, 4, generator=generator) + 2 * F.one_hot(labels, 4)
        return Splits((inputs[:40], labels[:40]), (inputs[40:], labels[40:]))

    def model(self) -> nn.Module:
        return nn.Linear(4, 3)

    def optimizer(self, model: nn.Module, hp: Hyperparameters) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=hp["learning_rate"], momentum=hp["momentum"])

    def train_batches(self, training: Training) -> Iterator[Batch]:
        time.sleep(self.pause_s)
        while self.hold and os.path.exists(self.hold):
            time.sleep(0.02)
        yield from super().train_batches(training)

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        inputs, labels = batch
        return F.cross_entropy(model(inputs), labels)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        inputs, labels = batch
        return {"loss": F.cross_entropy(model(inputs), labels)}
