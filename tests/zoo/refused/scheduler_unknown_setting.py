"""`scheduler_per` is neither epoch nor step."""

import torch

from tests.workers.toys import Toy

MESSAGE = ("scheduler_per", "'batch'", "epoch", "step")


class Net(Toy):
    scheduler_per = "batch"

    def scheduler(self, training):
        return torch.optim.lr_scheduler.StepLR(training.optimizer, 1)
