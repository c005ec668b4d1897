"""Evolve an unchanged LightningModule with its training_step, optimizer and scheduler.

    python -m examples.lightning_module  # delete checkpoints/example-lightning to run again

It needs pytorch-lightning and scikit-learn.
"""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

import evodevo
from evodevo import Splits, Workload


class Classifier(pl.LightningModule):
    def __init__(self, hidden, learning_rate, dropout):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 10))

    def training_step(self, batch, at):
        images, labels = batch
        return F.cross_entropy(self.net(images), labels)

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)]


class Lightning(Workload):
    batch_size = 50

    def __init__(self, hidden: int = 64):
        self.hidden = hidden

    def data(self, root):
        images, labels = load_digits(return_X_y=True)
        x, y = torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels)
        return Splits((x[:1000], y[:1000]), (x[1000:1400], y[1000:1400]), (x[1400:], y[1400:]))

    def model(self):
        return Classifier(self.hidden, 1e-3, 0.0)  # `evodevo check` counts its parameters

    def model_of(self, hp):
        return Classifier(self.hidden, hp["learning_rate"], hp["dropout"])

    def optimizer(self, model, hp):
        (optimizer,), model.schedulers = model.configure_optimizers()
        return optimizer

    def scheduler(self, training):
        return training.model.schedulers[0]

    def loss(self, model, batch, hp):
        return model.training_step(batch, 0)

    def metrics(self, model, batch):
        images, labels = batch
        logits = model.net(images)
        return {"loss": F.cross_entropy(logits, labels), "error": (logits.argmax(1) != labels).float().mean()}


CONFIG = {
    "run": {"name": "example-lightning"},
    "workload": {"use": "examples.lightning_module:Lightning"},
    "objective": {"metric": "validation_loss", "mode": "min"},
    "search": {
        "population": 6,
        "generations": 6,
        "loci": {
            "learning_rate": {"type": "float", "low": 1e-4, "high": 1e-1, "scale": "log", "initial": 3e-3},
            "dropout": {"type": "float", "low": 0.0, "high": 0.8, "initial": 0.1},
        },
    },
}

if __name__ == "__main__":
    with evodevo.local(workers=2) as client:
        run = client.submit(CONFIG)
        run.wait()
        print(f"validation loss {run.best.fom:.4f}, hyperparameters {dict(run.best.hyperparameters)}")
