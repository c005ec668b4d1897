"""The state of K members in columns of a few buffers [K, n], so that one kernel processes all of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workers.names import original
from workers.training import Training

ALIGNMENT_BYTES = 256
"""Alignment of each tensor in its member's row, as kernels read several numbers at once."""


class Block:
    """Tensors of K members, in the memory layout of the members' own."""

    def __init__(self, like: Mapping[str, Tensor], count: int) -> None:
        """Allocate zeros in the shapes and types of `like`, one member's tensors, on their device."""
        widths: Counter[torch.dtype] = Counter()
        places = {}
        for name, tensor in like.items():
            places[name] = widths[tensor.dtype]
            widths[tensor.dtype] += _padded(tensor)
        device = next((tensor.device for tensor in like.values()), torch.device("cpu"))
        self.buffers = {
            dtype: torch.zeros((count, width), dtype=dtype, device=device) for dtype, width in widths.items()
        }
        """[K, n] for each dtype."""
        self.views = {
            name: self.buffers[tensor.dtype].as_strided(
                (count, *tensor.shape), (widths[tensor.dtype], *_strides(tensor)), places[name]
            )
            for name, tensor in like.items()
        }
        """[K, *shape] for each tensor."""
        self._members = [{name: view[k] for name, view in self.views.items()} for k in range(count)]

    @property
    def buffer(self) -> Tensor:
        """The only buffer, if all tensors have the same dtype."""
        (found,) = self.buffers.values()
        return found

    def columns(self, names: Sequence[str], like: Mapping[str, Tensor]) -> slice:
        """Return the columns of the only buffer that consecutive tensors occupy."""
        start = self.views[names[0]].storage_offset()
        return slice(start, start + sum(_padded(like[name]) for name in names))

    def load(self, member: int, tensors: Mapping[str, Tensor]) -> None:
        """Copy a member's tensors into the block."""
        _copy([self._members[member][name] for name in tensors], list(tensors.values()))

    def store(self, member: int, tensors: Mapping[str, Tensor]) -> None:
        """Copy the block's values into a member's tensors."""
        _copy(list(tensors.values()), [self._members[member][name] for name in tensors])

    def member(self, member: int, name: str) -> Tensor:
        return self._members[member][name]


@dataclass(frozen=True)
class Layout:
    """The names of a member's trained tensors, by groups of its optimizer, and of its other tensors."""

    groups: tuple[tuple[str, ...], ...]
    others: tuple[str, ...]
    """Buffers, and parameters that are not trained."""

    @property
    def trained(self) -> list[str]:
        return [name for group in self.groups for name in group]


