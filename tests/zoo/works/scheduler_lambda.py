"""A warm-up from zero by a function of the epoch, in which a locus has a say."""

import torch

from tests.workers.toys import Toy

FOUNDERS = (
    {"learning_rate": 0.05, "momentum": 0.9, "warm_up": 2},
    {"learning_rate": 0.02, "momentum": 0.5, "warm_up": 1},
)


class Net(Toy):
    def scheduler(self, training):
        length = training.hyperparameters["warm_up"]
        return torch.optim.lr_scheduler.LambdaLR(training.optimizer, lambda at: min(1.0, at / length))
