"""Layers that are thawed with a new group of the optimizer, by the number of the epoch."""

import torch
from torch import nn

from tests.workers.toys import Toy

FOUNDERS = ({"learning_rate": 0.05}, {"learning_rate": 0.02})


class Net(Toy):
    def model(self):
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3))
        model[:2].requires_grad_(False)
        return model

    def optimizer(self, model, hp):
        return torch.optim.Adam(model[2].parameters(), lr=hp["learning_rate"])

    def setup(self, training):
        self.thaw(training)

    def train(self, training):
        self.thaw(training)
        yield from super().train(training)

    def thaw(self, training):
        groups = training.optimizer.param_groups
        while len(groups) < min(3, training.epoch + 1):
            layer = training.model[2 - len(groups)].requires_grad_(True)
            training.optimizer.add_param_group({"params": list(layer.parameters()), "lr": 0.01})