def layout_of(training: Training) -> Layout:
    """Return a member's layout; raise `KeyError` if its optimizer has a parameter that is not the model's."""
    model = original(training.model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = (
        tuple(names[id(one)] for one in group["params"] if one.requires_grad)
        for group in training.optimizer.param_groups
    )
    groups = tuple(group for group in found if group)
    trained = {name for group in groups for name in group}
    return Layout(groups, tuple(name for name in tensors_of(model) if name not in trained))


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Return a module's parameters and buffers by name."""
    return {
        **{name: parameter.detach() for name, parameter in module.named_parameters()},
        **dict(module.named_buffers()),
    }


class Arena:
    """Parameters, gradients, buffers, optimizer state (`slots`) and averages of K members of one form."""

    def __init__(self, training: Training, count: int, slots: Mapping[str, Sequence[int]]) -> None:
        """Allocate an arena for members like `training`; `slots` maps names to the optimizer's groups."""
        own = tensors_of(original(training.model))
        self.layout = layout_of(training)
        trained = {name: own[name] for name in self.layout.trained}
        others = {name: own[name] for name in self.layout.others}
        self.parameters, self.gradients = Block(trained, count), Block(trained, count)
        self.others = Block(others, count)
        self.slots = {name: Block(trained, count) for name in slots}
        self._with_slot = {
            slot: [name for at in groups for name in self.layout.groups[at]] for slot, groups in slots.items()
        }
        averaged = training.averaged is not None
        self.mean = Block(trained, count) if averaged else None
        self.mean_others = Block(others, count) if averaged else None
        self.columns = [self.parameters.columns(names, trained) for names in self.layout.groups]

    def attach(self, network: nn.Module, stacked: bool) -> list[nn.Parameter]:
        """Make the network's parameters and buffers views of the arena; return the trained parameters.

        A network that is not stacked belongs to the only member.
        """
        names = {id(one): name for name, one in [*network.named_parameters(), *network.named_buffers()]}
        views = {
            name: view if stacked else view[0]
            for name, view in {**self.parameters.views, **self.others.views}.items()
        }
        made = {
            name: nn.Parameter(views[name], requires_grad=name in self.parameters.views)
            for name, _ in network.named_parameters()
        }
        for module in list(network.modules()):
            for key, parameter in list(module._parameters.items()):
                if parameter is not None:
                    setattr(module, key, made[names[id(parameter)]])
            for key, buffer in list(module._buffers.items()):
                if buffer is not None:
                    setattr(module, key, views[names[id(buffer)]])
        self._attached = network, {name: views[name].data_ptr() for name in self.layout.others}
        return [made[name] for name in self.layout.trained]

    def detached(self) -> str | None:
        """Return the name of a buffer that training replaced instead of changing it in place, or None."""
        network, places = self._attached
        for name, buffer in network.named_buffers():
            if places.get(name) != buffer.data_ptr():
                return name
        return None

    @torch.no_grad()
    def load(self, member: int, training: Training) -> None:
        """Copy a member's state into the arena."""
        own = tensors_of(original(training.model))
        self.parameters.load(member, {name: own[name] for name in self.layout.trained})
        self.others.load(member, {name: own[name] for name in self.layout.others})
        if self.mean is not None and self.mean_others is not None and training.averaged is not None:
            mean = tensors_of(training.averaged.module)
            self.mean.load(member, {name: mean[name] for name in self.layout.trained})
            self.mean_others.load(member, {name: mean[name] for name in self.layout.others})
        named = dict(original(training.model).named_parameters())
        for key, block in self.slots.items():
            kept = {name: training.optimizer.state.get(named[name], {}) for name in self._with_slot[key]}
            there = {name: state[key] for name, state in kept.items() if state.get(key) is not None}
            block.load(member, there)
            for name in kept.keys() - there.keys():
                block.member(member, name).zero_()

    @torch.no_grad()
    def store(self, member: int, training: Training) -> None:
        """Copy a member's state back, creating optimizer state that it does not have yet."""
        model = original(training.model)
        own = tensors_of(model)
        self.parameters.store(member, {name: own[name] for name in self.layout.trained})
        self.others.store(member, {name: own[name] for name in self.layout.others})
        if self.mean is not None and self.mean_others is not None and training.averaged is not None:
            mean = tensors_of(training.averaged.module)
            self.mean.store(member, {name: mean[name] for name in self.layout.trained})
            self.mean_others.store(member, {name: mean[name] for name in self.layout.others})
        named = dict(model.named_parameters())
        for key, block in self.slots.items():
            for name in self._with_slot[key]:
                state = training.optimizer.state[named[name]]
                if state.get(key) is None:
                    state[key] = torch.empty_like(named[name]).detach()
            kept = {name: training.optimizer.state[named[name]][key] for name in self._with_slot[key]}
            block.store(member, kept)


def _copy(targets: list[Tensor], sources: list[Tensor]) -> None:
    for dtype in {target.dtype for target in targets}:
        pairs = [pair for pair in zip(targets, sources, strict=True) if pair[0].dtype == dtype]
        torch._foreach_copy_([target for target, _ in pairs], [source for _, source in pairs])


def _padded(tensor: Tensor) -> int:
    """Return the number of columns that a tensor occupies."""
    unit = max(1, ALIGNMENT_BYTES // tensor.element_size())
    return -(-tensor.numel() // unit) * unit


def _strides(tensor: Tensor) -> tuple[int, ...]:
    """Return the tensor's strides if they leave no gaps, otherwise those of a contiguous one."""
    expected = 1
    for size, stride in sorted(zip(tensor.shape, tensor.stride(), strict=True), key=lambda one: one[1]):
        if size != 1 and stride != expected:
            return torch.empty(tensor.shape, device="meta").stride()
        expected *= size
    return tensor.stride()
