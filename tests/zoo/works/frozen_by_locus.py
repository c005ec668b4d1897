"""A locus says how many layers are not trained; the optimizer has the others only."""

import torch
from torch import nn

from tests.workers.toys import Toy

FOUNDERS = (
    {"learning_rate": 0.05, "frozen": 0},
    {"learning_rate": 0.02, "frozen": 2},
    {"learning_rate": 0.02, "frozen": 1},
)


class Net(Toy):
    def model_of(self, hp):
        model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3))
        for layer in model[: hp["frozen"]]:
            layer.requires_grad_(False)
        return model

    def optimizer(self, model, hp):
        return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=hp["learning_rate"])
