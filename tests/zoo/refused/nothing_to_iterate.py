"""A split that is nothing of which batches could be made."""

from tests.workers.toys import Toy, points
from workers.workload import Splits

MESSAGE = ("the validation split is a int", "Dataset")


class Net(Toy):
    def data(self, root):
        return Splits(points(60, 1), 5)
