"""Examples without a length."""

import torch
from torch.utils.data import DataLoader, IterableDataset

from tests.workers.toys import Toy, points
from workers.workload import Splits


class Stream(IterableDataset):
    def __init__(self, count, seed):
        self.count, self.seed = count, seed

    def __iter__(self):
        for inputs, label in zip(*points(self.count, self.seed), strict=True):
            yield inputs + 0.1 * torch.rand(()), label


class Net(Toy):
    def data(self, root):
        return Splits(Stream(60, 1), DataLoader(Stream(30, 2), batch_size=10))
