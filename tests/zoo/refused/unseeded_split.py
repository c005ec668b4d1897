"""A random split with the system's own random numbers."""

import os

import torch

from tests.workers.toys import Toy, points
from workers.workload import Splits

MESSAGE = ("data() returns a different train split each time", "global generator")


class Net(Toy):
    def data(self, root):
        order = torch.randperm(90, generator=torch.Generator().manual_seed(os.urandom(4)[0] + 256 * id(self)))
        inputs, labels = points(90, 1)
        inputs, labels = inputs[order], labels[order]
        return Splits((inputs[:60], labels[:60]), (inputs[60:], labels[60:]))
