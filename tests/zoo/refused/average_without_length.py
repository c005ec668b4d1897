"""An average in epochs, of data without a length."""

from torch.utils.data import IterableDataset

from tests.workers.toys import Toy, points
from workers.workload import Splits

MESSAGE = ("average", "half-life", "no length")


class Stream(IterableDataset):
    def __iter__(self):
        return zip(*points(60, 1), strict=True)


class Net(Toy):
    average_half_life = 1.0

    def data(self, root):
        return Splits(Stream(), points(30, 2))
