"""An optimizer around another, with a custom `state_dict`; a scheduler sets its learning rate."""

import torch

from tests.workers.toys import Toy

FOUNDERS = (
    {"learning_rate": 0.05, "momentum": 0.9, "frozen": 0},
    {"learning_rate": 0.02, "momentum": 0.5, "frozen": 1},
)


class Lookahead(torch.optim.Optimizer):
    def __init__(self, base, every=4):
        self.base, self.every, self.calls = base, every, 0
        super().__init__([p for group in base.param_groups for p in group["params"]], {})
        self.param_groups = base.param_groups
        self.slow = [p.detach().clone() for group in self.param_groups for p in group["params"]]

    @torch.no_grad()
    def step(self, closure=None):
        self.base.step()
        self.calls += 1
        if self.calls % self.every == 0:
            for slow, p in zip(self.slow, self.base.param_groups[0]["params"], strict=True):
                slow.lerp_(p, 0.5)
                p.copy_(slow)

    def zero_grad(self, set_to_none=True):
        self.base.zero_grad(set_to_none)

    def state_dict(self):
        return {"base": self.base.state_dict(), "slow": self.slow, "calls": self.calls}

    def load_state_dict(self, state):
        self.base.load_state_dict(state["base"])
        self.param_groups = self.base.param_groups
        self.slow = [value.clone() for value in state["slow"]]
        self.calls = state["calls"]


class Net(Toy):
    def optimizer(self, model, hp):
        parameters = list(model.parameters())[2 * hp["frozen"] :]
        return Lookahead(torch.optim.SGD(parameters, hp["learning_rate"], hp["momentum"]))

    def scheduler(self, training):
        return torch.optim.lr_scheduler.StepLR(training.optimizer, 1, 0.5)
