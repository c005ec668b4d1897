"""Warm-up, then a cosine, a step after each batch."""

import torch

from tests.workers.toys import Toy


class Net(Toy):
    scheduler_per = "step"

    def scheduler(self, training):
        kinds = torch.optim.lr_scheduler
        warm = kinds.LinearLR(training.optimizer, 0.1, total_iters=4)
        cosine = kinds.CosineAnnealingLR(training.optimizer, 14)
        return kinds.SequentialLR(training.optimizer, [warm, cosine], milestones=[4])
