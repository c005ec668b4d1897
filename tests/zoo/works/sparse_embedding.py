"""Sparse gradients, with SparseAdam for them and Adam for the rest."""

import torch
from torch import nn

from tests.workers.toys import Toy
from workers.workload import Splits

FOUNDERS = ({"learning_rate": 0.05}, {"learning_rate": 0.02})


class Net(Toy):
    def data(self, root):
        words = torch.randint(20, (90, 5))
        return Splits((words[:60], words[:60, 0] % 3), (words[60:], words[60:, 0] % 3))

    def model(self):
        embedding = nn.Embedding(20, 6, sparse=True)
        return nn.Sequential(embedding, nn.Flatten(), nn.Linear(30, 3))

    def optimizer(self, model, hp):
        return {
            "sparse": torch.optim.SparseAdam(model[0].parameters(), hp["learning_rate"]),
            "dense": torch.optim.Adam(model[2].parameters(), hp["learning_rate"]),
        }

    def step(self, training, batch):
        for one in training.optimizer.values():
            one.zero_grad()
        loss = self.loss(training.model, batch, training.hyperparameters)
        loss.backward()
        for one in training.optimizer.values():
            one.step()
        return loss.detach()

    def loss(self, model, batch, hp):
        return nn.functional.cross_entropy(model(batch[0]), batch[1])
