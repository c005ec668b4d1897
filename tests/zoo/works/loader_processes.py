"""A DataLoader with processes and augmentation that draws from every generator there."""

import random

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from tests.workers.toys import Toy, points
from workers.workload import Splits


class Augmented(Dataset):
    def __init__(self, count, seed):
        self.inputs, self.labels = points(count, seed)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, at):
        noise = random.random() + np.random.random() + torch.rand(())
        return self.inputs[at] + 0.1 * noise, self.labels[at]


class Net(Toy):
    def data(self, root):
        train = DataLoader(Augmented(60, 1), batch_size=20, shuffle=True, num_workers=2)
        return Splits(train, points(30, 2))
