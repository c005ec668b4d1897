"""Reasons why a member cannot be trained by static steps that are known without trying."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from workers import batches
from workers.averaging import Averaged
from workers.names import original
from workers.static.tables import leaves
from workers.static.updates import KINDS
from workers.training import Training

if TYPE_CHECKING:
    from workers.workload import Workload

OVERRIDES = ("train", "step", "train_batches")
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
TYPES = (torch.float32, torch.float64)


def obstacle(workload: Workload, training: Training) -> str | None:
    """Return the reason why static steps are impossible for a member, or None."""
    of_data = of_workload(workload, workload.batch_size_of(training.hyperparameters))
    return of_data or _of_optimizer(training) or _of_model(training) or _of_parts(training)


def of_workload(workload: Workload, batch_size: int | None = None) -> str | None:
    """Return the reason that lies in the workload, given a member's batch size if known, or None."""
    from workers.workload import Workload as Base

    for name in OVERRIDES:
        if getattr(type(workload), name) is not getattr(Base, name) or name in vars(workload):
            return f"{name}() is overridden"
    if workload.accumulate > 1:
        return "gradients are accumulated over several batches"
    if workload.autocast == torch.float16:
        return "with float16 the scale of the loss depends on the gradients"
    split = workload.splits.train
    if not batches.is_tensors(split):
        return "the training data are not tensors"
    if any(tensor.device.type != workload.device.type for tensor in leaves(split)):
        return "the training data do not fit on the device"
    if (batches.length(split) or 0) < (batch_size or workload.batch_size):
        return "the training data are fewer than a batch"
    return None


def _of_optimizer(training: Training) -> str | None:
    if len(training.optimizers) > 1:
        return "there are several optimizers"
    optimizer = training.optimizer
    kind = KINDS.get(type(optimizer))
    if kind is None:
        return f"the optimizer is {type(optimizer).__qualname__}, not one of SGD, Adam and AdamW"
    for group in optimizer.param_groups:
        for name in kind.unknown:
            if group.get(name):
                return f"{kind.__name__} with {name}"
        if any(isinstance(value, torch.Tensor) for key, value in group.items() if key != "params"):
            return "a setting of the optimizer is a tensor"
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        return "the optimizer has hooks"
    named = {id(parameter) for parameter in original(training.model).parameters()}
    trained = [one for group in optimizer.param_groups for one in group["params"] if one.requires_grad]
    if not trained:
        return "no parameter is trained"
    if any(id(one) not in named for one in trained):
        return "the optimizer trains a parameter that is not the model's"
    types = {one.dtype for one in trained}
    if len(types) > 1 or not types <= set(TYPES):
        return f"trained parameters are {', '.join(sorted(map(str, types)))}, not all float32"
    try:
        kind(training).taken(training)
    except ValueError as why:
        return str(why)
    return None


def _of_model(training: Training) -> str | None:
    model = original(training.model)
    if model is not training.model:
        return "model() compiles the network; see the option compile"
    for module in model.modules():
        if any(getattr(module, name, None) for name in HOOKS):
            return f"{type(module).__qualname__} has hooks"
        if type(module).get_extra_state is not torch.nn.Module.get_extra_state:
            return f"{type(module).__qualname__} has extra state"
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.layout != torch.strided or tensor.device != next(model.parameters()).device:
            return "a parameter or buffer is sparse or elsewhere"
    return None


def _of_parts(training: Training) -> str | None:
    if training.gang is not None:
        return "several workers train the member together"
    known = {"model", "optimizer", "scheduler", "averaged"}
    for name in training.parts():
        if name.split(".")[0] not in known:
            return f"the member has a further part, {name}"
    if training.pending:
        return "gradients are pending"
    if training.averaged is not None and type(training.averaged) is not Averaged:
        return "the average is the workload's own"
    return None
