"""RMSprop with and without momentum, centred or not."""

import torch

from tests.workers.toys import Toy

FOUNDERS = (
    {"learning_rate": 0.005, "momentum": 0.0, "centered": False},
    {"learning_rate": 0.002, "momentum": 0.5, "centered": True},
    {"learning_rate": 0.002, "momentum": 0.9, "centered": False},
)


class Net(Toy):
    def optimizer(self, model, hp):
        return torch.optim.RMSprop(
            model.parameters(), hp["learning_rate"], momentum=hp["momentum"], centered=hp["centered"]
        )
