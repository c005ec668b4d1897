"""A loss with parameters, which are trained, kept in the workload."""

import torch
from torch import nn

from tests.workers.toys import Toy

MESSAGE = ("self.objective of the workload changed", "setup(training)")


class Net(Toy):
    def __init__(self):
        super().__init__()
        self.objective = nn.Linear(3, 3)

    def optimizer(self, model, hp):
        return torch.optim.SGD([*model.parameters(), *self.objective.parameters()], lr=hp["learning_rate"])

    def loss(self, model, batch, hp):
        return nn.functional.cross_entropy(self.objective(model(batch[0])), batch[1])
