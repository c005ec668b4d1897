"""Stack networks: K members as one module, for devices that one member does not keep busy.

A user's module can define its stacked form by a method `stacked(count)`, which returns a module whose
parameters and buffers have the same names and a leading dimension K, and which takes and returns
[K, batch, ...] (or is a `stacked_layers.Folded`). The method stacks the module's children with `stack`.
Unknown modules are refused.
"""

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from workers import stacked_layers as layers
from workers.stacked_layers import NotStackable
from workers.stacked_masks import Masks

__all__ = ["NotStackable", "channels_last", "draw_masks_from", "load", "stack", "stacked_from", "state_of"]

FORMS: dict[type[nn.Module], Callable[[Any, int], nn.Module]] = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), layers.Convolution),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), layers.BatchNorm),
    **dict.fromkeys((nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d), layers.Dropout),
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), layers.PerChannel),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), layers.PerChannel),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), layers.PerChannel),
    nn.Embedding: layers.Embedding,
    nn.Flatten: layers.Flatten,
    nn.GroupNorm: layers.GroupNorm,
    nn.LayerNorm: layers.LayerNorm,
    nn.Linear: layers.Linear,
}
TENSORS = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
"""Names of the parameters and buffers of the layers in `FORMS`."""
ONLY: dict[str, tuple[type[nn.Module], Any]] = {
    "padding_mode": (nn.Module, "zeros"),
    "return_indices": (nn.Module, False),
    "padding_idx": (nn.Embedding, None),
    "max_norm": (nn.Embedding, None),
    "sparse": (nn.Embedding, False),
}
"""Settings of which only one value can be stacked."""
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def stack(model: nn.Module, count: int) -> nn.Module:
    """Return the stacked form of a network, with its parameters in each of `count` members.

    Parameters and buffers have the model's names and a leading dimension, [K, *shape]. The forward pass takes
    [K, batch, ...] and returns the outputs of K networks with those parameters, [K, batch, ...].

    Raises `NotStackable` with the name of a module whose stacked form is not known.
    """
    if count < 1:
        raise ValueError(f"count: should be 1 or more, not {count}")
    try:
        _check_whole(model)
        form = _stacked(model, count)
        _check_form(model, form, count)
        return form
    except NotStackable as why:
        raise why.within(model) from None


def stacked_from(models: Sequence[nn.Module]) -> nn.Module:
    """Return the stacked form of K networks of the same structure, with their parameters and settings.

    Settings in `Stacked.per_member`, such as the probability of dropout, may differ. Raises `NotStackable` if
    another setting, a shape or the mode (training, evaluation) differs.
    """
    first = models[0]
    whole = stack(first, len(models))
    forms = dict(whole.named_modules())
    for one in models[1:]:
        try:
            _check_whole(one)
        except NotStackable as why:
            raise why.within(one) from None
        _check_likeness(first, one, forms)
    load(whole, [model.state_dict() for model in models])
    modules = [dict(model.named_modules()) for model in models]
    for name, form in forms.items():
        if isinstance(form, layers.Stacked):
            for setting in form.per_member:
                form.set_members(setting, [getattr(each[name], setting) for each in modules])
    return whole


@torch.no_grad()
def load(stacked: nn.Module, states: Sequence[Mapping[str, Tensor]]) -> None:
    """Set parameters and buffers from the `state_dict`s of K members, bit for bit."""
    targets = stacked.state_dict()
    for name, target in targets.items():
        if len(states) != len(target):
            raise ValueError(f"stacked for {len(target)} members, so it cannot load {len(states)}")
        for member, state in enumerate(states):
            found = state.get(name)
            if found is None or (found.shape, found.dtype) != (target.shape[1:], target.dtype):
                kind = "nothing" if found is None else f"{found.dtype} {list(found.shape)}"
                raise ValueError(
                    f"member {member}, {name}: should be {target.dtype} {list(target.shape[1:])}, not {kind}"
                )
        target.copy_(torch.stack([state[name] for state in states]))
    if unknown := [name for state in states for name in state if name not in targets]:
        raise ValueError(f"the stacked network has no {', '.join(sorted(set(unknown)))}")


def state_of(stacked: nn.Module, member: int) -> dict[str, Tensor]:
    """Return a copy of one member's `state_dict`, bit for bit."""
    return {name: value[member].detach().clone() for name, value in stacked.state_dict().items()}


def channels_last(stacked: nn.Module, enabled: bool = True) -> nn.Module:
    """Fold the members' images into channels_last batches; parameters keep their layout."""
    for module in stacked.modules():
        if isinstance(module, layers.Stacked):
            module.channels_last = enabled
    return stacked


def draw_masks_from(stacked: nn.Module, masks: Masks) -> nn.Module:
    """Draw all dropout masks from `masks` instead of the device's global generator."""
    for module in stacked.modules():
        if hasattr(module, "masks"):
            module.masks = masks  # type: ignore[assignment]
    return stacked


def _stacked(module: nn.Module, count: int) -> nn.Module:
    if callable(getattr(type(module), "stacked", None)):
        _check_overrides(module)
        form = module.stacked(count)  # type: ignore[operator]
        assert isinstance(form, nn.Module)
        return form
    kind = _known_class(module)
    if kind is nn.Sequential:
        children = {
            name: _stacked(child, count) for name, child in module._modules.items() if child is not None
        }
        return layers.StackedSequential(module, count, children)
    if kind is None:
        raise NotStackable(
            module,
            "its stacked form is not known; a method stacked(count) can return it (see workers/stacking.py)",
        )
    _check_layer(module)
    return copy.deepcopy(module) if kind in layers.ELEMENTWISE else FORMS[kind](module, count)


