"""Save the state of an optimizer by the names of its parameters, and let a child inherit it.

A child has a new optimizer with its own hyperparameters. It inherits the accumulated state of each parameter
(moments, step counts) and those settings in `param_groups` that the parent's training changed: an estimate
that an adaptive optimizer keeps there continues, and a learning rate that a scheduler lowered to a tenth
becomes a tenth of the child's own.
"""

import copy
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from workers import tree
from workers.names import plain

Settings = list[dict[str, Any]]
"""The entries of each parameter group, without the parameters."""

SCHEDULED = ("lr", "momentum", "betas")
SCALED = ("lr",)
"""Settings that a child scales by the factor by which its parent's changed."""


def is_plain(part: Any) -> bool:
    """Return whether a part is an optimizer with the standard state of `torch.optim.Optimizer`."""
    return isinstance(part, torch.optim.Optimizer) and (
        type(part).state_dict is torch.optim.Optimizer.state_dict
        and type(part).load_state_dict is torch.optim.Optimizer.load_state_dict
    )


def begin_rates(optimizer: Any, given: Settings) -> None:
    """Reset the settings that schedulers change to the values the optimizer was made with."""
    for group, values in zip(optimizer.param_groups, given, strict=True):
        group.update({key: _copied(values[key]) for key in SCHEDULED if key in values})


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
    found = {"kind": type(optimizer).__name__, "state": state, "groups": _changes(optimizer, names, given)}
    return {**found, "extra": extra} if extra else found


def whole_state_of(optimizer: Any, names: Mapping[int, str], given: Settings) -> dict[str, Any]:
    """Return the state of an optimizer that overrides `state_dict`, and the settings that differ."""
    groups = _changes(optimizer, names, given)
    return {"kind": type(optimizer).__name__, "own": optimizer.state_dict(), "groups": groups}


def set_whole_state(optimizer: Any, stored: Mapping[str, Any], names: Mapping[int, str]) -> list[str]:
    """Restore a state from `whole_state_of` like `set_state`.

    The state is kept by position, so it fits only the same parameters.
    """
    kind = type(optimizer).__name__
    if stored["kind"] != kind:
        _take_changes(optimizer, stored["groups"], names, SCALED)
        return [f"the state of {stored['kind']} is of no use to {kind}, which starts anew"]
    mine = [[names[id(parameter)] for parameter in group["params"]] for group in optimizer.param_groups]
    same = mine == [group["names"] for group in stored["groups"]]
    if same:
        own = settings(optimizer)
        optimizer.load_state_dict(stored["own"])
        for group, values in zip(optimizer.param_groups, own, strict=True):
            group.update(values)
    _take_changes(optimizer, stored["groups"], names)
    return [] if same else ["the state is dropped, as other parameters are trained here"]


def _changes(optimizer: Any, names: Mapping[int, str], given: Settings) -> list[dict[str, Any]]:
    return [
        {
            "names": [names[id(parameter)] for parameter in group["params"]],
            "kinds": {key: _kind(value) for key, value in sorted(before.items())},
            "changed": {
                key: {"now": value, "base": _base(group, before, key)}
                for key, value in group.items()
                if key != "params" and not tree.same(value, before.get(key))
            },
        }
        for group, before in zip(optimizer.param_groups, given, strict=True)
    ]


def set_state(
    optimizer: torch.optim.Optimizer, stored: Mapping[str, Any], names: Mapping[int, str]
) -> list[str]:
    """Continue from the stored state with the optimizer's own settings; return notes on what did not fit.

    From another kind of optimizer only the scaling of the learning rate is used. Entries that a parameter's
    state lacks because of settings that the parent did not have (`amsgrad`) are initialised as the optimizer
    does it; superfluous entries are dropped.
    """
    kind = type(optimizer).__name__
    if stored["kind"] != kind:
        _take_changes(optimizer, stored["groups"], names, SCALED)
        return [f"the state of {stored['kind']} is of no use to {kind}, which starts anew"]
    dropped: dict[str, list[str]] = {}
    own = {names[id(p)]: (p, group) for group in optimizer.param_groups for p in group["params"]}
    kinds = {name: group["kinds"] for group in stored["groups"] for name in group["names"]}
    state: dict[Tensor, dict[str, Any]] = {}
    for name, values in stored["state"].items():
        if name not in own:
            dropped.setdefault("not trained here", []).append(name)
            continue
        parameter, group = own[name]
        if set(own) != set(kinds or own) and _is_about_others(values, parameter):
            dropped.setdefault("kept with others than those trained here", []).append(name)
            continue
        fitting = dict(values)
        if name in kinds and not _fits(values, kinds[name], group):
            expected = _fresh_state(optimizer, parameter, group)
            if expected is None:
                dropped.setdefault("made with other settings", []).append(name)
                continue
            fitting = {**expected, **{key: value for key, value in values.items() if key in expected}}
        state[parameter] = fitting
    if state or "extra" in stored:
        made = {parameter: optimizer.state[parameter] for parameter, _ in own.values()
                if parameter in optimizer.state}  # fmt: skip
        _load(optimizer, {**made, **state}, stored.get("extra", {}))
    _take_changes(optimizer, stored["groups"], names)
    return [f"the state of {_listed(names)} is dropped: {reason}" for reason, names in dropped.items()]


