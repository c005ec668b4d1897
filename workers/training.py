"""A member while it is being trained, and the named parts of which its state consists."""

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
    """What is to be trained in one go: `epochs` epochs, or if `steps` is given, so many batches.

    `before` is the number of epochs that the parameters have been trained already, `total` that of a whole
    run (None if it is not known). `anew`: the parent is of another run, whose schedules end with it.
    `average_half_life`: in epochs, of the moving average that is judged; None if there is none.
    `initial_seed`: of the parameters of a fresh start, if these are not the member's own.
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
"""Attributes of a `Training` that are parts by another way, or none."""


def leg_of(job: Job, epochs: int = 1, before: int = 0, anew: bool = False) -> Leg:
    """Return a leg of a run, of so many epochs, from a member that was trained `before` epochs."""
    return Leg(epochs, job.steps, before, job.total_epochs, anew, job.average_half_life, job.initial_seed)


@dataclass
class Training:
    """A member while it is being trained.

    Whatever is set on it as an attribute, is no tensor of the model, and has `state_dict` and
    `load_state_dict` (or is a `torch.Generator`) is part of the member's state: it is kept in its
    checkpoint and inherited.
    """

    model: nn.Module
    optimizer: Any
    """What `Workload.optimizer` returned: an optimizer, or several by name."""
    hyperparameters: Hyperparameters
    generator: torch.Generator
    """On the CPU, seeded with the member's training seed: the order of the examples comes from it."""
    leg: Leg = Leg()
    epoch: int = 0
    """The number of the epoch at hand among all that the parameters have been trained, from 0."""
    step: int = 0
    """How many batches of the leg have been trained."""
    steps_per_epoch: int | None = None
    """None if the training data have no length."""
    scheduler: Any = None
    scaler: torch.amp.GradScaler | None = None
    averaged: Averaged | None = None
    notes: list[str] = field(default_factory=list)
    """What the history shall say of this attempt, such as state that did not fit and was dropped."""
    given: Any = None
    """Settings of optimizers and schedulers as they were made: what differs from these, training changed."""
    pending: int = 0
    """Batches whose gradients are accumulated and not yet used."""
    gang: Gang | None = None
    """The workers that train it together, if it is not this one alone."""
    fetch: Callable[[], None] | None = None
    """Puts into this what steps that go on elsewhere have trained so far; None if they go on here."""

    @property
    def epochs(self) -> int | None:
        """How many epochs a line of members is trained in the whole run, as far as that is known."""
        return self.leg.total

    @property
    def optimizers(self) -> dict[str, Any]:
        """The optimizers by name; one alone has the name `optimizer`, several `optimizer.<name>`."""
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
        """Return how much of the leg is done, in [0, 1], at this fraction of the epoch."""
        if self.leg.steps is not None:
            return min(1.0, self.step / self.leg.steps)
        return min(1.0, (self.epoch - self.leg.before + of_epoch) / self.leg.epochs)

    def parts(self) -> dict[str, Any]:
        """All that has a state, by name: the model, the optimizers, and what else was set on this."""
        found = {"model": self.model, **self.optimizers}
        for name, value in vars(self).items():
            if value is not None and name not in _NO_PARTS:
                found.update(_stateful(name, value))
        return found

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[nn.Module]:
        """Put the network that is judged, and optimizers that have such a mode, into evaluation mode.

        The parameters are afterwards what they were, to the bit, also if an optimizer trains others than it
        evaluates (schedule-free ones).
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
        """Whether the optimizer evaluates other parameters than it trains."""
        return any(_has_modes(one) for one in self.optimizers.values())


def begin_training_mode(training: Training) -> None:
    """Put the network, and optimizers that have such a mode, into training mode."""
    training.model.train()
    for optimizer in training.optimizers.values():
        if _has_modes(optimizer):
            optimizer.train()


def is_stateful(value: Any) -> bool:
    """Whether a value has a state that can be taken and set."""
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


def mean_of(losses: Sequence[Tensor]) -> float:
    """Return the mean of the losses of an epoch, in double precision."""
    return float(torch.stack([torch.as_tensor(loss).double() for loss in losses]).mean())
