"""A validation split with noise from a private generator."""

import numpy as np
from torch.utils.data import Dataset

from tests.workers.toys import Toy, points
from workers.workload import Splits

MESSAGE = ("validation", "their own random generator", "global generator")


class Noisy(Dataset):
    def __init__(self):
        self.examples, self.draws = list(zip(*points(30, 1), strict=True)), np.random.default_rng(3)

    def __len__(self):
        return 30

    def __getitem__(self, at):
        inputs, label = self.examples[at]
        return inputs + self.draws.normal(), label


class Net(Toy):
    def data(self, root):
        return Splits(points(60, 1), Noisy())
