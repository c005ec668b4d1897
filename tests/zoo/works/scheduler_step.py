"""The learning rate falls to a third every second epoch."""

import torch

from tests.workers.toys import Toy


class Net(Toy):
    def scheduler(self, training):
        return torch.optim.lr_scheduler.StepLR(training.optimizer, 2, 0.3)
