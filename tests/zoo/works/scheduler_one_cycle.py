"""One cycle over the whole run, a step after each batch; it also sets the momentum."""

import torch

from tests.workers.toys import Toy


class Net(Toy):
    scheduler_per = "step"

    def scheduler(self, training):
        return torch.optim.lr_scheduler.OneCycleLR(
            training.optimizer,
            max_lr=training.hyperparameters["learning_rate"],
            total_steps=training.epochs * training.steps_per_epoch,
        )
