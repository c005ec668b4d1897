"""Workloads that compute nothing, for benchmarks of the service itself; imported by the workers."""

import math
import time
from collections.abc import Generator, Mapping

import torch
from torch import Tensor, nn

from workers.hyperparameters import Hyperparameters
from workers.workload import Batch, Splits, Training, Workload


class Nothing(Workload):
    """One parameter, one example and empty epochs; the metric depends only on the hyperparameters.

    Loci: a, b and c, each a float from 0 to 1.
    """

    def data(self, root: str | None) -> Splits:
        example = (torch.zeros(1, 1),)
        return Splits(train=example, validation=example)

    def model(self) -> nn.Module:
        return nn.Linear(1, 1, bias=False)

    def optimizer(self, model: nn.Module, hp: Hyperparameters) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=0.1)

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        raise NotImplementedError("train() never calls it")

    def metrics(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor | float]:
        return {"loss": 0.0}

    def train(self, training: Training) -> Generator[Tensor, None, None]:
        yield from ()

    def evaluate(self, training: Training, split: str) -> dict[str, float]:
        if split == "test":
            return {}
        return {f"{split}_loss": sum((training.hyperparameters[name] - 0.5) ** 2 for name in ("a", "b", "c"))}


class Sleep(Nothing):
    """Epochs that only sleep, for a log-normally distributed time drawn with the member's training seed.

    mean_s: mean of the distribution in seconds; sigma: standard deviation of the time's logarithm.
    """

    def __init__(self, mean_s: float = 1.0, sigma: float = 0.5) -> None:
        self.mean_s, self.sigma = mean_s, sigma

    def train(self, training: Training) -> Generator[Tensor, None, None]:
        normal = float(torch.randn((), generator=training.generator))
        time.sleep(self.mean_s * math.exp(self.sigma * normal - self.sigma**2 / 2))
        yield from ()