def _known_class(module: nn.Module) -> type[nn.Module] | None:
    """Return the known class of a module, which may be of a subclass that only overrides `__init__`."""
    for kind in type(module).__mro__:
        if kind in FORMS or kind in layers.ELEMENTWISE or kind is nn.Sequential:
            return kind
        if _methods(kind):
            return None
    return None


def _methods(kind: type) -> list[str]:
    return [
        name
        for name, value in vars(kind).items()
        if name != "__init__" and (inspect.isroutine(value) or isinstance(value, property))
    ]


def _check_overrides(module: nn.Module) -> None:
    """Refuse a subclass that may compute something else than the class whose `stacked` it inherits."""
    for kind in type(module).__mro__:
        if "stacked" in vars(kind):
            return
        if changed := _methods(kind):
            raise NotStackable(
                module, f"it changes {', '.join(changed)} of a class whose `stacked` does not know of that"
            )


def _check_layer(module: nn.Module) -> None:
    """Refuse a known layer with anything that its stacked form would ignore."""
    for setting, (kind, value) in ONLY.items():
        found = getattr(module, setting, value)
        if isinstance(module, kind) and found != value:
            raise NotStackable(module, f"it has {setting} {found!r}; only {value!r} can be stacked")
    tensors = [*module._parameters, *module._buffers]
    if unknown := [name for name in tensors if name not in TENSORS]:
        raise NotStackable(module, f"it has {', '.join(unknown)}, which its class does not have")
    if module._modules:
        raise NotStackable(module, f"it has {', '.join(module._modules)}, which its class does not have")
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
        if module.track_running_stats != (module.running_mean is not None):
            raise NotStackable(module, "its track_running_stats was changed after it was made")
        if module.momentum is None and module.track_running_stats:
            raise NotStackable(module, "momentum None, a cumulative average, cannot be stacked")


def _check_whole(model: nn.Module) -> None:
    _check_additions(model)
    _check_sharing(model)


def _check_additions(model: nn.Module) -> None:
    """Refuse hooks and the like, which change what a module computes outside its class."""
    for module in model.modules():
        for name, tensor in _tensors(module):
            if nn.parameter.is_lazy(tensor) or tensor.layout != torch.strided:
                raise NotStackable(module, f"{name} is lazy or sparse")
        if any(getattr(module, hooks) for hooks in HOOKS):
            raise NotStackable(module, "it has hooks (as pruning and the older weight norm make them)")
        if nn.utils.parametrize.is_parametrized(module):
            raise NotStackable(module, "it has parametrizations")
        if "forward" in vars(module):
            raise NotStackable(module, "its forward was replaced")
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            raise NotStackable(module, "it has state that is not a tensor (get_extra_state)")


def _check_form(model: nn.Module, form: nn.Module, count: int) -> None:
    """Refuse a stacked form whose tensors differ from the model's with a leading dimension."""
    wanted = {name: (count, *value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in form.state_dict().items()}
    if wanted != found:
        differ = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
        raise NotStackable(model, f"its stacked form should have {differ[0]} {wanted.get(differ[0])}")


def _check_sharing(model: nn.Module) -> None:
    """Refuse shared parameters and buffers, which would become separate in the stacked form."""
    seen: dict[int, str] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        for name, tensor in _tensors(module):
            full = f"{path}.{name}" if path else name
            if full != seen.setdefault(tensor.data_ptr() or id(tensor), full):
                raise NotStackable(
                    module, f"its {name} is shared: {seen[tensor.data_ptr() or id(tensor)]}, {full}"
                )


def _check_likeness(first: nn.Module, other: nn.Module, forms: Mapping[str, nn.Module]) -> None:
    mine, theirs = dict(first.named_modules()), dict(other.named_modules())
    if mine.keys() != theirs.keys():
        raise NotStackable(other, f"members differ in {', '.join(sorted(mine.keys() ^ theirs.keys()))}")
    for name, module in mine.items():
        another = theirs[name]
        if type(module) is not type(another):
            raise NotStackable(another, f"in another member it is {type(module).__qualname__}", name)
        free = getattr(forms.get(name), "per_member", ())
        settings, others = _settings(module), _settings(another)
        differ = [
            key for key in settings.keys() | others.keys() if not _same(settings.get(key), others.get(key))
        ]
        if bad := sorted(set(differ) - set(free)):
            raise NotStackable(another, f"{', '.join(bad)} differs between members", name)


def _settings(module: nn.Module) -> dict[str, Any]:
    """Return a module's attributes, mode, the shapes of its tensors, and its non-persistent buffers."""
    bare = vars(nn.Module()).keys() - {"training"}
    settings = {name: value for name, value in vars(module).items() if name not in bare}
    forms = {name: (value.shape, value.dtype, value.requires_grad) for name, value in _tensors(module)}
    fixed = {name: module._buffers[name] for name in module._non_persistent_buffers_set}
    return {**settings, **forms, **fixed}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    try:
        return one is other or bool(one == other)
    except (RuntimeError, TypeError, ValueError):  # arrays do not compare to a single bool
        return False


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
        if tensor is not None:
            yield name, tensor
