"""Layers that are thawed when an epoch ends."""

import torch
from torch import nn

from tests.workers.toys import Toy

MESSAGE = ("model.0.weight.requires_grad", "does not continue")
FOUNDERS = ({"learning_rate": 0.1},)


class Net(Toy):
    def model(self):
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
        model[0].requires_grad_(False)
        return model

    def optimizer(self, model, hp):
        return torch.optim.SGD(model.parameters(), lr=hp["learning_rate"])

    def end_epoch(self, training, losses):
        self.thaw(training)

    def thaw(self, training):
        if training.epoch == 0 and not hasattr(training, "thawed"):
            training.model[0].requires_grad_(True)
