"""A DataLoader with a generator and a `collate_fn` that makes objects with a method `to`."""

import dataclasses

import torch
from torch import nn
from torch.utils.data import DataLoader

from tests.workers.toys import Toy, points
from workers.workload import Splits


@dataclasses.dataclass
class Pack:
    inputs: torch.Tensor
    labels: torch.Tensor

    def to(self, device):
        return Pack(self.inputs.to(device), self.labels.to(device))


def collated(examples):
    inputs, labels = zip(*examples, strict=True)
    return Pack(torch.stack(inputs) + torch.randn(()) / 10, torch.stack(labels))


class Net(Toy):
    def data(self, root):
        def loader(count, seed, **more):
            examples = list(zip(*points(count, seed), strict=True))
            return DataLoader(examples, batch_size=16, collate_fn=collated, **more)

        generator = torch.Generator().manual_seed(5)
        return Splits(loader(60, 1, shuffle=True, generator=generator), loader(30, 2))

    def loss(self, model, batch, hp):
        return nn.functional.cross_entropy(model(batch.inputs), batch.labels)

    def metrics(self, model, batch):
        return {"loss": self.loss(model, batch, None)}
