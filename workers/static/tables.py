"""Inputs of an epoch's steps from the host: tables with one row per step, copied to the device once."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from workers import batches
from workers import steps as eager
from workers.static.updates import Numbers, Update, groups_of
from workers.training import Training

if TYPE_CHECKING:
    from workers.workload import Workload

LARGEST_BYTES = 1 << 28
"""Maximum size of the numbers drawn for one member's epoch."""


@dataclass(frozen=True)
class Drawn:
    """One member's epoch, on the CPU."""

    order: Tensor
    """Indices of examples: int64 (steps, batch)."""
    draws: Any
    """Results of `Workload.draws`, with a dimension of steps before that of examples."""
    rates: Numbers
    """Settings of the optimizer, (steps, groups, numbers); see `updates`."""
    weights: Numbers
    """Weights by which the average moves towards the network, (steps,)."""


class Unfitting(Exception):
    """Steps cannot be prepared ahead for the reason given."""


def epoch_of(workload: Workload, training: Training, update: Update) -> Drawn:
    """Draw a member's next epoch from its generators, in the order in which its batches would be drawn.

    Raises `Unfitting` if it cannot be drawn ahead.
    """
    count, steps = lengths(workload, training)
    size = workload.batch_size_of(training.hyperparameters)
    order = torch.randperm(count, generator=training.generator)[: steps * size]
    example = _example(workload, size)
    draws = _stacked([_draws_of(workload, training, example) for _ in range(steps)])
    settings = _settings(workload, training, update, steps)
    return Drawn(
        order.view(steps, size),
        draws,
        update.rates(settings, update.taken(training)),
        _weights(training, steps),
    )


def lengths(workload: Workload, training: Training) -> tuple[int, int]:
    """Return the numbers of examples in the training split and of steps in a member's epoch."""
    split = workload.splits.train
    count = batches.length(split) or 0
    return count, batches.steps(split, workload.batch_size_of(training.hyperparameters)) or 0


def form_of_draws(workload: Workload, training: Training) -> Any:
    """Return the shapes and types of the numbers drawn for a batch, drawing from global generators.

    Raises `Unfitting` if they cannot be drawn ahead.
    """
    size = workload.batch_size_of(training.hyperparameters)
    return _form(_draws_of(workload, training, _example(workload, size)))


def on_device(tables: list[Drawn], device: torch.device, dtype: torch.dtype) -> Tables:
    """Return new tables with the epochs of K members."""
    made = Tables(
        order=_members([one.order for one in tables]).to(device),
        draws=batches.on_device(_members([one.draws for one in tables]), device),
        rates=torch.from_numpy(np.stack([one.rates for one in tables], 1)).to(device, dtype),
        weights=torch.from_numpy(np.stack([one.weights for one in tables], 1)).to(device, dtype),
    )
    return made


@dataclass(frozen=True)
class Tables:
    """The epochs of K members on the device, in tensors (steps, K, ...)."""

    order: Tensor
    draws: Any
    rates: Tensor
    weights: Tensor

    def fill(self, other: list[Drawn]) -> None:
        """Copy other epochs into these tables, whose addresses the captured graph reads."""
        new = on_device(other, self.order.device, self.rates.dtype)
        targets = [self.order, self.rates, self.weights, *leaves(self.draws)]
        sources = [new.order, new.rates, new.weights, *leaves(new.draws)]
        for target, source in zip(targets, sources, strict=True):
            target.copy_(source)


