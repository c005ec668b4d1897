"""A temperature that is trained, kept in the workload."""

import torch
from torch import nn

from tests.workers.toys import Toy

MESSAGE = ("self.temperature of the workload changed", "setup(training)")


class Net(Toy):
    def __init__(self):
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(()))

    def optimizer(self, model, hp):
        return torch.optim.SGD([*model.parameters(), self.temperature], lr=hp["learning_rate"])

    def loss(self, model, batch, hp):
        return nn.functional.cross_entropy(model(batch[0]) * self.temperature, batch[1])
