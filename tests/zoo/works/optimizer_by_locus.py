"""A locus selects the optimizer; a scheduler continues with any of them."""

import torch

from tests.workers.toys import Toy

FOUNDERS = tuple(
    {"learning_rate": 0.01, "optimizer": kind} for kind in ("SGD", "Adam", "Adagrad", "RMSprop", "NAdam")
)


class Net(Toy):
    def optimizer(self, model, hp):
        return getattr(torch.optim, hp["optimizer"])(model.parameters(), lr=hp["learning_rate"])

    def scheduler(self, training):
        return torch.optim.lr_scheduler.ExponentialLR(training.optimizer, 0.5)
