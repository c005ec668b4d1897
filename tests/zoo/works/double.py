"""float64 beside float32 and bfloat16, integers of 64 bits, and a metric beyond float32."""

import torch
from torch import nn

from tests.workers.toys import Toy

FOUNDERS = ({"learning_rate": 0.05}, {"learning_rate": 0.02})


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.exact = nn.Linear(4, 8, dtype=torch.float64)
        self.short = nn.Linear(8, 8, dtype=torch.bfloat16)
        self.last = nn.Linear(8, 3)
        self.register_buffer("seen", torch.tensor(2**53 + 1))

    def forward(self, inputs):
        if self.training:
            self.seen += len(inputs)
        return self.last(self.short(self.exact(inputs.double()).tanh().bfloat16()).float())


class Net(Toy):
    def model(self):
        return Mixed()

    def optimizer(self, model, hp):
        return torch.optim.AdamW(model.parameters(), hp["learning_rate"])

    def metrics(self, model, batch):
        return {**super().metrics(model, batch), "large": torch.tensor(1e300, dtype=torch.float64)}
