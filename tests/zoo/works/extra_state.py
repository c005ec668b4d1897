"""A layer counts its calls in its extra state, and its noise depends on them."""

import torch
from torch import nn

from tests.workers.toys import Toy


class Cooling(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, inputs):
        if self.training:
            self.calls += 1
        return inputs + torch.randn_like(inputs) / self.calls if self.calls else inputs

    def get_extra_state(self):
        return {"calls": self.calls, "by": ("cooling", 1.5)}

    def set_extra_state(self, state):
        self.calls = state["calls"]


class Net(Toy):
    average_half_life = 0.5

    def model(self):
        return nn.Sequential(nn.Linear(4, 8), Cooling(), nn.ReLU(), nn.Linear(8, 3))
