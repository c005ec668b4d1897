"""A Dataset that hides something that can be iterated only once."""

from torch.utils.data import IterableDataset

from tests.workers.toys import Toy, points
from workers.workload import Splits

MESSAGE = ("train split", "once")


class Stream(IterableDataset):
    def __init__(self):
        self.examples = iter(list(zip(*points(60, 1), strict=True)))

    def __iter__(self):
        return self.examples


class Net(Toy):
    def data(self, root):
        return Splits(Stream(), points(30, 2))
