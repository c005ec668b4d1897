"""Use a Dataset and DataLoader, a one-cycle schedule, averaged weights and gradient clipping.

A population of 8 is trained for 6 generations on scikit-learn's digits:

    python -m examples.dataloader  # the run is saved in checkpoints/; delete it to run again
"""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset, random_split

import evodevo
from evodevo import Splits, Workload


class Digits(Dataset):
    def __init__(self):
        images, labels = load_digits(return_X_y=True)
        self.images, self.labels = torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, at):
        return {"image": self.images[at], "label": self.labels[at]}


class Loaded(Workload):
    clip_norm = 1.0
    average_half_life = 0.5  # epochs; the averaged network is evaluated, inherited and exported
    scheduler_per = "step"

    def data(self, root):
        # torch's generator is seeded with the run's seed, so all workers have the same split
        train, validation, test = random_split(Digits(), [1000, 400, 397])
        return Splits(DataLoader(train, 50, shuffle=True), DataLoader(validation, 200), DataLoader(test, 200))

    def model(self):
        return nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))

    def optimizer(self, model, hp):
        return torch.optim.AdamW(model.parameters(), lr=hp["learning_rate"], weight_decay=hp["weight_decay"])

    def scheduler(self, training):
        steps = training.epochs * training.steps_per_epoch  # over all generations
        return torch.optim.lr_scheduler.OneCycleLR(
            training.optimizer, max_lr=training.hyperparameters["learning_rate"], total_steps=steps + 1
        )

    def loss(self, model, batch, hp):
        return F.cross_entropy(model(batch["image"]), batch["label"])

    def metrics(self, model, batch):
        logits = model(batch["image"])
        right = (logits.argmax(1) == batch["label"]).float().mean()
        return {"loss": F.cross_entropy(logits, batch["label"]), "accuracy": right}


CONFIG = {
    "run": {"name": "example-dataloader"},
    "workload": {"use": "examples.dataloader:Loaded"},
    "objective": {"metric": "validation_loss", "mode": "min"},
    "search": {
        "population": 8,
        "generations": 6,
        "loci": {
            "learning_rate": {"type": "float", "low": 1e-4, "high": 1e-1, "scale": "log", "initial": 1e-2},
            "weight_decay": {"type": "float", "low": 1e-5, "high": 1.0, "scale": "log", "initial": 1e-2},
        },
    },
}

if __name__ == "__main__":
    with evodevo.local(workers=2) as client:
        run = client.submit(CONFIG)
        run.wait()
        print(f"validation loss {run.best.fom:.4f}, accuracy {run.best.metrics['validation_accuracy']:.1%}")
