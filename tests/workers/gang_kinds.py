"""Workloads that two processes train together, to be compared with one process; run as a module for a rank.

python -m tests.workers.gang_kinds RANK FILE_OF_THE_STORE FILE_FOR_RESULTS
"""

import sys
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from workers.gang import Gang
from workers.hyperparameters import Hyperparameters
from workers.training import Leg, Training
from workers.workload import Batch, Splits, Workload

SIZE = 2
SEED = 5


class Sharp(Workload):
    """Three classes of points around three centres; draws no random numbers in a step."""

    batch_size = 16

    def data(self, root: str | None) -> Splits:
        generator = torch.Generator().manual_seed(1)
        labels = torch.arange(112) % 3
        inputs = torch.randn(112, 4, generator=generator) + 2 * F.one_hot(labels, 4)
        return Splits((inputs[:80], labels[:80]), (inputs[80:], labels[80:]))

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))

    def optimizer(self, model: nn.Module, hp: Hyperparameters) -> Any:
        return torch.optim.SGD(model.parameters(), hp["learning_rate"], 0.9, weight_decay=1e-3)

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        inputs, labels = batch
        return F.cross_entropy(model(inputs), labels)

    def metrics(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor | float]:
        inputs, labels = batch
        return {"loss": F.cross_entropy(model(inputs), labels)}


class Adam(Sharp):
    def optimizer(self, model: nn.Module, hp: Hyperparameters) -> Any:
        return torch.optim.AdamW(model.parameters(), hp["learning_rate"])


class Clipped(Sharp):
    clip_norm = 0.05


class Accumulating(Sharp):
    """80 examples in five batches: the rest of the last pair makes a separate step."""

    accumulate = 2


class Averaging(Sharp):
    average_half_life = 0.5


class Stepped(Sharp):
    scheduler_per = "step"

    def scheduler(self, training: Training) -> Any:
        return torch.optim.lr_scheduler.CosineAnnealingLR(training.optimizer, 10)


class Plateau(Sharp):
    """The losses of an epoch decide about the learning rate: they must be those of whole batches."""

    def scheduler(self, training: Training) -> Any:
        return torch.optim.lr_scheduler.ReduceLROnPlateau(training.optimizer, patience=0, threshold=0.3)


class Bfloat16(Sharp):
    autocast = torch.bfloat16


class Float16(Sharp):
    """With a scaler, whose first steps overflow and are left out."""

    autocast = torch.float16


class Uneven(Sharp):
    """Batches of seven: one worker has three examples and the other four."""

    def data(self, root: str | None) -> Splits:
        full = super().data(root)
        pieces = [tuple(tensor[start : start + 7] for tensor in full.train) for start in range(0, 70, 7)]
        return Splits(pieces, full.validation)


class Weighted(Uneven):
    """The loss is a mean over words, of which each example has another number; `batch_length` says so."""

    def batch_length(self, batch: Batch) -> int:
        return int((batch[1] + 1).sum())

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        inputs, labels = batch
        words = labels + 1
        return (F.cross_entropy(model(inputs), labels, reduction="none") * words).sum() / words.sum()


class _Parts(nn.Module):
    """One layer is for examples of the class 2 only, another one for none."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(4, 3)


class Unused(Sharp):
    """A parameter has a gradient on some workers only, or on none."""

    batch_size = 2

    def model(self) -> nn.Module:
        return _Parts()

    def loss(self, model: nn.Module, batch: Batch, hp: Hyperparameters) -> Tensor:
        inputs, labels = batch
        logits = model.first(inputs)
        if (labels == 2).any():
            rare = (labels == 2).unsqueeze(1)
            logits = logits + rare * model.second(inputs)
        return F.cross_entropy(logits, labels)

    def metrics(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor | float]:
        return {"loss": 0.0}


class Normed(Sharp):
    def model(self) -> nn.Module:
        return nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Unflatten(1, (2, 2, 2)), nn.BatchNorm2d(2),
            nn.Flatten(), nn.Linear(8, 3),
        )  # fmt: skip


class Dropping(Sharp):
    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5), nn.Linear(64, 3))


KINDS = {
    kind.__name__: kind
    for kind in (
        *(
            Sharp,
            Adam,
            Clipped,
            Accumulating,
            Averaging,
            Stepped,
            Plateau,
            Bfloat16,
            Float16,
            Uneven,
            Weighted,
        ),
        *(Unused, Normed, Dropping),
    )
}


def trained(kind: str, gang: Gang | None) -> dict[str, Tensor]:
    """Train a member for two epochs; return its tensors by name, with the losses."""
    workload = KINDS[kind]()
    workload.prepare(torch.device("cpu"), None)
    leg = Leg(epochs=2, total=2, average_half_life=workload.average_half_life)
    training = workload.begin({"learning_rate": 0.05}, SEED, None, leg)
    if gang is not None:
        gang.join(training, SEED, workload.device)
    losses: list[Tensor] = []
    for epoch in range(2):
        training.epoch = epoch
        losses += workload.train(training)
    tensors = {f"model.{name}": value for name, value in training.model.state_dict().items()}
    if training.averaged:
        tensors |= {f"judged.{name}": value for name, value in training.judged.state_dict().items()}
    rate = torch.tensor(training.optimizer.param_groups[0]["lr"])
    return {**tensors, "losses": torch.stack(losses).float(), "learning_rate": rate}


def main() -> None:
    rank, store_file, results = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    torch.set_num_threads(1)
    store = dist.FileStore(store_file, SIZE)  # type: ignore[attr-defined]
    dist.init_process_group("gloo", store=store, rank=rank, world_size=SIZE)
    found = {}
    for batch_norm in ("local", "synchronised"):
        for kind in KINDS:
            for again in range(2):
                gang = Gang(rank, SIZE, batch_norm, store)
                found[f"{kind} {batch_norm} {again}"] = trained(kind, gang)
    torch.save(found, results)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
