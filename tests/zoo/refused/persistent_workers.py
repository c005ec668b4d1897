"""A DataLoader whose processes live on."""

from torch.utils.data import DataLoader, TensorDataset

from tests.workers.toys import Toy, points
from workers.workload import Splits

MESSAGE = ("persistent_workers=True", "leave persistent_workers out")


class Net(Toy):
    def data(self, root):
        data = TensorDataset(*points(60, 1))
        return Splits(DataLoader(data, 16, num_workers=1, persistent_workers=True), points(30, 2))