def leaves(tree: Any) -> Iterator[Tensor]:
    """Yield the tensors of nested tuples, lists and dicts."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for part in tree.values():
            yield from leaves(part)
    elif isinstance(tree, list | tuple):
        for part in tree:
            yield from leaves(part)
    elif tree is not None:
        raise Unfitting(f"draws() returns a {type(tree).__qualname__} where tensors are expected")


def _example(workload: Workload, size: int) -> Any:
    """Return a batch without values, as draws may depend only on shapes and types."""
    return batches.mapped(
        lambda tensor: torch.empty((size, *tensor.shape[1:]), dtype=tensor.dtype, device="meta"),
        workload.splits.train,
    )


def _draws_of(workload: Workload, training: Training, example: Any) -> Any:
    """Return the numbers drawn for a batch without values."""
    try:
        return workload.draws(example, training.hyperparameters)
    except Exception as why:  # users' code may raise anything; eager training raises actual errors again
        said = " ".join(str(why).split())[:200]
        raise Unfitting(
            f"draws() needs more than the shapes of a batch ({type(why).__name__}: {said})"
        ) from why


def _stacked(rows: list[Any]) -> Any:
    """Stack trees of tensors into one tree, with the rows along a new first dimension."""
    first = rows[0]
    form, size = _form(first), 0
    for one in leaves(first):
        if one.device.type != "cpu":
            raise Unfitting("draws() does not draw on the CPU")
        size += one.numel() * one.element_size()
    if any(_form(row) != form for row in rows):
        raise Unfitting("draws() returns tensors of other shapes from batch to batch")
    if size * len(rows) > LARGEST_BYTES:
        raise Unfitting(f"draws() takes more than {LARGEST_BYTES >> 20} MiB for an epoch")
    return _zipped(rows, 0)


def _members(trees: list[Any]) -> Any:
    """Stack K trees of tensors (steps, ...) into one of (steps, K, ...)."""
    return _zipped(trees, 1)


def _zipped(trees: list[Any], dim: int) -> Any:
    first = trees[0]
    if isinstance(first, Tensor):
        return torch.stack(trees, dim)
    if isinstance(first, Mapping):
        return {key: _zipped([one[key] for one in trees], dim) for key in first}
    if isinstance(first, list | tuple):
        return tuple(_zipped([one[at] for one in trees], dim) for at in range(len(first)))
    return first


def _form(tree: Any) -> Any:
    if isinstance(tree, Tensor):
        return (str(tree.dtype), tuple(tree.shape))
    if isinstance(tree, Mapping):
        return tuple((key, _form(part)) for key, part in tree.items())
    if isinstance(tree, list | tuple):
        return tuple(_form(part) for part in tree)
    return None if tree is None else type(tree).__qualname__


def _settings(workload: Workload, training: Training, update: Update, steps: int) -> dict[str, Numbers]:
    """Return the settings of each group at each step, [steps, groups], after anneal or the scheduler."""
    if training.scheduler is not None and workload.scheduler_per == "step":
        rows = _ahead(training, update, steps)
    else:
        rows = [[_numbers(update, group) for group in groups_of(training)]] * steps
    found = {name: np.array([[group[name] for group in row] for row in rows], float) for name in update.read}
    anneal = training.hyperparameters.get("anneal", 0.0)
    if (cycles := eager.restarts_of(training.hyperparameters)) is not None:
        at = training.step
        for number, row in enumerate(found["lr"]):
            training.step = at + number
            row[:] = [eager.restarted(cycles, training, workload.accumulate, number, peak) for peak in row]
        training.step = at
    elif anneal:
        progress = [_progress(training, number, steps) for number in range(steps)]
        found["lr"] *= 1.0 - anneal * np.array(progress)[:, None]
    return found


def _progress(training: Training, number: int, steps: int) -> float:
    """Return the `Training.progress` of this leg after `number` more steps."""
    began = training.step
    training.step = began + number
    try:
        return training.progress(number / steps)
    finally:
        training.step = began


def _ahead(training: Training, update: Update, steps: int) -> list[list[dict[str, float]]]:
    """Return the optimizer's settings at each step, from copies of the scheduler and the optimizer."""
    optimizer = training.optimizer
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    kept = [value for state in optimizer.state.values() for value in state.values()]
    memo = {id(one): one for one in [*parameters, *kept]}
    try:
        twin = copy.copy(training)
        twin.optimizer, twin.scheduler = copy.deepcopy((optimizer, training.scheduler), memo)
    except Exception as why:  # a user's scheduler may raise anything
        raise Unfitting(f"the scheduler cannot be copied ({type(why).__name__})") from why
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the twin's optimizer makes no step
        for _ in range(steps):
            rows.append([_numbers(update, group) for group in groups_of(twin)])
            eager.step_schedulers(twin, ())
    return rows


def _numbers(update: Update, group: Mapping[str, Any]) -> dict[str, float]:
    betas = group.get("betas", (0.0, 0.0))
    own = {**group, "beta1": betas[0], "beta2": betas[1]}
    return {name: float(own[name]) for name in update.read}


def _weights(training: Training, steps: int) -> Numbers:
    averaged = training.averaged
    if averaged is None:
        return np.zeros(steps)
    counts = averaged.steps + 1 + np.arange(steps)
    decay: Numbers = np.minimum(averaged.decay, (1 + counts) / (10 + counts))
    return 1.0 - decay
