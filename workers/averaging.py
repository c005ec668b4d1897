"""An exponential moving average of a network's parameters and buffers, updated at each step."""

import copy
import operator
from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from torch import nn

from evodevo.errors import UsageError
from workers.names import original


class Averaged:
    """A copy of a network with averaged dense floating-point tensors, and the latest values of all else.

    e <- b e + (1 - b) p with b = min(0.5^(1 / half_life_steps), (1 + k) / (10 + k)), for the parameters and
    buffers p of the network after step k: early in training the average follows closely.
    """

    def __init__(self, model: nn.Module, half_life_steps: float) -> None:
        sparse = [buffer for buffer in model.buffers() if buffer.layout != torch.strided]
        memo = {id(buffer): buffer.detach().clone() for buffer in sparse}  # not all can be deep-copied
        try:
            self.module = copy.deepcopy(original(model), memo).requires_grad_(False)
        except Exception as why:
            raise UsageError(
                f"the model cannot be copied, so it has no average ({' '.join(str(why).split())[:200]}); use "
                "torch.nn.utils.parametrizations, or judge its parameters as they are (search.judge: raw)"
            ) from why
        self.decay = 0.5 ** (1.0 / half_life_steps)
        self.steps = 0
        self._pairs: _Pairs | None = None

    def begin(self, model: nn.Module) -> None:
        """Restart the average from a network's present state."""
        self.module.load_state_dict(original(model).state_dict())
        self.steps = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Update the average with the network's parameters and buffers after a step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        network = original(model)
        if self._pairs is None or not self._pairs.hold(self.module, network):
            self._pairs = _Pairs(self.module, network)
        pairs = self._pairs
        if pairs.smooth:
            torch._foreach_lerp_(pairs.smooth, pairs.smooth_new, 1.0 - decay)
        if pairs.others:
            torch._foreach_copy_(pairs.others, pairs.others_new)
        for own_module, new_module in pairs.with_extra_state:
            own_module.set_extra_state(copy.deepcopy(new_module.get_extra_state()))

    def state_dict(self) -> dict[str, Any]:
        return {"module": self.module.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        self.steps = state["steps"]


class _Pairs:
    """Tensors and modules of the average, paired with those of the network.

    Listing them takes longer than averaging them, so the lists are kept until a module, parameter or buffer
    of either network is replaced, added or removed.
    """

    def __init__(self, own: nn.Module, new: nn.Module) -> None:
        self._networks = own, new
        modules = [*own.modules(), *new.modules()]
        self._places = [held for one in modules for held in (one._modules, one._parameters, one._buffers)]
        self._held = self._holding()
        tensors = list(zip(_tensors(own), _tensors(new), strict=True))
        self.smooth = [mine for mine, _ in tensors if _is_smooth(mine)]
        self.smooth_new = [theirs for mine, theirs in tensors if _is_smooth(mine)]
        self.others = [mine for mine, _ in tensors if not _is_smooth(mine)]
        self.others_new = [theirs for mine, theirs in tensors if not _is_smooth(mine)]
        self.with_extra_state = [
            (mine, theirs)
            for mine, theirs in zip(own.modules(), new.modules(), strict=True)
            if type(theirs).get_extra_state is not nn.Module.get_extra_state
        ]

    def hold(self, own: nn.Module, new: nn.Module) -> bool:
        """Return whether the lists are still valid for these networks."""
        if self._networks[0] is not own or self._networks[1] is not new:
            return False
        now = self._holding()
        return len(now) == len(self._held) and all(map(operator.is_, now, self._held))

    def _holding(self) -> list[Any]:
        return list(chain.from_iterable(held.values() for held in self._places))


def _is_smooth(tensor: torch.Tensor) -> bool:
    return tensor.layout == torch.strided and (tensor.is_floating_point() or tensor.is_complex())


def _tensors(module: nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]
