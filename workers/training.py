"""A member in training, and the named parts of its state."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from evodevo.run.records import Job
from workers.averaging import Averaged
from workers.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from workers.gang import Gang


@dataclass(frozen=True)
class Leg:
    """A leg of training: `epochs` epochs, or `steps` batches if given.

    `before` is the number of epochs for which the parameters have been trained already, `total` that of a
    whole run (None if not known). `anew`: the parent is from another run, so schedules restart.
    `average_half_life`: in epochs, of the moving average that is judged; None leaves it to the workload.
    `initial_seed`: seed for drawing initial parameters, if it differs from the member's training seed.
    """

    epochs: int = 1
    steps: int | None = None
    before: int = 0
    total: int | None = None
    anew: bool = False
    average_half_life: float | None = None
    initial_seed: int | None = None


_NO_PARTS = frozenset(
    (
        *("model", "optimizer", "generator", "hyperparameters", "given", "notes"),
        *("leg", "epoch", "step", "steps_per_epoch", "pending", "gang", "fetch"),
    )
)
"""Attributes of a `Training` that are not parts, or that `parts` adds in another way."""


def leg_of(job: Job, epochs: int = 1, before: int = 0, anew: bool = False) -> Leg:
    """Return a leg of `epochs` epochs of a run, for a member that was trained for `before` epochs."""
    return Leg(epochs, job.steps, before, job.total_epochs, anew, job.average_half_life, job.initial_seed)


@dataclass
class Training:
    """A member in training.

    Any attribute set on it that has `state_dict` and `load_state_dict` (or is a `torch.Generator`) is part of
    the member's state, and so saved in its checkpoint and inherited.
    """

    model: nn.Module
    optimizer: Any
    """Return value of `Workload.optimizer`: an optimizer, or several by name."""
    hyperparameters: Hyperparameters
    generator: torch.Generator
    """CPU generator of the order of examples, seeded with the member's training seed."""
    leg: Leg = Leg()
    epoch: int = 0
    """Number of the present epoch, counted from 0 over the whole training of the parameters."""
    step: int = 0
    """Number of batches of the leg that have been trained."""
    steps_per_epoch: int | None = None
    """Optimizer steps per epoch; None if the training data have no length."""
    scheduler: Any = None
    scaler: torch.amp.GradScaler | None = None
    averaged: Averaged | None = None
    notes: list[str] = field(default_factory=list)
    """Remarks on this attempt for the history, such as on state that did not fit and was dropped."""
    given: Any = None
    """Initial settings of optimizers and schedulers; any difference from them is due to training."""
    pending: int = 0
    """Number of batches whose gradients are accumulated and not yet used."""
    gang: Gang | None = None
    """The workers that train the member together, if there are several."""
    fetch: Callable[[], None] | None = None
    """Copies the state of captured steps, which train elsewhere, into this object; None if not captured."""

    @property
    def epochs(self) -> int | None:
        """Number of epochs for which a line of members is trained in the whole run, if known."""
        return self.leg.total

    @property
    def optimizers(self) -> dict[str, Any]:
        """The optimizers by name: `optimizer` for a single one, `optimizer.<name>` for several."""
        if isinstance(self.optimizer, Mapping):
            return {f"optimizer.{name}": one for name, one in self.optimizer.items()}
        if isinstance(self.optimizer, list | tuple):
            return {f"optimizer.{at}": one for at, one in enumerate(self.optimizer)}
        return {"optimizer": self.optimizer}

    @property
    def judged(self) -> nn.Module:
        """The network that is evaluated: the averaged one if there is one."""
        return self.model if self.averaged is None else self.averaged.module

    def progress(self, of_epoch: float) -> float:
        """Return the completed fraction of the leg, in [0, 1], at this fraction of the epoch."""
        if self.leg.steps is not None:
            return min(1.0, self.step / self.leg.steps)
        return min(1.0, (self.epoch - self.leg.before + of_epoch) / self.leg.epochs)

    def parts(self) -> dict[str, Any]:
        """Return all stateful parts by name: the model, the optimizers, and other attributes."""
        found = {"model": self.model, **self.optimizers}
        for name, value in vars(self).items():
            if value is not None and name not in _NO_PARTS:
                found.update(_stateful(name, value))
        return found

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[nn.Module]:
        """Put the network that is judged, and optimizers that have such a mode, into evaluation mode.

        Afterwards the parameters are restored bit for bit, even if an optimizer trains other parameters than
        it evaluates (schedule-free ones).
        """
        two_sided = [one for one in self.optimizers.values() if _has_modes(one)]
        theirs = [p for one in two_sided for group in one.param_groups for p in group["params"]]
        held = [(p, p.detach().clone()) for p in theirs]
        for optimizer in two_sided:
            optimizer.eval()
        self.judged.eval()
        try:
            yield self.judged
        finally:
            for optimizer in two_sided:
                optimizer.train()
            with torch.no_grad():
                for parameter, value in held:
                    parameter.copy_(value)

    def differs_when_judged(self) -> bool:
        """Return whether an optimizer evaluates other parameters than it trains."""
        return any(_has_modes(one) for one in self.optimizers.values())


def begin_training_mode(training: Training) -> None:
    """Put the network, and optimizers that have such a mode, into training mode."""
    training.model.train()
    for optimizer in training.optimizers.values():
        if _has_modes(optimizer):
            optimizer.train()


def is_stateful(value: Any) -> bool:
    """Return whether a value has a state that can be saved and restored."""
    if callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None)):
        return True
    return isinstance(value, torch.Generator)


def _stateful(name: str, value: Any) -> dict[str, Any]:
    if is_stateful(value):
        return {name: value}
    if isinstance(value, Mapping):
        inside = value.items()
    elif isinstance(value, list | tuple):
        inside = dict(enumerate(value)).items()
    else:
        return {}
    return {f"{name}.{key}": one for key, one in inside if is_stateful(one)}


def _has_modes(optimizer: Any) -> bool:
    return callable(getattr(optimizer, "train", None)) and callable(getattr(optimizer, "eval", None))


def in_double(losses: Sequence[Tensor]) -> Tensor:
    """Return the losses of the steps of an epoch as one tensor, float64 (steps,), still on their device."""
    return torch.stack([torch.as_tensor(loss).double() for loss in losses]).flatten()


def mean_of(losses: Sequence[Tensor]) -> float:
    """Return the mean of the losses of an epoch, in double precision."""
    return float(in_double(losses).mean())


def means_of_stretches(losses: Sequence[Tensor], count: int) -> list[float]:
    """Return the means of `count` consecutive stretches of an epoch, averaged over networks.

    `losses` has the losses of each network, float64 (steps,). There are fewer stretches than `count` if a
    network has made fewer steps. Stretch i, from 0, ends before step `steps * (i + 1) // count`.
    """
    count = min(count, *map(len, losses))
    ends = range(1, count)
    each = [
        torch.stack([part.mean() for part in own.tensor_split([len(own) * at // count for at in ends])])
        for own in losses
    ]
    found: list[float] = torch.stack(each).mean(0).tolist()
    return found
