"""An exponential moving average of a network's parameters and buffers, updated at each step."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from workers.names import original


class Averaged:
    """A copy of a network, of which each tensor of floating point is averaged and each other one is the last.

    e <- b e + (1 - b) p with b = min(0.5^(1 / half_life), (1 + k) / (10 + k)), for the parameters and
    buffers p of the network after step k: early in training the average follows closely.
    """

    def __init__(self, model: nn.Module, half_life_steps: float) -> None:
        self.module = copy.deepcopy(original(model)).requires_grad_(False)
        self.decay = 0.5 ** (1.0 / half_life_steps)
        self.steps = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the network's parameters and buffers after a step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        pairs = list(zip(_tensors(self.module), _tensors(original(model)), strict=True))
        smooth = [(own, new) for own, new in pairs if own.is_floating_point() or own.is_complex()]
        if smooth:
            own, new = zip(*smooth, strict=True)
            torch._foreach_lerp_(list(own), [value.detach() for value in new], 1.0 - decay)
        for own_one, new_one in pairs:
            if not (own_one.is_floating_point() or own_one.is_complex()):
                own_one.copy_(new_one)

    def state_dict(self) -> dict[str, Any]:
        return {"module": self.module.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        self.steps = state["steps"]


def _tensors(module: nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]
