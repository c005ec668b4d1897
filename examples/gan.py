"""Train a GAN with two networks, two optimizers and a custom step. It learns to generate points on a ring.

python -m examples.gan  # the run is saved in checkpoints/; delete it to run again
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

import evodevo
from evodevo import Splits, Workload


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
        self.critic = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))


class Ring(Workload):
    batch_size = 100

    def data(self, root):
        angle = 2 * math.pi * torch.rand(3000)
        points = torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(3000, 2)
        return Splits(train=points[:2000], validation=points[2000:2500], test=points[2500:])

    def model(self):
        return Pair()

    def optimizer(self, model, hp):
        return {
            "generator": torch.optim.Adam(model.generator.parameters(), hp["generator_rate"], (0.5, 0.99)),
            "critic": torch.optim.Adam(model.critic.parameters(), hp["critic_rate"], (0.5, 0.99)),
        }

    def step(self, training, batch):
        model, optimizers = training.model, training.optimizer
        made = model.generator(torch.randn(len(batch), 4, device=batch.device))
        critic_loss = F.softplus(model.critic(made.detach())).mean() + F.softplus(-model.critic(batch)).mean()
        optimizers["critic"].zero_grad()
        critic_loss.backward()
        optimizers["critic"].step()
        loss = F.softplus(-model.critic(made)).mean()
        optimizers["generator"].zero_grad()
        loss.backward()
        optimizers["generator"].step()
        return loss.detach()

    def loss(self, model, batch, hp):
        raise NotImplementedError("step computes the losses")

    def metrics(self, model, batch):
        """Return the energy distance between generated and real points: 0 for the same distribution."""
        made = model.generator(torch.randn(len(batch), 4, device=batch.device))
        across, own, its = torch.cdist(made, batch), torch.cdist(made, made), torch.cdist(batch, batch)
        return {"energy": 2 * across.mean() - own.mean() - its.mean()}


RATE = {"type": "float", "low": 1e-5, "high": 1e-1, "scale": "log", "initial": 2e-3}
CONFIG = {
    "run": {"name": "example-gan"},
    "workload": {"use": "examples.gan:Ring"},
    "objective": {"metric": "validation_energy", "mode": "min"},
    "search": {
        "population": 8,
        "generations": 10,
        "loci": {"generator_rate": RATE, "critic_rate": RATE},
    },
}

if __name__ == "__main__":
    with evodevo.local(workers=2) as client:
        run = client.submit(CONFIG)
        run.wait()
        print(f"energy distance {run.best.fom:.4f}, rates {dict(run.best.hyperparameters)}")
