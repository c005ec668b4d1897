"""A buffer that is not kept and never changes; weights by a norm, as a plain attribute; maps for pictures."""

import warnings

import torch
from torch import nn

from tests.workers.toys import Toy


class Shifted(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("shift", torch.linspace(-1, 1, 4), persistent=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.inner = nn.utils.weight_norm(nn.Linear(4, 3))
        self.last = None

    def forward(self, inputs):
        self.last = self.inner(inputs + self.shift)
        return self.last


class Net(Toy):
    def model(self):
        return Shifted()
