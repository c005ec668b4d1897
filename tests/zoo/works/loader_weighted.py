"""A weighted sampler with its own generator, behind a batch sampler."""

import torch
from torch.utils.data import BatchSampler, DataLoader, TensorDataset, WeightedRandomSampler

from tests.workers.toys import Toy, points
from workers.workload import Splits


class Net(Toy):
    def data(self, root):
        data = TensorDataset(*points(60, 1))
        generator = torch.Generator().manual_seed(5)
        sampler = WeightedRandomSampler(torch.arange(1.0, 61.0), 60, generator=generator)
        train = DataLoader(data, batch_sampler=BatchSampler(sampler, 16, drop_last=True))
        return Splits(train, DataLoader(TensorDataset(*points(30, 2)), batch_size=7))
