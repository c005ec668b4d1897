"""SGD, Adam and AdamW over an arena, with settings as tensors [K, 1], so that new values need no new step.

The operations and their order are those of `torch.optim`'s foreach implementations (torch 2.13). Values that
depend only on settings and the number of steps (bias corrections) are computed on the host, in double
precision as there, for all steps of an epoch.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.static.arena import Arena
from workers.training import Training

Numbers = NDArray[np.float64]
Settings = Mapping[str, Numbers]
"""Values of each setting for each group at each step, [steps, groups]."""


class Update:
    """An optimizer whose settings are rows of a table."""

    kind: ClassVar[type[torch.optim.Optimizer]]
    read: ClassVar[tuple[str, ...]]
    """Settings that are numbers; betas are beta1 and beta2."""
    unknown: ClassVar[tuple[str, ...]]
    """Settings that must be off."""
    flags: ClassVar[tuple[str, ...]] = ()
    """Settings that are on or off for the whole life of a step."""

    def __init__(self, training: Training) -> None:
        """Record which `flags` are on; the update is valid for all members with the same flags."""
        self.on = [{name: bool(group.get(name)) for name in self.flags} for group in groups_of(training)]

    def slots(self) -> dict[str, list[int]]:
        """Return the names of state with the shape of each parameter, and the groups that have it."""
        raise NotImplementedError

    def form(self) -> tuple[Any, ...]:
        """Return a key that members must share to use the same step."""
        return (self.kind, *(tuple(on.items()) for on in self.on))

    def taken(self, training: Training) -> list[int]:
        """Return how many steps each group has made; raise `ValueError` if its parameters do not agree."""
        found = []
        for group in groups_of(training):
            counts = {self.steps_of(training.optimizer.state.get(one, {})) for one in _trained(group)}
            if len(counts) > 1:
                raise ValueError("parameters of one group have been trained for different numbers of steps")
            found.append(counts.pop())
        return found

    def steps_of(self, state: Mapping[str, Any]) -> int:
        raise NotImplementedError

    def rates(self, settings: Settings, taken: Sequence[int]) -> Numbers:
        """Return the table of numbers for `apply`: [steps, groups, numbers]."""
        raise NotImplementedError

    def apply(self, arena: Arena, rates: Tensor) -> None:
        """Make a step with the gradients in the arena; rates: [K, groups, numbers]."""
        for at, columns in enumerate(arena.columns):
            numbers = rates[:, at, :, None].unbind(1)
            self.apply_to(at, arena, columns, numbers)

    def apply_to(self, at: int, arena: Arena, columns: slice, numbers: Sequence[Tensor]) -> None:
        raise NotImplementedError

    def count(self, training: Training, steps: int) -> None:
        """Count steps that were made in the arena in the member's own optimizer."""


class SGD(Update):
    kind = torch.optim.SGD
    read = ("lr", "momentum", "dampening", "weight_decay")
    unknown = ("maximize", "differentiable")
    flags = ("momentum", "nesterov", "weight_decay")

    def slots(self) -> dict[str, list[int]]:
        having = [at for at, on in enumerate(self.on) if on["momentum"]]
        return {"momentum_buffer": having} if having else {}

    def steps_of(self, state: Mapping[str, Any]) -> int:
        return int(state.get("momentum_buffer") is not None)

    def taken(self, training: Training) -> list[int]:
        """Return for each group whether it has a momentum buffer, 0 or 1; 0 if dampening is off."""
        undampened = not any(group["momentum"] and group["dampening"] for group in groups_of(training))
        return [0] * len(self.on) if undampened else super().taken(training)

    def rates(self, settings: Settings, taken: Sequence[int]) -> Numbers:
        fresh = 1.0 - settings["dampening"]
        fresh[0] = np.where(np.array(taken) == 0, 1.0, fresh[0])
        return np.stack([-settings["lr"], settings["momentum"], fresh, settings["weight_decay"]], 2)

    def apply_to(self, at: int, arena: Arena, columns: slice, numbers: Sequence[Tensor]) -> None:
        on = self.on[at]
        minus_rate, momentum, fresh, decay = numbers
        parameters, gradients = arena.parameters.buffer[:, columns], arena.gradients.buffer[:, columns]
        if on["weight_decay"]:
            gradients = torch.addcmul(gradients, parameters, decay)
        if on["momentum"]:
            kept = arena.slots["momentum_buffer"].buffer[:, columns]
            kept.mul_(momentum).addcmul_(gradients, fresh)
            gradients = torch.addcmul(gradients, kept, momentum) if on["nesterov"] else kept
        parameters.addcmul_(gradients, minus_rate)


