"""The package's wrapper of another optimizer, which is not a torch optimizer itself."""

import schedulefree
import torch

from tests.workers.toys import Toy


class Net(Toy):
    def optimizer(self, model, hp):
        base = torch.optim.SGD(model.parameters(), lr=hp["learning_rate"])
        return schedulefree.ScheduleFreeWrapper(base, momentum=hp["momentum"], weight_decay_at_y=0.1)
