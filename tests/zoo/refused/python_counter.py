"""A layer's noise depends on a plain number that it counts."""

import torch
from torch import nn

from tests.workers.toys import Toy

MESSAGE = ("model.1.calls", "register_buffer", "get_extra_state")


class Cooling(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, inputs):
        if self.training:
            self.calls += 1
        return inputs + torch.randn_like(inputs) / max(1, self.calls)


class Net(Toy):
    def model(self):
        return nn.Sequential(nn.Linear(4, 4), Cooling(), nn.Linear(4, 3))
