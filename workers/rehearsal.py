"""Rehearse a round with two members before a run begins, to detect errors early.

Two members are made, with the hyperparameters of two founders. One is trained, evaluated and saved. Its
checkpoint is restored into a fresh member, which must equal the first, have the same metrics, and continue
training in the same way, bit for bit; then into a member with the other founder's hyperparameters, which must
continue training with those. State that the two share, or that the workload keeps, must not change when one
of them is trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from evodevo.errors import UsageError
from workers import digests, state, tree
from workers.averaging import Averaged
from workers.seeding import derived, seed_all
from workers.training import Leg, Training
from workers.watch import Watch, attributes, differing, numbers

if TYPE_CHECKING:
    from workers.workload import Workload

BATCHES = 2
"""Number of batches that the first member is trained before its checkpoint; one follows."""
SEED = 0
EPOCHS = 2
"""Number of epochs that the first member ends in this round; schedulers must last that long."""


def rehearse(
    workload: Workload,
    hyperparameters: Mapping[str, Any],
    other: Mapping[str, Any],
    leg: Leg,
    heirs: Sequence[Mapping[str, Any]] = (),
) -> tuple[list[str], set[str]]:
    """Return the names of the metrics, and the hyperparameters that were read.

    `heirs` are hyperparameters of further members that inherit the state of the first.

    Raises `UsageError` for errors that would go unnoticed in a run, and anything the workload raises.
    """
    leg = replace(leg, total=leg.total and max(EPOCHS, leg.total))
    first = workload.begin(hyperparameters, SEED, None, leg)
    _same_batches(workload, first)
    second = _begun(workload, other, leg)
    watch = Watch(workload, first, second)
    _train(workload, first, SEED + 2, BATCHES)
    watch.compare()

    data = _encoded(workload, first)
    metrics = validation_metrics(workload, first)
    again = _restored(workload, hyperparameters, SEED + 3, data, leg)
    _same_state(workload, data, again)
    suspects = differing(attributes(first), attributes(again))
    _same_metrics(workload, first, again, metrics, suspects)
    _train(workload, first, SEED + 4)
    if isinstance(first.averaged, Averaged) and not first.averaged.steps:
        raise UsageError(
            "train() is overridden and does not update the average, which would be judged: call "
            "training.averaged.update(training.model) after each step, or set search.judge to raw"
        )
    kept = numbers(workload)
    _train(workload, again, SEED + 4)
    _same_attributes(first, again)
    for name in differing(kept, numbers(workload)):
        raise UsageError(
            f"self.{name} of the workload changed while a member was trained, and all members share it; make "
            "it part of the model, or set it on `training` in setup(training)"
        )
    _same_training(workload, first, again, suspects)

    for one in heirs:
        changed = ", ".join(f"{key} = {one[key]!r}" for key in one if one[key] != hyperparameters.get(key))
        _restored(workload, one, SEED + 8, data, leg, f" with {changed}")
    if second is not None and _can_train(workload, second):
        when = ", if it was trained with other hyperparameters"
        for one, parent in ((other, data), (hyperparameters, _encoded(workload, second))):
            heir = _restored(workload, one, SEED + 6, parent, leg, when)
            _train(workload, heir, SEED + 7)
            _encoded(workload, heir)
    return list(metrics), first.hyperparameters.read


def _begun(workload: Workload, hyperparameters: Mapping[str, Any], leg: Leg) -> Training | None:
    """Return a second member, or None if it fails with its hyperparameters, as members may."""
    try:
        return workload.begin(hyperparameters, SEED + 1, None, leg)
    except UsageError:
        raise
    except Exception:
        return None


def _can_train(workload: Workload, training: Training) -> bool:
    """Return whether a fresh member trains without failing for its hyperparameters."""
    try:
        _train(workload, training, SEED + 5)
    except UsageError:
        raise
    except Exception:
        return False
    return True


def _restored(
    workload: Workload, hyperparameters: Mapping[str, Any], seed: int, data: bytes, leg: Leg, when: str = ""
) -> Training:
    try:
        return workload.begin(hyperparameters, seed, data, leg)
    except RuntimeError as why:
        if "in loading state_dict" not in str(why):
            raise
        reason = " ".join(str(why).split())
        raise UsageError(
            f"a new model cannot load the state of a trained one{when}: its load_state_dict says "
            f"{reason[:300]!r}. A child inherits the parameters of another member, so model() must create "
            "all parameters and buffers, always with the same shapes; hyperparameters that change them can "
            "evolve only if every member trains from scratch (strategy mutate_best) or keeps its values "
            "(random_search)"
        ) from None


def _same_batches(workload: Workload, training: Training) -> None:
    """Raise `UsageError` unless a seed determines the batches, for example if a sampler is not seeded."""
    found = []
    for _ in range(2):
        seed_all(SEED, workload.device)
        training.generator.manual_seed(SEED)
        some = list(islice(workload.train_batches(training), BATCHES))
        if not some:
            raise UsageError(
                "the train split of the data has no batches, or can be iterated only once; its iterator "
                "must start over each time"
            )
        found.append(digests.digest(some))
    if found[0] != found[1]:
        raise UsageError(
            "the training data yield different batches for the same seed: a sampler or a transform has its "
            "own random generator; use the global generator of torch, numpy or python, which are seeded"
        )


def _train(workload: Workload, training: Training, seed: int, most: int = 1) -> None:
    """Train the first batches of an epoch, and end the epoch."""
    seed_all(seed, workload.device)
    training.generator.manual_seed(seed)
    steps = workload.train(training)
    losses = list(islice(steps, most))
    if len(losses) == most:  # otherwise the epoch has ended already
        steps.close()
        workload.end_epoch(training, losses)


def validation_metrics(workload: Workload, training: Training) -> dict[str, str]:
    """Return the metrics of one validation batch by full name, as text because NaN does not equal itself."""
    seed_all(derived(SEED, "evaluate"), workload.device)
    if type(workload).evaluate is not _plain_evaluate():
        return _of_own_evaluate(workload, training)
    return {f"validation_{name}": value for name, value in _of_a_batch(workload, training).items()}


def _plain_evaluate() -> Any:
    from workers.workload import Workload

    return Workload.evaluate


def _of_own_evaluate(workload: Workload, training: Training) -> dict[str, str]:
    """Return the metrics of an overridden `evaluate`, whose `evaluation_batches` yield only one batch."""
    batches = workload.evaluation_batches
    workload.evaluation_batches = lambda split: islice(batches(split), 1)  # type: ignore[method-assign]
    try:
        found = workload.evaluate(training, "validation")
    finally:
        del workload.evaluation_batches  # uncovers the class's method
    for name in found:
        if not name.startswith("validation_"):
            raise UsageError(
                f"evaluate(training, 'validation') returns {name!r}; names of metrics must begin with that "
                f"of the split: 'validation_{name}'"
            )
    return {name: repr(float(value)) for name, value in found.items()}


@torch.no_grad()
def _of_a_batch(workload: Workload, training: Training) -> dict[str, str]:
    with training.evaluating() as model, workload._casting():
        batch = next(iter(workload.evaluation_batches("validation")), None)
        if batch is None:
            raise UsageError("the validation split of the data has no batches")
        workload.batch_length(batch)
        found = workload.metrics(model, batch)
    for name, value in found.items():
        try:
            single = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError):
            raise UsageError(f"metric {name!r} should be one number, not a {type(value).__name__}") from None
        if single.numel() != 1 or single.is_complex() or (single.ndim and not isinstance(value, Tensor)):
            kind = f"a tensor of shape {tuple(single.shape)}" if single.ndim else str(single.dtype)
            raise UsageError(f"metric {name!r} should be one number, not {kind}")
    return {name: repr(float(value)) for name, value in found.items()}


def _same_metrics(
    workload: Workload,
    first: Training,
    again: Training,
    metrics: Mapping[str, str],
    suspects: Sequence[str],
) -> None:
    found = validation_metrics(workload, again)
    for name, value in metrics.items():
        if found.get(name) == value:
            continue
        if validation_metrics(workload, first) != metrics:
            raise UsageError(
                f"{name} of the same member is {value} and then different: metrics() or the validation data "
                "have their own random generator; use the global generator of torch, numpy or python, which "
                "are seeded"
            )
        raise UsageError(
            f"{name} of a member is {value}, but {found.get(name)} after it is restored from its "
            f"checkpoint: the model has state{_named(suspects)} that its state_dict lacks; use "
            "register_buffer, or get_extra_state and set_extra_state"
        )


def _named(suspects: Sequence[str]) -> str:
    return f" (possibly {' or '.join(suspects[:3])})" if suspects else ""


def _same_attributes(first: Training, again: Training) -> None:
    """Raise `UsageError` if attributes outside any state_dict differ after both members trained a batch."""
    for name in differing(attributes(first), attributes(again)):
        raise UsageError(
            f"{name} of a member is different after it is restored from its checkpoint, as no state_dict "
            "has it; keep it in a buffer (register_buffer), return it from get_extra_state, or, in an "
            "optimizer, keep it in param_groups"
        )


def _encoded(workload: Workload, training: Training) -> bytes:
    try:
        return workload.checkpoint(training)
    except tree.Unsavable as why:
        raise UsageError(str(why)) from None


def _same_state(workload: Workload, data: bytes, again: Training) -> None:
    """Raise `UsageError` unless the restored state equals the saved one."""
    if (name := difference(data, _encoded(workload, again))) is not None:
        raise UsageError(
            f"{name} is not the same after a member is restored from its checkpoint: a load_state_dict does "
            "not set everything that its state_dict returns, or a new member lacks what training added "
            "(groups of an optimizer); create that in setup(training), depending on training.epoch"
        )


def _same_training(workload: Workload, first: Training, again: Training, suspects: Sequence[str]) -> None:
    name = difference(_encoded(workload, first), _encoded(workload, again))
    if name is None or workload.device.type != "cpu":  # on a GPU not every operation is deterministic
        return
    raise UsageError(
        f"a member that is restored from its checkpoint does not continue as without that: {name} differs "
        f"after the next batches. Something that training depends on{_named(suspects)} is not in its state; "
        "add it to the model's or the optimizer's state_dict, or set an object with state_dict and "
        "load_state_dict on `training` in setup(training)"
    )


def difference(one: bytes, other: bytes) -> str | None:
    """Return the name of the first value that differs between two checkpoints, or None."""
    if one == other:
        return None
    import safetensors.torch

    mine, its = safetensors.torch.load(one), safetensors.torch.load(other)
    for name in [*mine, *its]:
        if name not in its or name not in mine or not _equal(mine[name], its[name]):
            return name
    return _differing(state.read_metadata(one)["parts"], state.read_metadata(other)["parts"], "")


def _differing(one: Any, other: Any, where: str) -> str | None:
    """Return the path at which two states, as JSON values, first differ, or None."""
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
            mine, its = (mine[1], its[1]) if keyed and mine[0] == its[0] else (mine, its)
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
