"""A cosine over the run, and warm restarts for the second group."""

import torch

from tests.workers.toys import Toy


class Net(Toy):
    def scheduler(self, training):
        return torch.optim.lr_scheduler.CosineAnnealingLR(training.optimizer, training.epochs)
