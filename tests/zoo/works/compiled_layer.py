"""One layer of the model is compiled, with the whole of ahead-of-time autograd."""

import torch
from torch import nn

from tests.workers.toys import Toy


class Net(Toy):
    def model(self):
        first = torch.compile(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8)), backend="aot_eager")
        return nn.Sequential(first, nn.Tanh(), nn.Linear(8, 3))
