"""Workloads whose members static steps can train, small enough to be trained in a moment."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workers.hyperparameters import Hyperparameters
from workers.seeding import Randomness
from workers.static import epoch
from workers.static.shelf import shelf_of
from workers.training import Leg, Training
from workers.workload import Batch, Splits, Workload

CPU = torch.device("cpu")
AVERAGED = Leg(epochs=2, total=2, average_half_life=0.5)


class Points(Workload):
    """Three classes of noisy points; batches of 16 of 100. What differs in a test is given to it."""

    batch_size = 16

    def __init__(self, kind: type[torch.optim.Optimizer] = torch.optim.SGD, **settings: Any) -> None:
        self.make = lambda parameters, rate: kind(parameters, lr=rate, **settings)

    def data(self, root: str | None) -> Splits:
        generator = torch.Generator().manual_seed(0)
        labels = torch.arange(100) % 3
        inputs = torch.randn(100, 4, generator=generator) + 2 * F.one_hot(labels, 4)
        return Splits((inputs, labels), (inputs[:20], labels[:20]))

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))

    def optimizer(self, model: nn.Module, hp: Hyperparameters) -> torch.optim.Optimizer:
        return self.make(model.parameters(), hp["learning_rate"])

    def draws(self, batch: Batch, hp: Hyperparameters) -> Any:
        return {"noise": hp.get("noise", 0.1) * torch.randn(batch[0].shape)}

    def augment(self, batch: Batch, drawn: Any, hp: Hyperparameters) -> Batch:
        inputs, labels = batch
        return inputs + drawn["noise"], labels

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        inputs, labels = batch
        return self.criterion(model(inputs), labels)

    def criterion(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(outputs, labels)

    def metrics(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        inputs, labels = batch
        return {"loss": F.cross_entropy(model(inputs), labels)}


W = TypeVar("W", bound=Workload)


def ready(workload: W) -> W:
    workload.prepare(CPU, None)
    return workload


class Switch:
    """Turns static steps on and off on the CPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._set = monkeypatch.setattr

    def __call__(self, on: bool) -> None:
        self._set(epoch, "DEVICES", ("cpu",) if on else ())


def trained(
    workload: Workload,
    hyperparameters: Mapping[str, Any],
    seed: int = 1,
    parent: bytes | None = None,
    leg: Leg = AVERAGED,
    epochs: int = 2,
) -> tuple[Training, list[float]]:
    """Train a member some epochs as a leg does; return it with all its losses."""
    training, losses = workload.begin(hyperparameters, seed, parent, leg), []
    for number in range(epochs):
        training.epoch = leg.before + number
        for loss in workload.train(training):
            losses.append(float(loss))
            training.step += 1
    return training, losses


def made(workload: Workload) -> int:
    """How many steps were captured for a workload."""
    return shelf_of(workload).made


def assert_same(one: bytes, other: bytes, atol: float = 0.0) -> None:
    """Checkpoints have the same parts, and numbers that differ by at most `atol`."""
    mine, its = safetensors.torch.load(one), safetensors.torch.load(other)
    assert mine.keys() == its.keys()
    for name, value in mine.items():
        assert value.dtype == its[name].dtype
        torch.testing.assert_close(value, its[name], rtol=0, atol=atol if value.is_floating_point() else 0)


def together(workload: Workload, trainings: Sequence[Training]) -> list[list[float]]:
    """Train an epoch of several members together, each with its own generators; return their losses."""
    randomness = []
    for number, _ in enumerate(trainings):
        torch.manual_seed(100 + number)
        randomness.append(Randomness(CPU))
    rows = [row.tolist() for row in workload.train_together(trainings, randomness)]
    return [list(column) for column in zip(*rows, strict=True)]


def alone(workload: Workload, trainings: Sequence[Training]) -> list[list[float]]:
    """Train the same one after the other."""
    losses = []
    for number, training in enumerate(trainings):
        torch.manual_seed(100 + number)
        losses.append([float(loss) for loss in workload.train(training)])
    return losses
