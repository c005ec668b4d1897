"""Save a member's state as a safetensors file, and restore it. Loading runs no code.

The state comprises all named parts of a `Training`. An optimizer's state is keyed by the names of parameters;
of the settings of optimizers and learning-rate schedulers only those that training changed are kept, as the
others belong to each member. Tensors are named after their places (`model.fc.weight`); the rest is JSON in
the file's metadata. Nothing identifies the member, so equal states make equal files.
"""

import json
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from workers import optimizers, tree
from workers.averaging import Averaged
from workers.names import plain
from workers.training import Training

FORMAT = 2
SEVERAL = 3
"""The format of a checkpoint of several networks, which `workers.networks` unpacks."""
METADATA_KEY = "evodevo"  # one key: safetensors does not keep the order of several


def encode(training: Training) -> bytes:
    """Return the state of all parts, copied off the device; raise `tree.Unsavable` if one cannot be kept."""
    tensors: dict[str, Tensor] = {}
    parts: dict[str, Any] = {}
    add_given(training)
    own = training.parts()
    names = optimizers.names_of(own)
    for name, part in own.items():
        parts[name] = tree.flatten(_state_of(name, part, training, names), name, tensors)
    if training.differs_when_judged():
        with training.evaluating() as model:
            parts["judged"] = tree.flatten(_model_state(model), "judged", tensors)
    about = {"format": FORMAT, "parts": parts}
    return safetensors.torch.save(tensors, {METADATA_KEY: json.dumps(about)})


def restore(data: bytes, training: Training) -> None:
    """Set the parts of `training` to the state in `data`, and add notes on what did not fit.

    The learning rate, weight decay and so on remain the member's own. Raises `RuntimeError` if the parameters
    do not fit the model, and `ValueError` for a file that is not a checkpoint.
    """
    about = _of_one_network(data)
    tensors = safetensors.torch.load(data)
    if about["format"] == 1:
        _restore_1(about, tensors, training)
        return
    stored = {name: tree.unflatten(part, tensors) for name, part in about["parts"].items()}
    own = training.parts()
    names = optimizers.names_of(own)
    for name, part in own.items():
        if training.leg.anew and _is_scheduler(part):
            training.notes.append(f"{name}: begins anew, as the run does")
        elif name in stored:
            _set_state(name, part, stored[name], training, names)
        else:
            training.notes.append(f"{name}: the parent has none, so it starts anew")
    if isinstance(training.averaged, Averaged) and "averaged" not in stored:
        training.averaged.begin(training.model)
    if training.leg.anew:
        for name, part in training.optimizers.items():
            if name in training.given:
                optimizers.begin_rates(part, training.given[name])


def model_state(data: bytes) -> dict[str, Tensor]:
    """Return the parameters and buffers of the network that is judged, by their plain names.

    It is the averaged network if there is one, or the one that a schedule-free optimizer evaluates. Raises
    `ValueError` for a file that evodevo did not write.
    """
    about = _of_one_network(data)
    try:
        found = _judged(about, safetensors.torch.load(data))
        others = [name for name, value in found.items() if not isinstance(value, Tensor)]
    except Exception as why:  # a malformed file may raise anything
        reason = " ".join(f"{type(why).__name__}: {why}".split())
        raise ValueError(f"the checkpoint is malformed: {reason}") from why
    if strange := [name for name in others if not _is_extra(name)]:
        raise ValueError(f"the checkpoint is malformed: {strange[0]!r} is not a tensor")
    return found


def _is_extra(name: str) -> bool:
    """Return whether a name belongs to a module's `get_extra_state`, which may return anything."""
    return name.rpartition(".")[2] == "_extra_state"


def _judged(about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if about["format"] == 1:
        return {name[6:]: value for name, value in tensors.items() if name.startswith("model.")}
    parts = about["parts"]
    name = next(name for name in ("averaged", "judged", "model") if name in parts)
    found = tree.unflatten(parts[name], tensors)
    if name == "averaged":  # ours, or torch's AveragedModel
        inside = {key[7:]: value for key, value in found.items() if key.startswith("module.")}
        found = found.get("module", inside)
    return {plain(name): value for name, value in found.items()}


def read_metadata(data: bytes) -> dict[str, Any]:
    """Return the JSON part of a checkpoint; raise `ValueError` for a file that evodevo did not write."""
    length = int.from_bytes(data[:8], "little")
    try:
        about: dict[str, Any] = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][METADATA_KEY])
        found = about["format"]
    except (ValueError, KeyError, TypeError) as why:
        raise ValueError("this is not a checkpoint that evodevo wrote") from why
    if found not in (1, FORMAT, SEVERAL):
        raise ValueError(f"the checkpoint has format {found}; this version reads 1 to {SEVERAL}")
    if found == SEVERAL and not _are_networks(about.get("networks")):
        raise ValueError("the checkpoint is malformed: it does not list its networks")
    return about


def _are_networks(told: Any) -> bool:
    return isinstance(told, list) and all(
        isinstance(one, dict) and one.get("format") == FORMAT for one in told
    )


