"""A sampler with `set_epoch`, as for training on several nodes."""

import torch
from torch.utils.data import DataLoader, Sampler, TensorDataset

from tests.workers.toys import Toy, points
from workers.workload import Splits


class ByEpoch(Sampler):
    def __init__(self, count):
        self.count, self.epoch = count, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return self.count

    def __iter__(self):
        return iter(torch.randperm(self.count, generator=torch.Generator().manual_seed(self.epoch)).tolist())


class Net(Toy):
    def data(self, root):
        train = DataLoader(TensorDataset(*points(60, 1)), batch_size=16, sampler=ByEpoch(60))
        return Splits(train, TensorDataset(*points(30, 2)))
