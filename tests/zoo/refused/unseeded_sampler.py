"""A random split by samplers, with the system's own random numbers."""

import random

from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset

from tests.workers.toys import Toy, points
from workers.workload import Splits

MESSAGE = ("data() returns a different train split each time", "global generator")


class Net(Toy):
    def data(self, root):
        data = TensorDataset(*points(90, 1))
        order = random.SystemRandom().sample(range(90), 90)
        train, validation = SubsetRandomSampler(order[:60]), SubsetRandomSampler(order[60:])
        return Splits(DataLoader(data, 16, sampler=train), DataLoader(data, 16, sampler=validation))
