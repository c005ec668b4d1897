"""Tensors in nested tuples and dicts, of 64 and 32 bits."""

from torch import nn

from tests.workers.toys import Toy, points
from workers.workload import Splits


def nested(count, seed):
    inputs, labels = points(count, seed)
    return (inputs, {"half": (inputs[:, :2], inputs.double()[:, 2:])}), labels


class Net(Toy):
    def data(self, root):
        return Splits(nested(60, 1), nested(30, 2))

    def loss(self, model, batch, hp):
        (inputs, more), labels = batch
        first, second = more["half"]
        return nn.functional.cross_entropy(model(inputs) + first.sum() * 0 + second.sum().float() * 0, labels)

    def metrics(self, model, batch):
        return {"loss": self.loss(model, batch, None)}
