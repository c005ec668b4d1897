"""A sampler with a generator of numpy's own."""

import numpy as np
from torch.utils.data import DataLoader, Sampler, TensorDataset

from tests.workers.toys import Toy, points
from workers.workload import Splits

MESSAGE = ("different batches for the same seed", "sampler", "global generator")


class Own(Sampler):
    def __init__(self, count):
        self.count, self.draws = count, np.random.default_rng(3)

    def __len__(self):
        return self.count

    def __iter__(self):
        return iter(self.draws.permutation(self.count).tolist())


class Net(Toy):
    def data(self, root):
        return Splits(DataLoader(TensorDataset(*points(60, 1)), 16, sampler=Own(60)), points(30, 2))
