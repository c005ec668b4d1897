"""LeNet-5 on MNIST, after LeCun et al. 1998, with max pooling and ReLU: 61,706 parameters."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
        return F.cross_entropy(model(shifted(images, hp.get("max_shift", 0))), labels)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        images, labels = batch
        logits = model(images)
        correct = logits.argmax(1) == labels
        return {"loss": F.cross_entropy(logits, labels), "accuracy": correct.double().mean()}


def shifted(images: Tensor, max_shift: int) -> Tensor:
    """Move each image of (n, 1, height, width) by -max_shift to max_shift pixels, both ways on its own."""
    if max_shift == 0:
        return images
    count, _, height, width = images.shape
    background = float(images.min())
    padded = F.pad(images, (max_shift,) * 4, value=background)
    top, left = torch.randint(0, 2 * max_shift + 1, (2, count)).to(images.device)
    rows = (top[:, None] + torch.arange(height, device=images.device))[:, :, None]
    columns = (left[:, None] + torch.arange(width, device=images.device))[:, None, :]
    return padded[torch.arange(count, device=images.device)[:, None, None], 0, rows, columns].unsqueeze(1)