class Adam(Update):
    kind: ClassVar[type[torch.optim.Optimizer]] = torch.optim.Adam
    read = ("lr", "beta1", "beta2", "eps", "weight_decay")
    unknown = ("maximize", "differentiable", "amsgrad")
    flags = ("weight_decay", "decoupled_weight_decay")

    def slots(self) -> dict[str, list[int]]:
        return {name: list(range(len(self.on))) for name in ("exp_avg", "exp_avg_sq")}

    def steps_of(self, state: Mapping[str, Any]) -> int:
        return int(state["step"]) if "step" in state else 0

    def rates(self, settings: Settings, taken: Sequence[int]) -> Numbers:
        beta1, beta2, rate = settings["beta1"], settings["beta2"], settings["lr"]
        steps = 1.0 + np.arange(len(rate))[:, None] + np.array(taken, float)
        size = -(rate / (1.0 - beta1**steps))
        root = np.sqrt(1.0 - beta2**steps)
        kept = 1.0 - rate * settings["weight_decay"]
        return np.stack(
            [size, root, 1.0 - beta1, beta2, 1.0 - beta2, settings["eps"], settings["weight_decay"], kept], 2
        )

    def apply_to(self, at: int, arena: Arena, columns: slice, numbers: Sequence[Tensor]) -> None:
        size, root, fresh, old_square, new_square, eps, decay, kept = numbers
        parameters, gradients = arena.parameters.buffer[:, columns], arena.gradients.buffer[:, columns]
        mean, square = (arena.slots[name].buffer[:, columns] for name in self.slots())
        if self.on[at]["weight_decay"]:
            if self.on[at]["decoupled_weight_decay"]:
                parameters.mul_(kept)
            else:
                gradients = torch.addcmul(gradients, parameters, decay)
        mean.lerp_(gradients, fresh)
        square.mul_(old_square).addcmul_(gradients * new_square, gradients)
        parameters.addcdiv_(mean * size, square.sqrt().div_(root).add_(eps))

    def count(self, training: Training, steps: int) -> None:
        for group in groups_of(training):
            for parameter in _trained(group):
                state = training.optimizer.state[parameter]
                if "step" not in state:
                    on_device = group.get("capturable") or group.get("fused")
                    device = parameter.device if on_device else torch.device("cpu")
                    state["step"] = torch.zeros((), dtype=torch.float32, device=device)
                state["step"] += steps


class AdamW(Adam):
    kind = torch.optim.AdamW

    def __init__(self, training: Training) -> None:
        super().__init__(training)
        for on in self.on:
            on["decoupled_weight_decay"] = True  # older versions of torch have no such setting


KINDS: dict[type, type[Update]] = {kind.kind: kind for kind in (SGD, Adam, AdamW)}


def groups_of(training: Training) -> list[dict[str, Any]]:
    """Return the groups of the optimizer that have parameters to train."""
    return [group for group in training.optimizer.param_groups if _trained(group)]


def update_of(training: Training) -> Update:
    """Return the update over an arena for a member's optimizer."""
    return KINDS[type(training.optimizer)](training)


def clip(arena: Arena, largest: float) -> None:
    """Clip each member's gradient to a norm of at most `largest`, like `clip_grad_norm_`."""
    gradients = arena.gradients.buffer
    norms = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
    gradients.mul_((largest / (norms + 1e-6)).clamp(max=1.0))


def average(arena: Arena, weights: Tensor) -> None:
    """Move the averages towards the networks by each member's weight, [K, 1]; see `workers.averaging`."""
    assert arena.mean is not None and arena.mean_others is not None
    pairs = [(arena.mean, arena.parameters), (arena.mean_others, arena.others)]
    for own, new in pairs:
        for dtype, buffer in own.buffers.items():
            if dtype.is_floating_point or dtype.is_complex:
                buffer.lerp_(new.buffers[dtype], weights.to(dtype))
            else:
                buffer.copy_(new.buffers[dtype])


def _trained(group: Mapping[str, Any]) -> list[Tensor]:
    return [one for one in group["params"] if one.requires_grad]
