"""A second network and its schedule-free optimizer are set on `training`."""

import schedulefree
import torch
from torch import nn
from torch.nn import functional as F

from tests.workers.toys import Toy

FOUNDERS = ({"learning_rate": 0.05}, {"learning_rate": 0.02})


class Net(Toy):
    def optimizer(self, model, hp):
        return torch.optim.Adam(model.parameters(), hp["learning_rate"])

    def setup(self, training):
        training.critic = nn.Linear(3, 1)
        training.critics = schedulefree.AdamWScheduleFree(training.critic.parameters(), lr=0.01)
        training.draws = torch.Generator().manual_seed(3)

    def step(self, training, batch):
        training.critics.train()
        loss = super().step(training, batch)
        with torch.no_grad():
            outputs = training.model(batch[0])
        wanted = torch.randn(len(outputs), 1, generator=training.draws)
        training.critics.zero_grad()
        F.mse_loss(training.critic(outputs), wanted).backward()
        training.critics.step()
        return loss
