"""A GAN: two networks, each with an optimizer and a scheduler, and a custom step."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.workers.toys import Toy


class Net(Toy):
    def model(self):
        generator = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
        critic = nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(), nn.Linear(8, 1))
        return nn.ModuleDict({"generator": generator, "critic": critic})

    def optimizer(self, model, hp):
        return {
            name: torch.optim.Adam(net.parameters(), hp["learning_rate"], (hp["momentum"], 0.99))
            for name, net in model.items()
        }

    def scheduler(self, training):
        return {
            name: torch.optim.lr_scheduler.ExponentialLR(one, 0.9) for name, one in training.optimizer.items()
        }

    def step(self, training, batch):
        model, (real, _) = training.model, batch
        generator, critic = training.optimizer["generator"], training.optimizer["critic"]
        made = model["generator"](torch.randn(len(real), 2))
        critic.zero_grad()
        loss = F.softplus(-model["critic"](real)).mean() + F.softplus(model["critic"](made.detach())).mean()
        loss.backward()
        critic.step()
        generator.zero_grad()
        F.softplus(-model["critic"](made)).mean().backward()
        generator.step()
        return loss.detach()

    def loss(self, model, batch, hp):
        raise NotImplementedError

    def metrics(self, model, batch):
        made = model["generator"](torch.randn(len(batch[0]), 2))
        return {"loss": (made.mean(0) - batch[0].mean(0)).square().sum()}
