"""A workload that is put together from kinds of models, optimizers, schedulers and data."""

from typing import Any

import prodigyopt
import schedulefree
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset, WeightedRandomSampler

from tests.workers.toys import Toy, points
from tests.zoo.works.complex_numbers import Spectral
from tests.zoo.works.dict_batches import examples
from tests.zoo.works.extra_state import Cooling
from tests.zoo.works.iterable_dataset import Stream
from tests.zoo.works.prodigy_like import Adaptive
from tests.zoo.works.schedule_free_like import Averaging
from tests.zoo.works.sparse_buffer import Mixing
from tests.zoo.works.wrapped_optimizer import Lookahead
from workers.workload import Splits


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Linear(4, 3))
    model[2].weight = model[0].weight
    return model


MODELS: dict[str, Any] = {
    "plain": lambda: nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 3)),
    "batch norm": lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)),
    "tied": tied,
    "extra state": lambda: nn.Sequential(nn.Linear(4, 8), Cooling(), nn.ReLU(), nn.Linear(8, 3)),
    "lazy": lambda: nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.LazyLinear(3)),
    "compiled": lambda: torch.compile(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3)), backend="eager"),
    "spectral norm": lambda: nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Linear(4, 8)), nn.Tanh(), nn.Linear(8, 3)
    ),
    "complex": lambda: nn.Sequential(Spectral(torch.complex64), nn.Linear(4, 3)),
    "sparse buffer": lambda: nn.Sequential(Mixing(), nn.Linear(4, 3)),
}
OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda p, hp: torch.optim.SGD(p, hp["rate"], momentum=0.9 if hp["on"] else 0.0),
    "adam": lambda p, hp: torch.optim.Adam(p, hp["rate"], amsgrad=hp["on"]),
    "adamw groups": lambda p, hp: torch.optim.AdamW(
        [{"params": p[:1], "lr": 2 * hp["rate"]}, {"params": p[1:]}], hp["rate"], weight_decay=0.1 * hp["on"]
    ),
    "rmsprop": lambda p, hp: torch.optim.RMSprop(p, hp["rate"] / 5, centered=hp["on"], momentum=0.5),
    "adagrad": lambda p, hp: torch.optim.Adagrad(p, hp["rate"], lr_decay=0.1 * hp["on"]),
    "nadam": lambda p, hp: torch.optim.NAdam(p, hp["rate"] / 5, decoupled_weight_decay=hp["on"]),
    "either": lambda p, hp: (torch.optim.Adamax if hp["on"] else torch.optim.Rprop)(p, hp["rate"] / 5),
    "lbfgs": lambda p, hp: torch.optim.LBFGS(p, hp["rate"], max_iter=2, history_size=3 + hp["on"]),
    "prodigy": lambda p, hp: prodigyopt.Prodigy(p, 1.0, weight_decay=0.1 * hp["on"], d0=1e-4),
    "schedule free": lambda p, hp: schedulefree.SGDScheduleFree(p, hp["rate"], warmup_steps=3 * hp["on"]),
    "prodigy-like": lambda p, hp: Adaptive(p, hp["rate"]),
    "schedule-free-like": lambda p, hp: Averaging(p, hp["rate"]),
    "wrapped": lambda p, hp: Lookahead(torch.optim.SGD(p, hp["rate"], momentum=0.5 * hp["on"])),
}
_KINDS = torch.optim.lr_scheduler
SCHEDULERS: dict[str, Any] = {
    "none": lambda one, training: None,
    "step": lambda one, training: _KINDS.StepLR(one, 2, 0.5),
    "cosine": lambda one, training: _KINDS.CosineAnnealingLR(one, 30),
    "one cycle": lambda one, training: _KINDS.OneCycleLR(
        one, 0.02, total_steps=training.epochs * training.steps_per_epoch + 1, cycle_momentum=False
    ),
    "plateau": lambda one, training: _KINDS.ReduceLROnPlateau(one, patience=0, threshold=0.1),
    "lambda": lambda one, training: _KINDS.LambdaLR(one, lambda at: min(1.0, (1 + at) / 3)),
    "sequential": lambda one, training: _KINDS.SequentialLR(
        one, [_KINDS.LinearLR(one, 0.1, total_iters=2), _KINDS.ExponentialLR(one, 0.9)], [2]
    ),
    "restarts": lambda one, training: _KINDS.CosineAnnealingWarmRestarts(one, 2, 2),
    "cyclic": lambda one, training: _KINDS.CyclicLR(one, 0.001, 0.01, 3, cycle_momentum=False),
}


def _weighted() -> DataLoader[Any]:
    sampler = WeightedRandomSampler(torch.arange(1.0, 61.0), 60, generator=torch.Generator())
    return DataLoader(TensorDataset(*points(60, 1)), batch_sampler=BatchSampler(sampler, 16, drop_last=True))


def _shuffled() -> DataLoader[Any]:
    data = TensorDataset(*points(60, 1))
    return DataLoader(data, 16, sampler=RandomSampler(data, generator=torch.Generator()))


DATA: dict[str, Any] = {
    "tensors": lambda: points(60, 1),
    "dataset": lambda: TensorDataset(*points(60, 1)),
    "shuffled": _shuffled,
    "weighted": _weighted,
    "iterable": lambda: Stream(60, 1),
    "dicts": lambda: DataLoader(examples(60, 1), 16, shuffle=True),
    "batches": lambda: [points(16, seed) for seed in range(4)],
}
AUTOCAST = {"none": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Net(Toy):
    def __init__(
        self,
        model: str = "plain",
        optimizer: str = "sgd",
        scheduler: str = "none",
        scheduler_per: str = "epoch",
        data: str = "tensors",
        accumulate: int = 1,
        clip: bool = False,
        average: bool = False,
        autocast: str = "none",
    ) -> None:
        self.kinds = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "data": data}
        self.batch_size = 16
        self.accumulate = accumulate
        self.autocast = AUTOCAST[autocast]
        self.scheduler_per = scheduler_per  # type: ignore[assignment]
        self.clip_norm = 0.5 if clip else None
        self.average_half_life = 0.5 if average else None

    def data(self, root: str | None) -> Splits:
        return Splits(DATA[self.kinds["data"]](), points(30, 2))

    def model(self) -> nn.Module:
        made: nn.Module = MODELS[self.kinds["model"]]()
        return made

    def optimizer(self, model: nn.Module, hp: Any) -> Any:
        return OPTIMIZERS[self.kinds["optimizer"]](list(model.parameters())[hp["frozen"] :], hp)

    def scheduler(self, training: Any) -> Any:
        return SCHEDULERS[self.kinds["scheduler"]](training.optimizer, training)

    def loss(self, model: nn.Module, batch: Any, hp: Any) -> Any:
        return super().loss(model, (batch["x"], batch["y"]) if isinstance(batch, dict) else batch, hp)
