"""The form of a member, which two members must share to use the same step."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from workers.names import original
from workers.static.tables import form_of_draws, lengths
from workers.static.updates import Update, groups_of
from workers.training import Training

if TYPE_CHECKING:
    from workers.workload import Workload

_OWN = frozenset(nn.Module().__dict__) | {"training"}
_PLAIN = (bool, int, float, complex, str, bytes, torch.dtype, torch.device, Enum, type, type(None))

Attributes = dict[tuple[str, str], Any]
"""Attributes of modules, by the module's and the attribute's name."""


class Same:
    """A value compared by identity."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def form_of(workload: Workload, training: Training, update: Update, count: int) -> tuple[Any, ...]:
    """Return a member's form: shapes, classes, groups, and how the workload trains.

    It draws from global generators.
    """
    model = original(training.model)
    modules = tuple((name, type(module)) for name, module in model.named_modules())
    named = [*model.named_parameters(), *model.named_buffers()]
    tensors = tuple(
        (name, tuple(one.shape), one.stride(), one.dtype, one.requires_grad) for name, one in named
    )
    names = {id(one): name for name, one in named}
    groups = tuple(tuple(names[id(one)] for one in group["params"]) for group in groups_of(training))
    how = (
        *(workload.batch_size_of(training.hyperparameters), lengths(workload, training)),
        *(workload.clip_norm, workload.autocast, workload.compile),
        workload.casts_to(),
        training.averaged is not None,
        tuple(sorted(training.hyperparameters)),
    )
    return (count, modules, tensors, groups, update.form(), form_of_draws(workload, training), how)


def attributes_of(model: nn.Module, varying: Collection[tuple[str, str]] = ()) -> Attributes:
    """Return the attributes of modules, except those that may vary."""
    return {
        (name, key): frozen(value)
        for name, module in original(model).named_modules()
        for key, value in vars(module).items()
        if key not in _OWN and (name, key) not in varying and not _is_registered(module, value)
    }


def frozen(value: Any) -> Any:
    """Return a hashable key that is equal for equal values of the same types."""
    if isinstance(value, _PLAIN):
        return type(value), repr(value) if isinstance(value, float) else value
    if isinstance(value, Mapping):
        return type(value), tuple((frozen(key), frozen(one)) for key, one in value.items())
    if isinstance(value, weakref.ref):  # used by recurrent layers for their parameters
        return weakref.ref
    if isinstance(value, tuple | list):
        return type(value), tuple(frozen(one) for one in value)
    return Same(value)


def _is_registered(module: nn.Module, value: Any) -> bool:
    """Return whether an attribute holds the module's parameters or buffers, as in recurrent layers."""
    if isinstance(value, list):
        return bool(value) and all(_is_registered(module, one) for one in value)
    own = [*module._parameters.values(), *module._buffers.values()]
    return isinstance(value, Tensor) and any(value is one for one in own)
