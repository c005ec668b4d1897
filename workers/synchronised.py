"""Batch norm over the whole batch of a gang on any device; `torch.nn.SyncBatchNorm` needs a GPU.

The modules keep the names of their parameters and buffers, and get a subclass of their class; in training
their statistics cover all ranks' shares. Unlike SyncBatchNorm, which has special kernels, this uses plain
torch operations, the same on CPU and GPU; on a GPU it is slower and takes more memory.

The function that sums over ranks is a global of this module, as a process is in one gang at a time: so the
modules can be copied, and are freed without the garbage collector.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Add = Callable[[Sequence[Tensor]], None]
"""A function that replaces tensors by their sums over all ranks."""


_add: Add | None = None


def apply(model: nn.Module, add: Add) -> None:
    """Make all batch-norm layers of a model use the statistics of all ranks in training."""
    global _add
    _add = add
    for module in model.modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, nn.SyncBatchNorm | _Synchronised):
            setattr(module, "__class__", _synchronised(type(module)))  # noqa: B010


def end() -> None:
    """Stop synchronising, as the gang has ended."""
    global _add
    _add = None


class _Synchronised(_BatchNorm):
    """A mixin, the first base of the synchronised subclasses of batch norm."""

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training or _add is None:
            return super().forward(inputs)
        return _normalised(self, _add, inputs)


_classes: dict[type, type] = {}


def _synchronised(kind: type) -> type:
    """Return the synchronised subclass of a class of batch norm, always the same one."""
    if kind not in _classes:
        _classes[kind] = type(kind.__name__, (_Synchronised, kind), {})
    return _classes[kind]


class _Sum(torch.autograd.Function):
    """Sum over all ranks; the objective is the sum of the ranks' losses, so gradients are summed too."""

    @staticmethod
    def forward(context: Any, add: Add, tensor: Tensor) -> Tensor:
        context.add = add
        total = tensor.clone()
        add([total])
        return total

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[None, Tensor]:
        total = grads[0].clone()
        context.add([total])
        return None, total


def _normalised(module: _BatchNorm, add: Add, inputs: Tensor) -> Tensor:
    """Normalise inputs, (n, C, ...), with mean and variance of each channel over all ranks' inputs."""
    module._check_input_dim(inputs)  # type: ignore[no-untyped-call]
    dims = [dim for dim in range(inputs.ndim) if dim != 1]
    shape = [1, -1, *[1] * (inputs.ndim - 2)]
    wide = inputs.float() if inputs.dtype in (torch.float16, torch.bfloat16) else inputs
    own = inputs.numel() / inputs.shape[1]
    sums: Tensor = _Sum.apply(add, torch.cat([wide.sum(dims), wide.new_tensor([own])]))  # type: ignore[no-untyped-call]
    count = sums[-1].detach()
    mean = sums[:-1] / count
    centred = wide - mean.view(shape)
    squares: Tensor = _Sum.apply(add, centred.square().sum(dims))  # type: ignore[no-untyped-call]
    variance = squares / count
    _remember(module, mean.detach(), variance.detach() * count / (count - 1))
    scale = torch.rsqrt(variance + module.eps)
    if module.affine:
        scale = scale * module.weight
    normalised = centred * scale.view(shape)
    return (normalised + module.bias.view(shape) if module.affine else normalised).to(inputs.dtype)


@torch.no_grad()
def _remember(module: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Update the running statistics, if the module keeps them, with a batch's mean and unbiased variance."""
    if not module.track_running_stats or module.num_batches_tracked is None:
        return
    module.num_batches_tracked.add_(1)
    factor = module.momentum
    if factor is None:
        factor = 1.0 / float(module.num_batches_tracked)
    for running, new in ((module.running_mean, mean), (module.running_var, variance)):
        if running is not None:
            running.lerp_(new.to(running.dtype), factor)
