"""An exponential moving average of a network's parameters and buffers, updated at each step."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from evodevo.errors import UsageError
from workers.names import original


class Averaged:
    """A copy of a network; its dense tensors of floating point are averaged, all else is as it was last.

    e <- b e + (1 - b) p with b = min(0.5^(1 / half_life), (1 + k) / (10 + k)), for the parameters and
    buffers p of the network after step k: early in training the average follows closely.
    """

    def __init__(self, model: nn.Module, half_life_steps: float) -> None:
        sparse = [buffer for buffer in model.buffers() if buffer.layout != torch.strided]
        memo = {id(buffer): buffer.detach().clone() for buffer in sparse}  # not all kinds can be deep-copied
        try:
            self.module = copy.deepcopy(original(model), memo).requires_grad_(False)
        except Exception as why:
            raise UsageError(
                f"the model cannot be copied, so it has no average ({' '.join(str(why).split())[:200]}); use "
                "torch.nn.utils.parametrizations, or judge its parameters as they are (search.judge: raw)"
            ) from why
        self.decay = 0.5 ** (1.0 / half_life_steps)
        self.steps = 0

    def begin(self, model: nn.Module) -> None:
        """Begin anew, from a network as it is."""
        self.module.load_state_dict(original(model).state_dict())
        self.steps = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the network's parameters and buffers after a step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        pairs = list(zip(_tensors(self.module), _tensors(original(model)), strict=True))
        smooth = [(own, new) for own, new in pairs if _is_smooth(own)]
        if smooth:
            own, new = zip(*smooth, strict=True)
            torch._foreach_lerp_(list(own), [value.detach() for value in new], 1.0 - decay)
        for own_one, new_one in pairs:
            if not _is_smooth(own_one):
                own_one.copy_(new_one)
        for own_module, new_module in zip(self.module.modules(), original(model).modules(), strict=True):
            if type(new_module).get_extra_state is not nn.Module.get_extra_state:
                own_module.set_extra_state(copy.deepcopy(new_module.get_extra_state()))

    def state_dict(self) -> dict[str, Any]:
        return {"module": self.module.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        self.steps = state["steps"]


def _is_smooth(tensor: torch.Tensor) -> bool:
    return tensor.layout == torch.strided and (tensor.is_floating_point() or tensor.is_complex())


def _tensors(module: nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]
