"""Layers that are thawed at the end of an epoch, with a new group of the optimizer."""

import torch

from tests.workers.toys import Toy

MESSAGE = ("optimizer.groups is not the same", "setup(training)")


class Net(Toy):
    def optimizer(self, model, hp):
        return torch.optim.SGD(list(model.parameters())[:2], lr=hp["learning_rate"])

    def end_epoch(self, training, losses):
        training.optimizer.add_param_group({"params": list(training.model.parameters())[2:4]})
