"""Train a small vision transformer with Hugging Face's Trainer along a schedule that was found.

    python -m examples.hugging_face  # delete checkpoints/example-hugging-face to run again

It needs scikit-learn, transformers and accelerate.
"""

import torch
from sklearn.datasets import load_digits
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

import evodevo
from evodevo import Splits, Workload

SHAPE = {"image_size": 8, "patch_size": 2, "num_channels": 1, "num_labels": 10}
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
START = {"initializer_range": 0.2}  # the usual 0.02 makes a small network start slowly


def digits(begin, end):
    found = load_digits()
    images = torch.tensor(found.images[begin:end, None], dtype=torch.float32) / 16
    return {"pixel_values": images, "labels": torch.tensor(found.target[begin:end])}


def examples(batch):
    return [dict(zip(batch, one, strict=True)) for one in zip(*batch.values(), strict=True)]


class Transformer(Workload):
    batch_size = 25

    def data(self, root):
        return Splits(digits(0, 1000), digits(1000, 1400), digits(1400, 1797))

    def model(self):
        return ViTForImageClassification(ViTConfig(**SHAPE, **SIZES, **START))

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
        "generations": 6,
        "judge": "raw",  # no averaged parameters and no means of members, as in the Trainer
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
        weight_decay=1e-2,  # replaced by the schedule's values, except for parameters without decay
        lr_scheduler_type="constant",
        save_strategy="no",
        report_to="none",
    )
    torch.manual_seed(0)
    trainer = Trainer(
        Transformer().model(),
        arguments,
        train_dataset=examples(digits(0, 1000)),
        callbacks=[schedule.hugging_face_callback()],
    )
    trainer.train()
    found, loss = run.best.fom, trainer.evaluate(examples(digits(1000, 1400)))["eval_loss"]
    print(f"validation loss {found:.4f} in the search, {loss:.4f} by the Trainer with its schedule")
