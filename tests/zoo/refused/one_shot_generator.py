"""A split that can be iterated only once."""

from tests.workers.toys import Toy, points
from workers.workload import Splits

MESSAGE = ("the train split is a generator", "only once", "DataLoader")


class Net(Toy):
    def data(self, root):
        return Splits((points(16, seed) for seed in range(4)), points(30, 2))
