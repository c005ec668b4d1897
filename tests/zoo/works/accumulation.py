"""Gradients of four batches per step in epochs of six; a scheduler and an average by steps."""

import torch

from tests.workers.toys import Toy


class Net(Toy):
    accumulate = 4
    clip_norm = 0.1
    scheduler_per = "step"
    average_half_life = 0.5

    def scheduler(self, training):
        return torch.optim.lr_scheduler.ExponentialLR(training.optimizer, 0.9)
