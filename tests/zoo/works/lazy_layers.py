"""Layers that learn their sizes from the first batch."""

from torch import nn

from tests.workers.toys import Toy


class Net(Toy):
    def model(self):
        return nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(3))
