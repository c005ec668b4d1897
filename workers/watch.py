"""Detect, for a rehearsal, state that members share or that is missing from checkpoints."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from evodevo.errors import UsageError
from workers import tree
from workers.training import Training, is_stateful

if TYPE_CHECKING:
    from workers.workload import Workload

LARGEST = 1 << 20
"""Maximum number of elements of a tensor attribute of the workload; larger ones are taken to be data."""
_PLAIN = (int, float, str, Tensor, list, tuple, dict, set, deque, np.ndarray)


def attributes(training: Training) -> dict[str, str]:
    """Return digests, by name, of plain data in attributes of modules and optimizers outside any state_dict.

    Non-persistent buffers are included.
    """
    found = {}
    for name, part in training.parts().items():
        modules = part.named_modules() if isinstance(part, nn.Module) else [("", part)]
        if not isinstance(part, nn.Module | torch.optim.Optimizer):
            continue
        for path, one in modules:
            more = {key: one._buffers[key] for key in getattr(one, "_non_persistent_buffers_set", ())}
            if isinstance(one, nn.Module):
                own = one.named_parameters(recurse=False)
                more |= {f"{key}.requires_grad": parameter.requires_grad for key, parameter in own}
            for key, value in {**vars(one), **more}.items():
                known = key.startswith("_") or key in ("training", "state", "param_groups", "defaults")
                if (key in more or not known) and (text := _plain_digest(value)):
                    found[".".join(filter(None, (name, path, key)))] = text
    return found


def numbers(workload: Workload) -> dict[str, str]:
    """Return digests of the numbers and small tensors that the workload itself keeps, by name."""
    return {
        name: _plain_digest(value)
        for name, value in vars(workload).items()
        if isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() <= LARGEST)
    }


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return the names of the entries that differ."""
    return [name for name in {**one, **other} if one.get(name) != other.get(name)]


def _plain_digest(value: Any) -> str:
    """Return a digest of plain data, or "" for anything else."""
    if not isinstance(value, _PLAIN):
        return ""
    tensors: dict[str, Tensor] = {}
    try:
        text = repr(tree.flatten(list(value) if isinstance(value, deque) else value, "", tensors))
    except tree.Unsavable:
        return ""
    return text + "".join(_digest(tensor) for tensor in tensors.values())


class Watch:
    """A record of what must not change while a member is trained: another's tensors, the workload's state."""

    def __init__(self, workload: Workload, first: Training, second: Training | None) -> None:
        own = {id(tensor) for _, tensor in _tensors(first)}
        others = _tensors(second) if second else ()
        shared = [(name, tensor) for name, tensor in others if id(tensor) in own]
        self._shared = [(name, tensor, _digest(tensor)) for name, tensor in shared]
        self._kept = [(name, value, _digest_of(value)) for name, value in _kept(workload)]

    def compare(self) -> None:
        """Raise `UsageError` for anything that changed."""
        for name, tensor, before in self._shared:
            if _digest(tensor) != before:
                raise UsageError(
                    f"two members share {name}: the training of one changes the other. It is created once, "
                    "in __init__, data() or the module; create it in model() (or setup)"
                )
        for name, value, before in self._kept:
            if _digest_of(value) != before:
                raise UsageError(
                    f"self.{name} of the workload changed while a member was trained, and all members share "
                    "it; create it in model(), or set it on `training` in setup(training)"
                )


def _tensors(training: Training) -> Iterator[tuple[str, Tensor]]:
    for part_name, part in training.parts().items():
        if isinstance(part, nn.Module):
            for name, tensor in [*part.named_parameters(), *part.named_buffers()]:
                yield f"{part_name}.{name}", tensor


def _kept(workload: Workload) -> Iterator[tuple[str, Any]]:
    """Yield modules, optimizers and the like that the workload itself holds."""
    for name, value in vars(workload).items():
        if is_stateful(value) and not isinstance(value, torch.Generator):
            yield name, value
        elif isinstance(value, list | tuple | dict):
            inside = value.items() if isinstance(value, dict) else enumerate(value)
            for key, one in inside:
                if is_stateful(one):
                    yield f"{name}[{key!r}]", one


def _digest_of(value: Any) -> str:
    tensors: dict[str, Tensor] = {}
    try:
        text = repr(tree.flatten(value.state_dict(), "", tensors))
    except (tree.Unsavable, AttributeError):
        text = ""
    return text + "".join(_digest(tensor) for tensor in tensors.values())


def _digest(tensor: Tensor) -> str:
    dense = tensor.detach().cpu()
    dense = dense.to_dense() if dense.layout != torch.strided else dense
    return hashlib.sha256(dense.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()
