"""An optimizer whose steps depend on a count that is not in its state."""

import torch

from tests.workers.toys import Toy

MESSAGE = ("optimizer.calls", "state_dict")


class Counting(torch.optim.SGD):
    calls = 0

    @torch.no_grad()
    def step(self, closure=None):
        self.calls += 1
        for group in self.param_groups:
            for p in group["params"]:
                p -= group["lr"] / self.calls * p.grad


class Net(Toy):
    def optimizer(self, model, hp):
        return Counting(model.parameters(), lr=hp["learning_rate"])
