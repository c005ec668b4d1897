"""LeNet-5 on MNIST, after LeCun et al. 1998, with max pooling and ReLU: 61,706 parameters."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workers.augment import shifted
from workers.data import mnist
from workers.hyperparameters import Hyperparameters
from workers.workload import Batch, Splits, Workload


class LeNet(Workload):
    """Evolvable: learning_rate, and where they are given momentum, weight_decay (of SGD) and max_shift.

    max_shift: training images are moved by up to so many pixels, each way at random.
    """

    def __init__(self, batch_size: int = 50) -> None:
        self.batch_size = batch_size

    def data(self, root: str | None) -> Splits:
        return mnist.load(root)

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

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        images, labels = batch
        moved = shifted(images, hp.get("max_shift", 0), fill=float(images.min()))
        return F.cross_entropy(model(moved), labels)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        images, labels = batch
        logits = model(images)
        correct = logits.argmax(1) == labels
        return {"loss": F.cross_entropy(logits, labels), "accuracy": correct.double().mean()}
