"""A layer changes what it does after 1000 batches, which it counts in a list."""

from torch import nn

from tests.workers.toys import Toy

MESSAGE = ("model.1.seen", "register_buffer", "get_extra_state")


class Late(nn.Module):
    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, inputs):
        if self.training:
            self.seen.append(len(inputs))
        return inputs * 2 if len(self.seen) > 1000 else inputs


class Net(Toy):
    def model(self):
        return nn.Sequential(nn.Linear(4, 4), Late(), nn.Linear(4, 3))
