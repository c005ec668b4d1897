"""What an optimizer has accumulated, by the names of its parameters, and how a child takes it over.

A child has an optimizer of its own, with its own hyperparameters. It takes over, for each parameter, what the
parent's had accumulated (moments, step counts); and of the settings in `param_groups` what the parent's
training changed: an estimate that an adaptive optimizer keeps there goes on from where it was, and a learning
rate that a scheduler lowered to a tenth is a tenth of the child's own.
"""

import copy
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from workers.names import plain

Settings = list[dict[str, Any]]
"""The entries of each group, without its parameters."""

SCALED = ("lr",)
"""Settings that a child has in the proportion in which its parent's were changed."""


def is_plain(part: Any) -> bool:
    """Whether its state is that of `torch.optim.Optimizer`: by parameter, and settings by group."""
    return isinstance(part, torch.optim.Optimizer) and (
        type(part).state_dict is torch.optim.Optimizer.state_dict
        and type(part).load_state_dict is torch.optim.Optimizer.load_state_dict
    )


def names_of(parts: Mapping[str, Any]) -> dict[int, str]:
    """Return the name of each parameter of the modules and optimizers among `parts`, by its `id`."""
    found: dict[int, str] = {}
    for part_name, part in parts.items():
        if isinstance(part, nn.Module):
            prefix = "" if part_name == "model" else f"{part_name}."
            for name, parameter in part.named_parameters():
                found.setdefault(id(parameter), prefix + plain(name))
    for part_name, part in parts.items():
        for at, group in enumerate(getattr(part, "param_groups", ())):
            for number, parameter in enumerate(group["params"]):
                found.setdefault(id(parameter), f"{part_name}.{at}.{number}")
    return found


