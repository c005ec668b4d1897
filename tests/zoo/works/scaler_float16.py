"""float16 on the CPU, with a scaler, clipping and accumulation."""

import torch
from torch import nn

from tests.workers.toys import Toy


class Net(Toy):
    autocast = torch.float16
    clip_norm = 0.5
    accumulate = 2

    def model(self):
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
