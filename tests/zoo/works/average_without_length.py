"""An average of data without a length: it is over the last tenth or so of all steps."""

from torch.utils.data import IterableDataset

from tests.workers.toys import Toy, points
from workers.workload import Splits


class Stream(IterableDataset):
    def __iter__(self):
        return zip(*points(60, 1), strict=True)


class Net(Toy):
    average_half_life = 1.0

    def data(self, root):
        return Splits(Stream(), points(30, 2))
