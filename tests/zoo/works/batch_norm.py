"""Batch norm keeps running statistics, and a number of batches in an int64 buffer."""

from torch import nn

from tests.workers.toys import Toy


class Net(Toy):
    def model(self):
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, momentum=None), nn.Linear(8, 3))