def settings(optimizer: Any) -> Settings:
    """Return copies of the settings of each group."""
    return [
        {key: _copied(value) for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]


def state_of(optimizer: torch.optim.Optimizer, names: Mapping[int, str], given: Settings) -> dict[str, Any]:
    """Return what the optimizer accumulated, and the settings that differ from those it was made with."""
    state: dict[str, Any] = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if own := optimizer.state.get(parameter):
                state[names[id(parameter)]] = {key: own[key] for key in sorted(own, key=str)}
    extra = {key: value for key, value in optimizer.state.items() if not isinstance(key, Tensor)}
    groups = [
        {
            "names": [names[id(parameter)] for parameter in group["params"]],
            "kinds": {key: _kind(value) for key, value in sorted(before.items())},
            "changed": {
                key: {"given": before.get(key), "now": value, "base": _base(group, before, key)}
                for key, value in group.items()
                if key != "params" and not _same(value, before.get(key))
            },
        }
        for group, before in zip(optimizer.param_groups, given, strict=True)
    ]
    found = {"kind": type(optimizer).__name__, "state": state, "groups": groups}
    return {**found, "extra": extra} if extra else found


def set_state(
    optimizer: torch.optim.Optimizer, stored: Mapping[str, Any], names: Mapping[int, str]
) -> list[str]:
    """Let the optimizer go on from the stored state, with its own settings; return what did not fit.

    The state of another kind of optimizer is of no use. What a parameter's state lacks for settings that the
    parent did not have (`amsgrad`) is made as the optimizer makes it, and what it has too much is dropped.
    """
    kind = type(optimizer).__name__
    if stored["kind"] != kind:
        return [f"the state of {stored['kind']} is of no use to {kind}, which starts anew"]
    notes: list[str] = []
    own = {names[id(p)]: (p, group) for group in optimizer.param_groups for p in group["params"]}
    kinds = {name: group["kinds"] for group in stored["groups"] for name in group["names"]}
    state: dict[Tensor, dict[str, Any]] = {}
    for name, values in stored["state"].items():
        if name not in own:
            notes.append(f"the state of {name} is dropped, as it is not trained here")
            continue
        parameter, group = own[name]
        if set(own) != set(kinds or own) and _is_about_others(values, parameter):
            notes.append(f"the state of {name} is dropped, as other parameters are trained here")
            continue
        fitting = dict(values)
        if name in kinds and kinds[name] != {
            key: _kind(value) for key, value in sorted(group.items()) if key in kinds[name]
        }:
            expected = _fresh_state(optimizer, parameter, group)
            if expected is None:
                notes.append(f"the state of {name} is dropped, as it was made with other settings")
                continue
            fitting = {**expected, **{key: value for key, value in values.items() if key in expected}}
        state[parameter] = fitting
    if state or "extra" in stored:
        _load(optimizer, state, stored.get("extra", {}))
    _take_changes(optimizer, stored["groups"], names)
    return _shortened(notes)


def keep_settings(optimizer: Any, own: Settings) -> None:
    """Set the settings of each group back to the member's own."""
    for group, values in zip(optimizer.param_groups, own, strict=True):
        group.update(values)


def _load(
    optimizer: torch.optim.Optimizer, state: Mapping[Tensor, dict[str, Any]], extra: Mapping[str, Any]
) -> None:
    """Through the optimizer's own `load_state_dict`; it moves tensors; their types are then put right."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    numbered = {at: state[parameter] for at, parameter in enumerate(parameters) if parameter in state}
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": {**numbered, **extra}, "param_groups": groups})
    for parameter, values in state.items():
        for key, value in values.items():
            loaded = optimizer.state[parameter][key]
            if isinstance(value, Tensor) and loaded.dtype != value.dtype:
                optimizer.state[parameter][key] = value.to(loaded.device)


def _take_changes(
    optimizer: torch.optim.Optimizer, stored: list[dict[str, Any]], names: Mapping[int, str]
) -> None:
    """Settings that the parent's training changed; groups are known by the parameters they share."""
    for group in optimizer.param_groups:
        mine = {names[id(parameter)] for parameter in group["params"]}
        matching = [one for one in stored if mine & set(one["names"])] or stored[:1]
        if not matching:
            continue
        before = {key: value for key, value in group.items() if key != "params"}
        for key, change in matching[0]["changed"].items():
            group[key] = _taken_over(key, change, before)


def _taken_over(key: str, change: Mapping[str, Any], own: Mapping[str, Any]) -> Any:
    now, base = change["now"], change["base"]
    mine = own.get("initial_lr", own.get(key)) if key == "lr" else own.get(key)
    if key in SCALED and base and mine is not None and not _same(mine, base):
        return now * (mine / base)
    return _copied(now)


def _base(group: Mapping[str, Any], given: Mapping[str, Any], key: str) -> Any:
    """What a changed setting is a multiple of."""
    return group.get("initial_lr", given.get(key)) if key == "lr" else given.get(key)


def _fresh_state(
    optimizer: torch.optim.Optimizer, parameter: Tensor, group: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the state that the optimizer makes for a parameter, from a step on a copy without a gradient.

    None if it cannot be known in this way.
    """
    twin = nn.Parameter(parameter.detach().clone())
    twin.grad = torch.zeros_like(twin)
    probe = object.__new__(type(optimizer))
    probe.__dict__.update(optimizer.__dict__)
    probe.state = defaultdict(dict)
    own = {key: _copied(value) for key, value in group.items() if key != "params"}
    probe.param_groups = [{**own, "params": [twin], **({"weight_decay": 0} if "weight_decay" in own else {})}]
    try:
        type(optimizer).step(probe)
    except Exception:  # whatever a user's optimizer raises
        return None
    return dict(probe.state[twin])


def _is_about_others(values: Mapping[str, Any], parameter: Tensor) -> bool:
    """Whether what is kept with this parameter is of several (as of L-BFGS), so that it fits only these."""
    return any(
        isinstance(value, list) or (isinstance(value, Tensor) and value.numel() > max(1, parameter.numel()))
        for value in values.values()
    )


def _kind(value: Any) -> Any:
    """What of a setting decides which state there is: whether it is set, and not how large it is."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Tensor):
        return "tensor"
    if isinstance(value, int | float):
        return bool(value)
    return type(value).__name__


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)


def _copied(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else copy.deepcopy(value)


def _shortened(notes: list[str]) -> list[str]:
    if len(notes) <= 3:
        return notes
    return [*notes[:2], f"and {len(notes) - 2} more, up to: {notes[-1]}"]
