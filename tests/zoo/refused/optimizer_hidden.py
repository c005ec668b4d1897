"""An optimizer that keeps its moments in a private dict."""

import torch

from tests.workers.toys import Toy

MESSAGE = ("does not continue", "state_dict")


class Hiding(torch.optim.SGD):
    @torch.no_grad()
    def step(self, closure=None):
        own = self.__dict__.setdefault("_moments", {})
        for group in self.param_groups:
            for p in group["params"]:
                own[p] = 0.9 * own.get(p, 0) + p.grad
                p -= group["lr"] * own[p]


class Net(Toy):
    def optimizer(self, model, hp):
        return Hiding(model.parameters(), lr=hp["learning_rate"])
