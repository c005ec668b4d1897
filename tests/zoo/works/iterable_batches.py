"""A custom object that yields batches, and a list of batches."""

import torch

from tests.workers.toys import Toy, points
from workers.workload import Splits


class Batches:
    def __iter__(self):
        for seed in torch.randint(1000, (4,)).tolist():
            yield points(12, seed)


class Net(Toy):
    def data(self, root):
        return Splits(Batches(), [points(9, 2), points(5, 3)])
