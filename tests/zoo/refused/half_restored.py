"""A `load_state_dict` that sets less than `state_dict` gives."""

import torch

from tests.workers.toys import Toy

MESSAGE = ("memory.count is not the same after a member is restored", "load_state_dict")


class Memory:
    def __init__(self):
        self.count, self.sum = 0, torch.zeros(())

    def state_dict(self):
        return {"sum": self.sum, "count": self.count}

    def load_state_dict(self, state):
        self.sum = state["sum"]


class Net(Toy):
    def setup(self, training):
        training.memory = Memory()

    def step(self, training, batch):
        training.memory.count += 1
        return super().step(training, batch)
