"""The class a user subclasses to bring a model of their own.

    class Digits(Workload):
        def __init__(self, batch_size: int = 50):
            self.batch_size = batch_size

        def data(self, root):
            return Splits(train=(images, labels), validation=(...), test=(...))

        def model(self):
            return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

        def optimizer(self, model, hp):
            return torch.optim.SGD(model.parameters(), lr=hp["learning_rate"])

        def loss(self, model, batch, hp):
            images, labels = batch
            return F.cross_entropy(model(images), labels)

        def metrics(self, model, batch):
            images, labels = batch
            return {"loss": F.cross_entropy(model(images), labels)}

The metrics reach the config's `objective.metric` as `validation_loss`. Arguments of `__init__` are the
config's `workload.options`. Everything below `metrics` is provided, and can be overridden.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evodevo.errors import UsageError
from workers import parameters
from workers.hyperparameters import Hyperparameters

Batch = tuple[Tensor, ...]


@dataclass(frozen=True)
class Splits:
    """Tensors of each split, with the examples along their first dimension.

    Selection sees `validation` only; `test`, where there is one, is for the report.
    """

    train: Batch
    validation: Batch
    test: Batch | None = None


@dataclass
class Training:
    """A member while it is being trained."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    hyperparameters: Hyperparameters
    generator: torch.Generator
    """On the CPU, seeded with the member's training seed: the order of the examples comes from it."""
    epochs: int = 1
    """Of this leg; `epoch` is the number of the one at hand, from 0."""
    epoch: int = 0
    steps: int | None = None
    """Of this leg if it is measured in steps; `step` have been done."""
    step: int = 0

    def progress(self, of_epoch: float) -> float:
        """Return how much of the leg is done, in [0, 1], at this fraction of the epoch."""
        if self.steps is not None:
            return min(1.0, self.step / self.steps)
        return min(1.0, (self.epoch + of_epoch) / self.epochs)


