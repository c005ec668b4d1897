"""The digits as people have them: a DataLoader with processes, a random split, a scheduler, averaged weights.

It is imported by workers as `loaded:Loaded`.
"""

import random
from typing import Any

import numpy as np
import torch
from digits import Digits
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split

from workers.workload import Splits, Training


class Noisy(Dataset[Any]):
    """Augmented with draws from every generator of a loader's process."""

    def __init__(self, examples: Dataset[Any]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)  # type: ignore[arg-type]

    def __getitem__(self, at: int) -> Any:
        image, label = self.examples[at]
        return image + 0.01 * (random.random() + np.random.random() + torch.rand(())), label


class Loaded(Digits):
    accumulate = 2
    clip_norm = 1.0
    scheduler_per = "step"
    average_half_life = 0.5

    def data(self, root: str | None) -> Splits:
        images, labels = super().data(root).train
        train, validation = random_split(TensorDataset(images, labels), [150, 50])
        loader = DataLoader(Noisy(train), batch_size=20, shuffle=True, num_workers=2)
        return Splits(loader, DataLoader(validation, batch_size=30))

    def scheduler(self, training: Training) -> Any:
        assert training.epochs is not None
        assert training.steps_per_epoch is not None
        total = training.epochs * training.steps_per_epoch
        return torch.optim.lr_scheduler.CosineAnnealingLR(training.optimizer, total)
