"""Each epoch ends with a lower learning rate, set by the workload itself."""

from tests.workers.toys import Toy


class Net(Toy):
    def end_epoch(self, training, losses):
        for group in training.optimizer.param_groups:
            group["lr"] *= 0.7
