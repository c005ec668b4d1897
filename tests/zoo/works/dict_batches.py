"""Batches that are dicts with things beside tensors."""

from torch import nn
from torch.utils.data import DataLoader

from tests.workers.toys import Toy, points
from workers.workload import Splits


def examples(count, seed):
    inputs, labels = points(count, seed)
    return [{"name": f"example {at}", "x": inputs[at], "y": labels[at]} for at in range(count)]


class Net(Toy):
    def data(self, root):
        inputs, labels = points(30, 2)
        return Splits(DataLoader(examples(60, 1), 16, shuffle=True), {"x": inputs, "y": labels})

    def loss(self, model, batch, hp):
        return nn.functional.cross_entropy(model(batch["x"]), batch["y"])

    def metrics(self, model, batch):
        return {"loss": self.loss(model, batch, None)}
