"""A whole round with two members before a run begins, so that what would go wrong later goes wrong now.

Two members are made, with the hyperparameters of two founders. One is trained, evaluated and written; what
was written is restored into a fresh member, which has to be its equal, to evaluate alike, and to train on as
the first one does, bit for bit; and into the other founder's, which has to train on with its own
hyperparameters. What is shared by the two, or kept in the workload, must not change when one of them is
trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from evodevo.errors import UsageError
from workers import digests, state, tree
from workers.seeding import derived, seed_all
from workers.training import Leg, Training, is_stateful

if TYPE_CHECKING:
    from workers.workload import Workload

BATCHES = 2
"""Batches that the first member is trained before its checkpoint; after it one."""
SEED = 0
LEG = Leg(total=2)


def rehearse(
    workload: Workload, hyperparameters: Mapping[str, Any], other: Mapping[str, Any]
) -> tuple[list[str], set[str]]:
    """Return the names of the metrics, and the hyperparameters that were read.

    Raises `UsageError` for what a run would get wrong without a word, and whatever the workload raises.
    """
    first = workload.begin(hyperparameters, SEED, None, LEG)
    _same_batches(workload, first)
    second = workload.begin(other, SEED + 1, None, LEG)
    watch = _Watch(workload, first, second)
    _train(workload, first, SEED + 2, BATCHES)
    watch.compare()

    data = _encoded(workload, first)
    metrics = _metrics(workload, first)
    again = workload.begin(hyperparameters, SEED + 3, data, LEG)
    _same_state(workload, data, again)
    _same_attributes(first, again)
    for name, value in _metrics(workload, again).items():
        if value != metrics[name]:
            raise UsageError(
                f"validation_{name} of a member is {metrics[name]}, and {value} after it is restored from "
                "its checkpoint: the model keeps something that its state_dict lacks (use register_buffer, "
                "or get_extra_state and set_extra_state)"
            )
    _train(workload, first, SEED + 4)
    _train(workload, again, SEED + 4)
    _same_training(workload, first, again)

    heir = workload.begin(other, SEED + 5, data, LEG)
    _train(workload, heir, SEED + 6)
    _encoded(workload, heir)
    return [f"validation_{name}" for name in metrics], first.hyperparameters.read


def _same_batches(workload: Workload, training: Training) -> None:
    """A seed decides which batches there are; whether a sampler has random numbers of its own shows here."""
    found = []
    for _ in range(2):
        seed_all(SEED, workload.device)
        training.generator.manual_seed(SEED)
        some = list(islice(workload.train_batches(training), BATCHES))
        if not some:
            raise UsageError("the train split of the data has no batch")
        found.append(digests.digest(some))
    if found[0] != found[1]:
        raise UsageError(
            "the training data give other batches for the same seed: a sampler or a transform has random "
            "numbers of its own; let it draw from torch's, numpy's or python's global generator, which are "
            "seeded"
        )


def _train(workload: Workload, training: Training, seed: int, most: int = 1) -> None:
    """The first batches of an epoch, and the end of one."""
    seed_all(seed, workload.device)
    training.generator.manual_seed(seed)
    steps = workload.train(training)
    losses = list(islice(steps, most))
    steps.close()
    if losses:
        workload.end_epoch(training, losses)


@torch.no_grad()
def _metrics(workload: Workload, training: Training) -> dict[str, str]:
    """Those of one batch of the validation split, as text: NaN is not equal to itself."""
    seed_all(derived(SEED, "evaluate"), workload.device)
    with training.evaluating() as model, workload._casting():
        batch = next(iter(workload.evaluation_batches("validation")), None)
        if batch is None:
            raise UsageError("the validation split of the data has no batch")
        workload.batch_length(batch)
        found = workload.metrics(model, batch)
    for name, value in found.items():
        if torch.as_tensor(value).numel() != 1:
            shape = tuple(torch.as_tensor(value).shape)
            raise ValueError(f"metric {name!r} should be one number, not a tensor of shape {shape}")
    return {name: repr(float(value)) for name, value in found.items()}


def _encoded(workload: Workload, training: Training) -> bytes:
    try:
        return workload.checkpoint(training)
    except tree.Unsavable as why:
        raise UsageError(str(why)) from None


def _same_state(workload: Workload, data: bytes, again: Training) -> None:
    """What is restored is what was written."""
    if (name := _difference(data, _encoded(workload, again))) is not None:
        raise UsageError(
            f"{name} is not the same after a member is restored from its checkpoint: its load_state_dict "
            "does not set all that its state_dict gives"
        )


def _same_training(workload: Workload, first: Training, again: Training) -> None:
    name = _difference(_encoded(workload, first), _encoded(workload, again))
    if name is None or workload.device.type != "cpu":  # on a GPU not every operation is deterministic
        return
    raise UsageError(
        f"a member that is restored from its checkpoint does not train on as it would have without: {name} "
        "differs after the next batches. Something that training goes by is not in its state: put it into "
        "the model's or the optimizer's state_dict, or set an object with state_dict and load_state_dict on "
        "`training` in setup(training)"
    )


def _difference(one: bytes, other: bytes) -> str | None:
    """Return the name of the first value that differs between two checkpoints; None if none does."""
    if one == other:
        return None
    import safetensors.torch

    mine, its = safetensors.torch.load(one), safetensors.torch.load(other)
    for name in [*mine, *its]:
        if name not in its or name not in mine or not _equal(mine[name], its[name]):
            return name
    return _differing(state.read_metadata(one)["parts"], state.read_metadata(other)["parts"], "")


def _differing(one: Any, other: Any, where: str) -> str | None:
    """The place in two texts of state at which they differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *other]:
            name = where if key in ("dict", "tuple", "OrderedDict") else f"{where}.{key}".strip(".")
            if (found := _differing(one.get(key), other.get(key), name)) is not None:
                return found
        return None
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for at, (mine, its) in enumerate(zip(one, other, strict=True)):
            keyed = isinstance(mine, list) and len(mine) == 2 and isinstance(mine[0], str)
            name = f"{where}.{mine[0]}" if keyed else f"{where}.{at}"
            if (found := _differing(mine, its, name.strip("."))) is not None:
                return found
        return None
    return None if one == other else where


