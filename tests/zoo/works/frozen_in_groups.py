"""Adagrad creates its state immediately; a locus decides which parameters it has, each in its own group."""

import torch

from tests.workers.toys import Toy

FOUNDERS = (
    {"learning_rate": 0.05, "frozen": False, "lr_decay": 0.0},
    {"learning_rate": 0.02, "frozen": True, "lr_decay": 0.1},
)


class Net(Toy):
    def optimizer(self, model, hp):
        parameters = list(model.parameters())[2 if hp["frozen"] else 0 :]
        groups = [{"params": [p], "lr": hp["learning_rate"] / p.ndim} for p in parameters]
        return torch.optim.Adagrad(groups, lr_decay=hp["lr_decay"])
