"""Two schedulers together, one of them by a function."""

import torch

from tests.workers.toys import Toy


class Net(Toy):
    def scheduler(self, training):
        kinds = torch.optim.lr_scheduler
        return kinds.ChainedScheduler(
            [
                kinds.MultiStepLR(training.optimizer, [1, 2], 0.5),
                kinds.MultiplicativeLR(training.optimizer, lambda at: 0.9),
            ]
        )
