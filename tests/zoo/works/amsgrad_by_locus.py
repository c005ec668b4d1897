"""A locus switches amsgrad, another the decay."""

import torch

from tests.workers.toys import Toy

FOUNDERS = (
    {"learning_rate": 0.02, "amsgrad": False, "decay": 0.0},
    {"learning_rate": 0.01, "amsgrad": True, "decay": 0.1},
    {"learning_rate": 0.01, "amsgrad": False, "decay": 0.2},
)


class Net(Toy):
    def optimizer(self, model, hp):
        return torch.optim.Adam(
            model.parameters(), hp["learning_rate"], amsgrad=hp["amsgrad"], weight_decay=hp["decay"]
        )
