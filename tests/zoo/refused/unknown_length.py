"""Batches of texts, whose number of examples is not known."""

import torch

from tests.workers.toys import Toy, points
from workers.workload import Splits

MESSAGE = ("without tensors", "override batch_length(batch)")


class Net(Toy):
    def data(self, root):
        return Splits(points(60, 1), [["a", "b"], ["c"]])

    def metrics(self, model, batch):
        return {"loss": torch.tensor(float(len(batch)))}
