"""A locus `anneal`, which is zero at first, and a scheduler."""

import torch

from tests.workers.toys import Toy

MESSAGE = ("anneal", "scheduler", "leave one of them out")
FOUNDERS = ({"learning_rate": 0.1, "momentum": 0.5, "anneal": 0.0},)


class Net(Toy):
    def scheduler(self, training):
        return torch.optim.lr_scheduler.StepLR(training.optimizer, 1)
