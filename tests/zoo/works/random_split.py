"""A random validation split, and a random projection in `__init__`."""

import random

import numpy as np
import torch
from torch.utils.data import TensorDataset, random_split

from tests.workers.toys import Toy, points
from workers.workload import Splits


class Net(Toy):
    def __init__(self):
        super().__init__()
        self.turn = torch.linalg.qr(torch.randn(4, 4))[0]

    def data(self, root):
        inputs, labels = points(100, 1)
        kept = np.random.permutation(100)[:90]
        random.shuffle(kept)
        train, validation = random_split(TensorDataset((inputs @ self.turn)[kept], labels[kept]), [60, 30])
        return Splits(train, validation)
