"""An optimizer that trains other parameters than it evaluates."""

import torch

from tests.workers.toys import Toy

FOUNDERS = ({"learning_rate": 0.05}, {"learning_rate": 0.02})


class Averaging(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr, "k": 0, "training": True})

    @torch.no_grad()
    def _swap(self, to):
        for group in self.param_groups:
            if group["training"] != to:
                group["training"] = to
                for p in group["params"]:
                    if "mean" in self.state[p]:
                        kept = p.clone()
                        p.copy_(self.state[p]["mean"])
                        self.state[p]["mean"].copy_(kept)

    def train(self):
        self._swap(True)

    def eval(self):
        self._swap(False)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            assert group["training"]
            group["k"] += 1
            for p in group["params"]:
                if "mean" not in self.state[p]:
                    self.state[p]["mean"] = p.clone()
                p -= group["lr"] * p.grad
                self.state[p]["mean"].lerp_(p, 1 / group["k"])


class Net(Toy):
    def optimizer(self, model, hp):
        return Averaging(model.parameters(), lr=hp["learning_rate"])
