"""Spectral norm by a parametrization."""

from torch import nn

from tests.workers.toys import Toy


class Net(Toy):
    def model(self):
        first = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 8))
        return nn.Sequential(first, nn.Tanh(), nn.Linear(8, 3))
