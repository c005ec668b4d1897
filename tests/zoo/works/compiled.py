"""A compiled model."""

import torch

from tests.workers.toys import Toy


class Net(Toy):
    average_half_life = 1.0

    def model(self):
        return torch.compile(super().model(), backend="eager")