def _of_one_network(data: bytes) -> dict[str, Any]:
    about = read_metadata(data)
    if about["format"] == SEVERAL:
        count = len(about["networks"])
        raise ValueError(f"the checkpoint is of an ensemble of {count} networks (search.ploidy), not of one")
    return about


def given(training: Training) -> dict[str, Any]:
    """Return the present settings of optimizers and schedulers, before any training."""
    found = {}
    for name, part in training.parts().items():
        if _is_optimizer(part):
            found[name] = optimizers.settings(part)
        elif _is_scheduler(part):
            found[name] = _copied(part.state_dict())
    return found


def add_given(training: Training) -> None:
    """Record the present settings of parameter groups that were added to an optimizer since `given`."""
    for name, part in training.parts().items():
        if _is_optimizer(part):
            training.given[name] += optimizers.settings(part)[len(training.given[name]) :]


def _model_state(model: nn.Module) -> dict[str, Any]:
    return {plain(name): value for name, value in model.state_dict().items()}


def _state_of(name: str, part: Any, training: Training, names: Mapping[int, str]) -> Any:
    if isinstance(part, torch.Generator):
        return part.get_state()
    if isinstance(part, nn.Module):
        return _model_state(part)
    if optimizers.is_plain(part):
        return optimizers.state_of(part, names, training.given[name])
    if _is_optimizer(part):
        return optimizers.whole_state_of(part, names, training.given[name])
    if _is_scheduler(part):
        return {"changed": _changes(training.given[name], part.state_dict())}
    return part.state_dict()


def _set_state(name: str, part: Any, stored: Any, training: Training, names: Mapping[int, str]) -> None:
    if isinstance(part, torch.Generator):
        part.set_state(stored)
    elif isinstance(part, nn.Module):
        own = part.state_dict()
        actual = {plain(key): key for key in own}
        loaded = {actual.get(key, key): value for key, value in stored.items()}
        for key in own.keys() - loaded.keys():
            if key.endswith("_extra_state"):  # absent in checkpoints of older versions
                loaded[key] = own[key]
        part.load_state_dict(loaded)
    elif optimizers.is_plain(part):
        training.notes += [f"{name}: {note}" for note in optimizers.set_state(part, stored, names)]
    elif _is_scheduler(part):
        part.load_state_dict(_merged(_copied(part.state_dict()), stored["changed"]))
    elif _is_optimizer(part):
        training.notes += [f"{name}: {note}" for note in optimizers.set_whole_state(part, stored, names)]
    else:
        part.load_state_dict(stored)


def _is_optimizer(part: Any) -> bool:
    return isinstance(part, torch.optim.Optimizer) or hasattr(part, "param_groups")


def _is_scheduler(part: Any) -> bool:
    scheduler = torch.optim.lr_scheduler
    return isinstance(part, scheduler.LRScheduler | scheduler.ReduceLROnPlateau)


def _changes(given: Any, now: Any) -> Any:
    """Return the entries of a scheduler's state that differ from the initial ones, recursively."""
    found = {}
    for key, value in now.items():
        before = given.get(key)
        if key == "_schedulers" and isinstance(before, list):
            found[key] = [_changes(*pair) for pair in zip(before, value, strict=True)]
        elif key not in given or not tree.same(value, before):
            found[key] = value
    return found


def _merged(own: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in changes.items():
        if key == "_schedulers" and len(value) == len(own.get(key, ())):
            own[key] = [_merged(*pair) for pair in zip(own[key], value, strict=True)]
        else:
            own[key] = value
    return own


def _copied(state: Any) -> Any:
    """Return a deep copy of plain data."""
    if type(state) in (dict, OrderedDict, Counter):
        return type(state)({key: _copied(value) for key, value in state.items()})
    if type(state) in (list, tuple):
        return type(state)([_copied(value) for value in state])
    if isinstance(state, Tensor):
        return state.detach().clone()
    return state.copy() if isinstance(state, set | np.ndarray) else state


def _restore_1(about: Mapping[str, Any], tensors: Mapping[str, Tensor], training: Training) -> None:
    """Restore a checkpoint of format 1: a model, and an optimizer's state by parameter number."""
    state: dict[int, dict[str, Any]] = {int(n): dict(keys) for n, keys in about["scalars"].items()}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".", 2)
            state.setdefault(int(number), {})[key] = value
    model = {name[6:]: value for name, value in tensors.items() if name.startswith("model.")}
    names = optimizers.names_of(training.parts())
    _set_state("model", training.model, model, training, names)
    ((name, part),) = training.optimizers.items()
    if not optimizers.is_plain(part):
        training.notes.append(
            f"{name}: its state in a checkpoint of format 1 is of no use, so it starts anew"
        )
        return
    in_order = [names[id(p)] for group in part.param_groups for p in group["params"]]
    stored = {
        "kind": about["optimizer"],
        "state": {in_order[number]: values for number, values in state.items()},
        "groups": [],
    }
    _set_state(name, part, stored, training, names)