class Workload(ABC):
    batch_size: int = 64
    suffix = ".safetensors"
    continues = True

    device: torch.device
    splits: Splits

    @abstractmethod
    def data(self, root: str | None) -> Splits:
        """Load the data, from the config's `data.root` where it names one. Called once a worker process."""

    @abstractmethod
    def model(self) -> nn.Module:
        """A new model with freshly drawn parameters (torch's generators are seeded)."""

    def model_of(self, hp: Hyperparameters) -> nn.Module:
        """The model of a member; overridden where hyperparameters have a say in its topology."""
        return self.model()

    @abstractmethod
    def optimizer(self, model: nn.Module, hp: Hyperparameters) -> torch.optim.Optimizer:
        """An optimizer with the child's hyperparameters; what its α's had accumulated is set into it."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        """The scalar to minimise, for one batch of training."""

    @abstractmethod
    def metrics(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor | float]:
        """Means over one batch of a split; they are averaged over the split, weighted by batch length."""

    def prepare(self, device: torch.device, data_root: str | None) -> None:
        """Load the data and keep it on the device. Raises `UsageError` for a batch size that cannot be."""
        if self.batch_size < 1:
            raise UsageError(f"workload.options.batch_size: should be 1 or more, not {self.batch_size}")
        self.device = device
        loaded = self.data(data_root)
        for name in ("train", "validation"):
            if not len(getattr(loaded, name)[0]):
                raise UsageError(f"the {name} split of the data is empty")
        on_device = (split and tuple(t.to(device) for t in split) for split in _fields(loaded))
        self.splits = Splits(*on_device)  # type: ignore[arg-type]

    def begin(self, hyperparameters: Mapping[str, Any], training_seed: int, parent: bytes | None) -> Training:
        """A member, fresh or with the parameters and optimizer state of `parent`."""
        _seed_all(training_seed, self.device)
        hp = Hyperparameters(hyperparameters)
        model = self.model_of(hp).to(self.device)
        optimizer = self.optimizer(model, hp)
        if parent is not None:
            parameters.restore(parent, model, optimizer)
        return Training(model, optimizer, hp, torch.Generator().manual_seed(training_seed))

    def train(self, training: Training) -> Generator[Tensor, None, None]:
        """Train one epoch; yields the loss of each batch, detached.

        If the loci have an `anneal`, the learning rate falls linearly within the leg, towards 1 - anneal
        of itself: 0 leaves it alone, with 1 it ends near zero. A fom is then not worse for the noise of a
        learning rate that is still high for a good reason, and selection by one leg is less short-sighted.
        """
        training.model.train()
        anneal = training.hyperparameters.get("anneal", 0.0)
        groups = training.optimizer.param_groups
        peaks = [group["lr"] for group in groups]
        batches = max(1, len(self.splits.train[0]) // self.batch_size)
        try:
            for number, batch in enumerate(self.train_batches(training)):
                for group, peak in zip(groups, peaks, strict=True):
                    group["lr"] = peak * (1.0 - anneal * training.progress(number / batches))
                yield self.step(training, batch)
        finally:
            for group, peak in zip(groups, peaks, strict=True):
                group["lr"] = peak

    def step(self, training: Training, batch: Batch) -> Tensor:
        """One optimizer step; returns the batch's loss, detached."""
        training.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(training.model, batch, training.hyperparameters)
        loss.backward()  # type: ignore[no-untyped-call]
        training.optimizer.step()
        return loss.detach()

    def train_batches(self, training: Training) -> Iterator[Batch]:
        """The training split in a random order, whole batches only (or all of it, where it is smaller)."""
        count = len(self.splits.train[0])
        order = torch.randperm(count, generator=training.generator).to(self.device)
        for start in range(0, max(1, count - self.batch_size + 1), self.batch_size):
            chosen = order[start : start + self.batch_size]
            yield tuple(tensor[chosen] for tensor in self.splits.train)

    @torch.no_grad()
    def evaluate(self, training: Training, split: str) -> dict[str, float]:
        """The metrics over a whole split, named `<split>_<metric>`; none where the split is not there."""
        training.model.eval()
        totals: dict[str, Tensor] = {}
        count = 0
        for batch in self.evaluation_batches(split):
            size = len(batch[0])
            count += size
            for name, value in self.metrics(training.model, batch).items():
                weighted = torch.as_tensor(value, device=self.device).double() * size
                totals[name] = totals.get(name, torch.zeros_like(weighted)) + weighted
        return {f"{split}_{name}": float(total) / count for name, total in totals.items()}

    def evaluation_batches(self, split: str) -> Iterator[Batch]:
        """A split in its own order, in batches that may be larger than in training."""
        tensors = getattr(self.splits, split)
        size = max(self.batch_size, 500)
        for start in range(0, len(tensors[0]) if tensors else 0, size):
            yield tuple(tensor[start : start + size] for tensor in tensors)

    def checkpoint(self, training: Training) -> bytes:
        return parameters.encode(training.model, training.optimizer)

    def exhibits(self, training: Training) -> Mapping[str, bytes]:
        """Something to look at of the run's best member, for its report: `.png` pictures, `.txt` texts.

        File name -> content. Asked once, at the end; it may use any split.
        """
        return {}

    def rehearse(self, hyperparameters: Mapping[str, Any]) -> tuple[list[str], set[str]]:
        """Train and evaluate one batch; returns the metrics' names and the hyperparameters that were read."""
        training = self.begin(hyperparameters, 0, None)
        next(self.train(training), None)
        training.model.eval()
        with torch.no_grad():
            reported = self.metrics(training.model, next(iter(self.evaluation_batches("validation"))))
            for name, value in reported.items():
                if torch.as_tensor(value).numel() != 1:
                    shape = tuple(torch.as_tensor(value).shape)
                    raise ValueError(f"metric {name!r} should be one number, not a tensor of shape {shape}")
        return [f"validation_{name}" for name in reported], training.hyperparameters.read

    def facts(self) -> list[str]:
        """Lines for `evodevo check`: what this workload is, in numbers."""
        sizes = [
            f"{name} {len(getattr(self.splits, name)[0]):,}"
            for name in ("train", "validation", "test")
            if getattr(self.splits, name)
        ]
        count = sum(p.numel() for p in self.model().parameters())
        return [f"{count:,} parameters on {self.device}", f"examples: {', '.join(sizes)}"]


def _fields(splits: Splits) -> tuple[Batch | None, ...]:
    return splits.train, splits.validation, splits.test


def _seed_all(seed: int, device: torch.device) -> None:
    """Seed all of the usual global generators: a workload may draw from any of them.

    `torch.manual_seed` would do more, but while CUDA sleeps it keeps a stack trace of each call for ever.
    """
    random.seed(seed)
    np.random.seed(seed)
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)