def _load(
    optimizer: torch.optim.Optimizer, state: Mapping[Tensor, dict[str, Any]], extra: Mapping[str, Any]
) -> None:
    """Load state with the optimizer's `load_state_dict`, which moves tensors; then restore their types."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    numbered = {at: _loadable(state[one]) for at, one in enumerate(parameters) if one in state}
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": {**numbered, **extra}, "param_groups": groups})
    for parameter, values in state.items():
        optimizer.state[parameter] = _put_right(optimizer.state[parameter], values)


def _loadable(value: Any) -> Any:
    """Return the numbers and tensors of a value; `load_state_dict` would turn strings into generators."""
    if isinstance(value, dict):
        return {key: _loadable(one) for key, one in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_loadable(one) for one in value)
    return value if isinstance(value, Tensor | int | float) else None


def _put_right(loaded: Any, value: Any) -> Any:
    """Return a value as it was stored, with its tensors on the devices that `load_state_dict` chose."""
    if isinstance(value, Tensor):
        return loaded if loaded.dtype == value.dtype else value.to(loaded.device)
    if isinstance(value, dict):
        return type(value)({key: _put_right(loaded[key], one) for key, one in value.items()})
    if type(value) in (list, tuple):
        return type(value)(_put_right(*pair) for pair in zip(loaded, value, strict=True))
    return value


def _take_changes(
    optimizer: Any, stored: list[dict[str, Any]], names: Mapping[int, str], only: Sequence[str] | None = None
) -> None:
    """Apply settings that the parent's training changed; groups are matched by their parameters."""
    for group in optimizer.param_groups:
        mine = {names[id(parameter)] for parameter in group["params"]}
        matching = [one for one in stored if mine & set(one["names"])] or stored[:1]
        if not matching:
            continue
        before = {key: value for key, value in group.items() if key != "params"}
        for key, change in matching[0]["changed"].items():
            if only is None or key in only:
                group[key] = _taken_over(key, change, before)


def _taken_over(key: str, change: Mapping[str, Any], own: Mapping[str, Any]) -> Any:
    now, base = change["now"], change["base"]
    mine = own.get("initial_lr", own.get(key)) if key == "lr" else own.get(key)
    if key in SCALED and base and mine is not None and not tree.same(mine, base):
        return now * (mine / base)
    return _copied(now)


def _base(group: Mapping[str, Any], given: Mapping[str, Any], key: str) -> Any:
    """Return the value that a changed setting is relative to."""
    return group.get("initial_lr", given.get(key)) if key == "lr" else given.get(key)


def _fresh_state(
    optimizer: torch.optim.Optimizer, parameter: Tensor, group: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the initial state that the optimizer makes for a parameter, or None if that cannot be found out.

    The state is taken from a step on a copy with zero gradient, or already there if it is made early.
    """
    if optimizer.state.get(parameter):
        return dict(optimizer.state[parameter])
    twin = nn.Parameter(parameter.detach().clone())
    twin.grad = torch.zeros_like(twin)
    probe: Any = object.__new__(type(optimizer))
    probe.__dict__.update(optimizer.__dict__)
    probe._optimizer_step_pre_hooks = OrderedDict()
    probe._optimizer_step_post_hooks = OrderedDict()
    probe.state = defaultdict(dict)
    own = {key: _copied(value) for key, value in group.items() if key != "params"}
    probe.param_groups = [{**own, "params": [twin], **({"weight_decay": 0} if "weight_decay" in own else {})}]
    try:
        type(optimizer).step(probe)
    except Exception:  # whatever a user's optimizer raises
        return None
    return dict(probe.state[twin])


def _fits(values: Mapping[str, Any], kinds: Mapping[str, Any], group: Mapping[str, Any]) -> bool:
    """Return whether a state, made with settings of these kinds, fits the settings of a group."""
    exact = any(isinstance(value, list) for value in values.values())  # length set by a setting (L-BFGS)
    return all(key in group and _alike(_kind(group[key]), kind, exact) for key, kind in kinds.items())


def _alike(one: Any, other: Any, exact: bool) -> bool:
    if isinstance(one, int) and isinstance(other, int) and not (exact and type(one) is type(other) is int):
        return bool(one) == bool(other)
    return tree.same(one, other)


def _is_about_others(values: Mapping[str, Any], parameter: Tensor) -> bool:
    """Return whether the state kept with this parameter covers several parameters (as in L-BFGS)."""
    return any(
        isinstance(value, list) or (isinstance(value, Tensor) and value.numel() > max(1, parameter.numel()))
        for value in values.values()
    )


def _kind(value: Any) -> Any:
    """Return the aspect of a setting that decides which state exists: whether it is set, or a count."""
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, Tensor):
        return "tensor"
    return bool(value) if isinstance(value, float) else type(value).__name__


def _copied(value: Any) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    return value.detach().clone() if isinstance(value, Tensor) else copy.deepcopy(value)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
