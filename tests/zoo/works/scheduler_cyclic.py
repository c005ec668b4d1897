"""Cycles of learning rate and momentum, by a custom function."""

import torch

from tests.workers.toys import Toy


class Net(Toy):
    scheduler_per = "step"

    def scheduler(self, training):
        top = training.hyperparameters["learning_rate"]
        return torch.optim.lr_scheduler.CyclicLR(
            training.optimizer, top / 10, top, step_size_up=4, scale_fn=lambda at: 0.9**at
        )
