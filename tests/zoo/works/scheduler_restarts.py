"""Warm restarts with a fraction of the epoch."""

import torch

from tests.workers.toys import Toy


class Net(Toy):
    scheduler_per = "step"

    def scheduler(self, training):
        return torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(training.optimizer, 3, 2)
