"""Layers that hold the parameters of K members and compute all members at once.

A stacked layer takes and returns [K, batch, ...]. A `Folded` one computes with the members in the channels,
[batch, K * C, ...], member after member, so that a convolution becomes one grouped convolution.
`StackedSequential` keeps values folded between folded layers, so that they are permuted only when the layout
changes.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workers.stacked_masks import Masks, dropped, from_global_generator

ELEMENTWISE = (
    nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.Identity,
    nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.ReLU, nn.ReLU6, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus,
    nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Threshold,
)  # fmt: skip
"""Elementwise modules without parameters, which are used unchanged in any layout."""


class NotStackable(Exception):
    """A module whose stacked form is not known."""

    def __init__(self, module: nn.Module, reason: str, name: str = "") -> None:
        self.module, self.reason = module, reason
        kind = type(module)
        super().__init__(f"{name or 'the model'} ({kind.__module__}.{kind.__qualname__}): {reason}")

    def within(self, model: nn.Module) -> "NotStackable":
        """Return the same exception with the module's name in a model."""
        names = {id(module): name for name, module in model.named_modules()}
        return NotStackable(self.module, self.reason, names.get(id(self.module), ""))


class Stacked(nn.Module):
    """The stacked form of a layer: its own parameters and buffers with a leading dimension of K members."""

    per_member: ClassVar[tuple[str, ...]] = ()
    """Settings of the layer that may differ between members, stored as float64 tensors [K]."""
    channels_last = False
    """Whether folded images are kept in the channels_last layout; set by `stacking.channels_last`."""

    def __init__(self, layer: nn.Module, count: int) -> None:
        super().__init__()
        self.count = count
        self.train(layer.training)
        for name, parameter in layer._parameters.items():
            repeated = None if parameter is None else repeat(parameter.detach(), count)
            wants = parameter is not None and parameter.requires_grad
            self.register_parameter(name, None if repeated is None else nn.Parameter(repeated, wants))
        for name, buffer in layer._buffers.items():
            self.register_buffer(
                name,
                None if buffer is None else repeat(buffer, count),
                persistent=name not in layer._non_persistent_buffers_set,
            )
        for name in self.per_member:
            self.set_members(name, [getattr(layer, name)] * count)

    def set_members(self, name: str, values: Sequence[float] | Tensor) -> None:
        """Set each member's value of a setting, on the device of the previous values."""
        tensor = torch.as_tensor(values, dtype=torch.float64)
        if tensor.shape != (self.count,):
            raise ValueError(f"{name}: should be {self.count} numbers, one per member, not {values}")
        before = getattr(self, name, None)
        setattr(self, name, tensor if before is None else tensor.to(before.device))

    def through(self, layer: nn.Module, values: Tensor, folded: bool) -> tuple[Tensor, bool]:
        """Pass values in either layout through a layer; return them and whether they are folded."""
        if isinstance(layer, StackedSequential):
            for one in layer.children():
                values, folded = self.through(one, values, folded)
            return values, folded
        if isinstance(layer, Folded):
            return layer.folded(values if folded else fold(values, self.count, self.channels_last)), True
        if isinstance(layer, ELEMENTWISE):
            return layer(values), folded
        return layer(unfold(values, self.count) if folded else values), False

    def _apply(self, fn: Any, recurse: bool = True) -> "Stacked":
        """Move the per-member settings with the module; they are not buffers, as the layer's are not."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name in self.per_member:
            setattr(self, name, getattr(self, name).to(fn(torch.empty(0, dtype=torch.float64)).device))
        return self


class Folded(Stacked):
    """A stacked layer that computes with the members in the channels."""

    def forward(self, values: Tensor) -> Tensor:
        return unfold(self.folded(fold(values, self.count, self.channels_last)), self.count)

    def folded(self, values: Tensor) -> Tensor:
        """Compute [batch, K * C', ...] from [batch, K * C, ...]."""
        raise NotImplementedError

    def folded_through(self, layer: nn.Module, values: Tensor) -> Tensor:
        """Pass folded values through a stacked layer of any kind."""
        values, folded = self.through(layer, values, True)
        return values if folded else fold(values, self.count, self.channels_last)


class StackedSequential(Stacked):
    """The stacked form of `nn.Sequential`, from the stacked forms of its layers."""

    def __init__(self, layer: nn.Module, count: int, layers: Mapping[str, nn.Module]) -> None:
        super().__init__(layer, count)
        for name, one in layers.items():
            self.add_module(name, one)

    def forward(self, values: Tensor) -> Tensor:
        values, folded = self.through(self, values, False)
        return unfold(values, self.count) if folded else values


class Convolution(Folded):
    """K convolutions as one with K times as many groups. Weights: [K, out, in / groups, *kernel]."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, count: int) -> None:
        super().__init__(layer, count)
        self.convolve = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(layer.kernel_size)]
        self.stride, self.padding, self.dilation = layer.stride, layer.padding, layer.dilation
        self.groups = count * layer.groups

    def folded(self, values: Tensor) -> Tensor:
        weight = self.weight.flatten(0, 1)
        bias = None if self.bias is None else self.bias.flatten()
        outputs: Tensor = self.convolve(
            values, weight, bias, self.stride, self.padding, self.dilation, self.groups
        )
        return outputs


class BatchNorm(Folded):
    """K batch normalisations as one over K x C channels."""

    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(self, layer: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d, count: int) -> None:
        super().__init__(layer, count)
        self.momentum, self.eps = layer.momentum or 0.0, layer.eps

    def folded(self, values: Tensor) -> Tensor:
        kept = [one for one in (self.running_mean, self.running_var) if one is not None]
        flat = [one.flatten() for one in kept]
        mean, variance = flat or (None, None)
        weight, bias = (None if one is None else one.flatten() for one in (self.weight, self.bias))
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        of_batch = self.training or not kept
        outputs = F.batch_norm(values, mean, variance, weight, bias, of_batch, self.momentum, self.eps)
        if of_batch:
            for buffer, updated in zip(kept, flat, strict=True):
                if not buffer.is_contiguous():  # then `updated` is a copy (a slice of an arena [K, P])
                    buffer.copy_(updated.view_as(buffer))
        return outputs


class GroupNorm(Folded):
    """K group normalisations as one with K times as many groups."""

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, layer: nn.GroupNorm, count: int) -> None:
        super().__init__(layer, count)
        self.groups, self.eps = count * layer.num_groups, layer.eps

    def folded(self, values: Tensor) -> Tensor:
        weight, bias = (None if one is None else one.flatten() for one in (self.weight, self.bias))
        return F.group_norm(values, self.groups, weight, bias, self.eps)


class PerChannel(Folded):
    """A channelwise layer without parameters, such as pooling, used unchanged."""

    def __init__(self, layer: nn.Module, count: int) -> None:
        super().__init__(layer, count)
        self.layer = copy.deepcopy(layer)

    def folded(self, values: Tensor) -> Tensor:
        outputs: Tensor = self.layer(values)
        return outputs


class Linear(Stacked):
    """K linear layers as one batched product. Weights: [K, out, in]."""

    weight: Tensor
    bias: Tensor | None

    def forward(self, values: Tensor) -> Tensor:
        """Compute [K, ..., out] from [K, ..., in]."""
        rows, transposed = values.flatten(1, -2), self.weight.transpose(1, 2)
        if self.bias is None:
            outputs = torch.bmm(rows, transposed)
        else:
            outputs = torch.baddbmm(self.bias.unsqueeze(1), rows, transposed)
        return outputs.view(*values.shape[:-1], outputs.shape[-1])


class Embedding(Stacked):
    """K embedding tables as one of K * V rows. Weights: [K, V, size]."""

    weight: Tensor

    def forward(self, numbers: Tensor) -> Tensor:
        """Return vectors [K, ..., size] for integers [K, ...] in [0, V)."""
        known = (numbers >= 0) & (numbers < self.weight.shape[1])
        torch._assert_async(known.all(), "index out of range")  # else it selects another member's row
        first = torch.arange(self.count, dtype=numbers.dtype, device=numbers.device) * self.weight.shape[1]
        return F.embedding(numbers + first.view(-1, *[1] * (numbers.ndim - 1)), self.weight.flatten(0, 1))


class LayerNorm(Stacked):
    """K layer normalisations, with weights and biases per member."""

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, layer: nn.LayerNorm, count: int) -> None:
        super().__init__(layer, count)
        self.shape, self.eps = layer.normalized_shape, layer.eps

    def forward(self, values: Tensor) -> Tensor:
        outputs = F.layer_norm(values, self.shape, None, None, self.eps)
        lead = (self.count, *[1] * (values.ndim - 1 - len(self.shape)), *self.shape)
        if self.weight is not None:
            outputs = outputs * self.weight.view(lead)
        return outputs if self.bias is None else outputs + self.bias.view(lead)


class Flatten(Stacked):
    """`nn.Flatten` with its dimensions shifted past the members' dimension."""

    def __init__(self, layer: nn.Flatten, count: int) -> None:
        super().__init__(layer, count)
        self.dims = [dim if dim < 0 else dim + 1 for dim in (layer.start_dim, layer.end_dim)]

    def forward(self, values: Tensor) -> Tensor:
        return values.flatten(*self.dims)


class Dropout(Stacked):
    """`nn.Dropout`, and its channelwise kinds (Dropout1d, 2d, 3d), with a probability per member."""

    per_member = ("p",)
    p: Tensor

    def __init__(self, layer: nn.Module, count: int) -> None:
        super().__init__(layer, count)
        kinds = {nn.Dropout1d: 4, nn.Dropout2d: 5, nn.Dropout3d: 6}
        self.channels_ndim = next((ndim for kind, ndim in kinds.items() if isinstance(layer, kind)), None)
        self.masks: Masks = from_global_generator

    def forward(self, values: Tensor) -> Tensor:
        if self.channels_ndim not in (None, values.ndim):  # torch would guess the channel's dimension
            raise NotStackable(
                self, f"values {list(values.shape)} should have {self.channels_ndim} dimensions"
            )
        if not self.training:
            return values
        return dropped(values, self.p, self.masks, self.channels_ndim is not None)


def repeat(values: Tensor, count: int) -> Tensor:
    """Copy a tensor [...] into each of K members, [K, ...]."""
    return values.unsqueeze(0).repeat(count, *[1] * values.ndim)


def fold(values: Tensor, count: int, channels_last: bool = False) -> Tensor:
    """Reshape [K, batch, C, ...] to [batch, K * C, ...], images in channels_last layout on request."""
    if values.shape[0] != count or values.ndim < 3:
        raise ValueError(
            f"values for {count} members should be [{count}, batch, channels, ...], not {list(values.shape)}"
        )
    if channels_last and values.ndim == 5:
        folded = values.permute(1, 3, 4, 0, 2).flatten(3).permute(0, 3, 1, 2)
        return folded.contiguous(memory_format=torch.channels_last)  # no second copy, unless K or C is 1
    return values.transpose(0, 1).flatten(1, 2)


def split(values: Tensor, count: int) -> Tensor:
    """Return [batch, K * C, ...] as a view [batch, K, C, ...]."""
    return values.view(values.shape[0], count, values.shape[1] // count, *values.shape[2:])


def unfold(values: Tensor, count: int) -> Tensor:
    """Return [batch, K * C, ...] as a view [K, batch, C, ...]."""
    return split(values, count).transpose(0, 1)
