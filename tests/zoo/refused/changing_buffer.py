"""A buffer that changes, and is not kept."""

from torch import nn

from tests.workers.toys import Toy

MESSAGE = ("model.0.mean", "register_buffer")


class Centred(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", nn.Parameter(0 * nn.Linear(4, 1).weight[0]).detach(), persistent=False)

    def forward(self, inputs):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * inputs.mean(0)
        return inputs


class Net(Toy):
    def model(self):
        return nn.Sequential(Centred(), nn.Linear(4, 3))
