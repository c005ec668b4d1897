"""Two optimizers without a `step` that says how a batch is trained."""

import torch

from tests.workers.toys import Toy

MESSAGE = ("several optimizers", "override step(training, batch)")


class Net(Toy):
    def optimizer(self, model, hp):
        return [torch.optim.SGD([p], lr=0.1) for p in model.parameters()]
