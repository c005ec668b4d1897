"""LeNet-5 on MNIST, after LeCun et al. 1998, with max pooling and ReLU: 61,706 parameters."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evodevo.errors import UsageError
from workers.augment import shifted, shifts
from workers.combining import mean_distribution
from workers.data import mnist
from workers.hyperparameters import Hyperparameters
from workers.precision import Precision, casts_to
from workers.workload import Batch, Splits, Workload


class LeNet(Workload):
    """LeNet-5, trained by SGD.

    Evolvable: learning_rate, and optionally momentum, weight_decay and max_shift.

    max_shift: training images are moved randomly by up to this many pixels in each direction.
    train_examples: number of training digits to use, the first ones (None: all).
    precision: of the network in training; None is bfloat16 on a GPU that supports it and float32 otherwise.
    Evaluation is in float32. compile, capture: see `Workload`.
    """

    def __init__(
        self,
        batch_size: int = 50,
        train_examples: int | None = None,
        precision: Precision | None = None,
        compile: bool = False,
        capture: Literal["auto", "never"] = "auto",
    ) -> None:
        if train_examples is not None and train_examples < 1:
            raise UsageError(f"workload.options.train_examples: should be 1 or more, not {train_examples}")
        self.batch_size = batch_size
        self.train_examples = train_examples
        self.precision = precision
        self.compile, self.capture = compile, capture

    def data(self, root: str | None) -> Splits:
        splits = mnist.load(root)
        images, labels = splits.train
        count = self.train_examples
        if count is not None and count > len(labels):
            raise UsageError(
                f"workload.options.train_examples: should be at most {len(labels):,}, the training digits, "
                f"not {count:,}"
            )
        return dataclasses.replace(splits, train=(images[:count], labels[:count]))

    def model(self) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(400, 120), nn.ReLU(),
            nn.Linear(120, 84), nn.ReLU(),
            nn.Linear(84, 10),
        )  # fmt: skip

    def optimizer(self, model: nn.Module, hp: Hyperparameters) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            model.parameters(),
            lr=hp["learning_rate"],
            momentum=hp.get("momentum", 0.0),
            weight_decay=hp.get("weight_decay", 0.0),
        )

    def draws(self, batch: Batch, hp: Hyperparameters) -> Any:
        """Draw how far each image is moved, int64 (n, 2)."""
        return shifts(len(batch[0]), hp["max_shift"]) if "max_shift" in hp else None

    def augment(self, batch: Batch, drawn: Any, hp: Hyperparameters) -> Batch:
        images, labels = batch
        return (images if drawn is None else shifted(images, drawn, fill=images.min())), labels

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        images, labels = batch
        with self._in_precision():
            outputs = model(images)
        return self.criterion(outputs.float(), labels)

    def criterion(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross entropy of scores float32 (n, 10) for labels int64 (n,)."""
        return F.cross_entropy(outputs, labels)

    def casts_to(self) -> torch.dtype | None:
        return casts_to(self.precision, self.device)

    def combine(self, outputs: Sequence[Tensor]) -> Tensor:
        """Return the mean of the networks' distributions."""
        return mean_distribution(outputs)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        images, labels = batch
        logits = model(images)
        correct = logits.argmax(1) == labels
        return {"loss": F.cross_entropy(logits, labels), "accuracy": correct.double().mean()}
