"""A scheduler that goes by the loss of an epoch, asked after each step."""

import torch

from tests.workers.toys import Toy

MESSAGE = ("ReduceLROnPlateau", "scheduler_per")


class Net(Toy):
    scheduler_per = "step"

    def scheduler(self, training):
        return torch.optim.lr_scheduler.ReduceLROnPlateau(training.optimizer)