def _equal(one: Tensor, other: Tensor) -> bool:
    return (
        one.dtype == other.dtype
        and one.shape == other.shape
        and torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))
    )


def _same_attributes(first: Training, again: Training) -> None:
    """Numbers and tensors in attributes of modules, which no state_dict has."""
    for name, part in first.parts().items():
        if not isinstance(part, nn.Module):
            continue
        other = again.parts()[name]
        for (path, one), (_, two) in zip(part.named_modules(), other.named_modules(), strict=False):
            for key, value in vars(one).items():
                if key.startswith("_") or key == "training" or not isinstance(value, int | float | Tensor):
                    continue
                found = vars(two).get(key)
                same = _equal(value, found) if isinstance(value, Tensor) and isinstance(found, Tensor) else (
                    type(value) is type(found) and (value == found or value != value)
                )  # fmt: skip
                if not same:
                    where = ".".join(part for part in (name, path, key) if part)
                    raise UsageError(
                        f"{where} is {_short(value)} in a member that was trained, and {_short(found)} "
                        "after it is restored from its checkpoint; keep it in a buffer (register_buffer), "
                        "or return it from get_extra_state"
                    )


class _Watch:
    """What must not change while a member is trained: what another has, and what the workload keeps."""

    def __init__(self, workload: Workload, first: Training, second: Training) -> None:
        own = {id(tensor) for _, tensor in _tensors(first)}
        shared = [(name, tensor) for name, tensor in _tensors(second) if id(tensor) in own]
        self._shared = [(name, tensor, _digest(tensor)) for name, tensor in shared]
        self._kept = [(name, value, _digest_of(value)) for name, value in _kept(workload)]

    def compare(self) -> None:
        """Raise `UsageError` naming what changed."""
        for name, tensor, before in self._shared:
            if _digest(tensor) != before:
                raise UsageError(
                    f"two members share {name}: the training of one changes the other. It is made once, in "
                    "__init__ or data(), or at the module's top; make it in model() (or setup)"
                )
        for name, value, before in self._kept:
            if _digest_of(value) != before:
                raise UsageError(
                    f"self.{name} of the workload changed while a member was trained, and all members share "
                    "it; make it in model(), or set it on `training` in setup(training)"
                )


def _tensors(training: Training) -> Iterator[tuple[str, Tensor]]:
    for part_name, part in training.parts().items():
        if isinstance(part, nn.Module):
            for name, tensor in [*part.named_parameters(), *part.named_buffers()]:
                yield f"{part_name}.{name}", tensor


def _kept(workload: Workload) -> Iterator[tuple[str, Any]]:
    """Modules, optimizers and the like that the workload itself holds."""
    for name, value in vars(workload).items():
        if is_stateful(value) and not isinstance(value, torch.Generator):
            yield name, value
        elif isinstance(value, list | tuple | dict):
            inside = value.items() if isinstance(value, dict) else enumerate(value)
            for key, one in inside:
                if is_stateful(one):
                    yield f"{name}[{key!r}]", one


def _digest_of(value: Any) -> str:
    tensors: dict[str, Tensor] = {}
    try:
        text = repr(tree.flatten(value.state_dict(), "", tensors))
    except (tree.Unsavable, AttributeError):
        text = ""
    return text + "".join(_digest(tensor) for tensor in tensors.values())


def _digest(tensor: Tensor) -> str:
    dense = tensor.detach().cpu()
    dense = dense.to_dense() if dense.layout != torch.strided else dense
    return hashlib.sha256(dense.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()


def _short(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
