"""A buffer that is initially None, so a new model does not have it."""

from torch import nn

from tests.workers.toys import Toy

MESSAGE = ("memory", "load_state_dict", "model()")


class Remembering(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("memory", None)

    def forward(self, inputs):
        if self.training:
            self.memory = inputs.mean(0)
        return inputs if self.memory is None else inputs - self.memory


class Net(Toy):
    def model(self):
        return nn.Sequential(Remembering(), nn.Linear(4, 3))
