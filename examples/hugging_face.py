"""A schedule that was found drives the Trainer of Hugging Face: a small vision transformer on real digits.

python -m examples.hugging_face  # needs transformers, accelerate; delete checkpoints/example-hugging-face to
run again
"""

import torch
from sklearn.datasets import load_digits
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

import evodevo
from evodevo import Splits, Workload

SHAPE = {"image_size": 8, "patch_size": 2, "num_channels": 1, "num_labels": 10}
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


class Digits(Dataset):
    def __init__(self, begin, end):
        digits = load_digits()
        self.images = torch.tensor(digits.images[begin:end, None], dtype=torch.float32) / 16
        self.labels = torch.tensor(digits.target[begin:end])

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, at):
        return {"pixel_values": self.images[at], "labels": self.labels[at]}


class Transformer(Workload):
    batch_size = 25

    def data(self, root):
        return Splits(Digits(0, 1000), Digits(1000, 1400), Digits(1400, 1797))

    def model(self):
        return ViTForImageClassification(ViTConfig(**SHAPE, **SIZES))  # random parameters: no download

    def optimizer(self, model, hp):
        return torch.optim.AdamW(model.parameters(), lr=hp["learning_rate"], weight_decay=hp["weight_decay"])

    def loss(self, model, batch, hp):
        return model(**batch).loss

    def metrics(self, model, batch):
        return {"loss": model(**batch).loss}


CONFIG = {
    "run": {"name": "example-hugging-face"},
    "workload": {"use": "examples.hugging_face:Transformer"},
    "objective": {"metric": "validation_loss", "mode": "min"},
    "search": {
        "population": 4,
        "generations": 8,
        "judge": "raw",  # by the parameters themselves, without means of members: as the Trainer trains
        "recombine": None,
        "loci": {
            "learning_rate": {"type": "float", "low": 1e-4, "high": 1e-1, "scale": "log", "initial": 3e-3},
            "weight_decay": {"type": "float", "low": 1e-5, "high": 1.0, "scale": "log", "initial": 1e-2},
        },
    },
}

if __name__ == "__main__":
    with evodevo.local(workers=2) as client:
        run = client.submit(CONFIG)
        run.wait()
    schedule = run.best.schedule  # or evodevo.Schedule.load("checkpoints/.../schedule.yaml")
    arguments = TrainingArguments(
        run.directory / "trainer",
        num_train_epochs=schedule.epochs,
        per_device_train_batch_size=25,
        weight_decay=1e-2,  # the schedule has the values; 0 is for parameters that shall have none
        lr_scheduler_type="constant",
        save_strategy="no",
        report_to="none",
    )
    torch.manual_seed(0)
    data = {"train_dataset": Digits(0, 1000), "eval_dataset": Digits(1000, 1400)}
    callbacks = [schedule.hugging_face_callback()]
    trainer = Trainer(Transformer().model(), arguments, callbacks=callbacks, **data)
    trainer.train()
    found, loss = run.best.fom, trainer.evaluate()["eval_loss"]
    print(f"validation loss {found:.4f} when it was found, {loss:.4f} by the Trainer along its schedule")
