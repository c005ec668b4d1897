"""An optimizer that keeps its estimate of the learning rate, and a count, in its groups."""

import torch

from tests.workers.toys import Toy

FOUNDERS = ({"learning_rate": 0.05}, {"learning_rate": 0.02})


class Adaptive(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr, "d": 1e-3, "k": 0, "seen": []})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            total = 0.0
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["start"], state["sum"] = (
                        p.clone(),
                        (p * 0).to(torch.promote_types(p.dtype, torch.float64)),
                    )
                    state["inside"] = {"fast": [torch.zeros(3, dtype=torch.float64)], "calls": 0}
                state["sum"] += p.grad
                state["inside"]["fast"][0] += p.grad.abs().double().mean()
                state["inside"]["calls"] += 1
                total += float((state["sum"] * (state["start"] - p)).abs().sum())
            group["d"] = max(group["d"], 1.3 * group["d"] + 0.01 * abs(total))
            group["d"] = min(group["d"], 0.3)
            group["k"] += 1
            group["seen"] = [*group["seen"][-2:], group["d"]]
            for p in group["params"]:
                shift = float(self.state[p]["inside"]["fast"][0].mean()) * 1e-3
                p -= group["lr"] * group["d"] * p.grad + shift


class Net(Toy):
    def optimizer(self, model, hp):
        return Adaptive(model.parameters(), lr=20 * hp["learning_rate"])
