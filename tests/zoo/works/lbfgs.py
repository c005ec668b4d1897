"""L-BFGS asks for the loss itself, and keeps lists of tensors with its first parameter."""

import torch
from torch import nn

from tests.workers.toys import Toy

FOUNDERS = ({"learning_rate": 0.5, "history": 4}, {"learning_rate": 0.2, "history": 6})


class Net(Toy):
    clip_norm = 5.0

    def __init__(self):
        super().__init__(batch_size=50)

    def model(self):
        return nn.Linear(4, 3).double()

    def loss(self, model, batch, hp):
        return nn.functional.cross_entropy(model(batch[0].double()), batch[1])

    def metrics(self, model, batch):
        return {"loss": nn.functional.cross_entropy(model(batch[0].double()), batch[1])}

    def optimizer(self, model, hp):
        return torch.optim.LBFGS(
            model.parameters(), hp["learning_rate"], max_iter=3, history_size=hp["history"]
        )
