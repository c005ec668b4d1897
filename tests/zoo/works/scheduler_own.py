"""A custom scheduler with a set, a dict and a list that it changes in place."""

import torch

from tests.workers.toys import Toy


class Own(torch.optim.lr_scheduler.LRScheduler):
    def __init__(self, optimizer):
        self.seen, self.counts, self.tail = {0}, {"calls": [0]}, [1.0]
        super().__init__(optimizer)

    def get_lr(self):
        self.seen.add(self.last_epoch)
        self.counts["calls"][0] += 1
        self.tail.append(self.tail[-1] * 0.9)
        return [lr * self.tail[-1] * len(self.seen) / 3 for lr in self.base_lrs]


class Net(Toy):
    def scheduler(self, training):
        return Own(training.optimizer)
