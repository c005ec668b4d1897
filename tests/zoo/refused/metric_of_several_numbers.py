"""A metric for each class."""

import torch

from tests.workers.toys import Toy

MESSAGE = ("metric 'loss'", "one number", "(3,)")


class Net(Toy):
    def metrics(self, model, batch):
        return {"loss": torch.zeros(3)}
