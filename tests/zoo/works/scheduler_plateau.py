"""The learning rate falls when the loss of an epoch does not."""

import torch

from tests.workers.toys import Toy


class Net(Toy):
    def scheduler(self, training):
        return torch.optim.lr_scheduler.ReduceLROnPlateau(
            training.optimizer, factor=0.5, patience=0, threshold=0.2
        )
