"""Train the module of examples/lightning_module.py with Lightning's Trainer along a schedule that was found.

    python -m examples.lightning_trainer  # delete checkpoints/example-lightning-trainer to run again

It needs pytorch-lightning and scikit-learn.
"""

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import evodevo
from examples.lightning_module import CONFIG, Classifier, Lightning


class Evaluated(Classifier):
    def validation_step(self, batch, at):
        images, labels = batch
        self.log("validation_loss", F.cross_entropy(self.net(images), labels))


def apply(settings, module):
    """Set the hyperparameters that are not the optimizer's, at the start of each epoch."""
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = settings["dropout"]


if __name__ == "__main__":
    with evodevo.local(workers=2) as client:
        # no averaged parameters and no means of members, as in the Trainer
        changes = {"run.name": "example-lightning-trainer", "search.judge": "raw", "search.recombine": None}
        run = client.submit(CONFIG, changes)
        run.wait()
    schedule = run.best.schedule  # or evodevo.Schedule.load("checkpoints/.../schedule.yaml")
    torch.manual_seed(0)
    splits = Lightning().data(None)
    train = DataLoader(TensorDataset(*splits.train), batch_size=50, shuffle=True)
    validation = DataLoader(TensorDataset(*splits.validation), batch_size=400)
    trainer = pl.Trainer(
        max_epochs=schedule.epochs,
        callbacks=[schedule.lightning_callback(apply)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    module = Evaluated(hidden=64, learning_rate=1e-3, dropout=0.0)  # replaced by the schedule's values
    trainer.fit(module, train, validation)
    found, loss = run.best.fom, float(trainer.callback_metrics["validation_loss"])
    print(f"validation loss {found:.4f} in the search, {loss:.4f} by the Trainer with its schedule")
