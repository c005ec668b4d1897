"""Compare a static step with `Workload.step`: both train the same batches, and must agree."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workers.names import original
from workers.seeding import Randomness
from workers.static.arena import tensors_of
from workers.static.step import Obstructed, Step
from workers.static.tables import Drawn
from workers.training import Training

if TYPE_CHECKING:
    from workers.workload import Workload

STEPS = 3
TOLERANCES = {torch.float64: 1e-6, torch.float32: 0.02, torch.bfloat16: 0.25}
"""Tolerance for the change that the steps make, relative to its length, by the least exact dtype in use.

It detects a step that does something else. Changes of single parameters are not compared: early on Adam moves
each by the learning rate, whatever its gradient, whose sign may depend on rounding.
"""
LOSS_TOLERANCE = 0.2
"""Tolerance for a loss, relative to the largest loss, as a fraction of those above."""

ROUNDING = 1e-6
"""A change below this length, relative to the values themselves, counts as none."""


def check(
    workload: Workload,
    trainings: Sequence[Training],
    drawn: list[Drawn],
    before: Sequence[Randomness],
    generators: Sequence[Tensor],
    step: Step,
) -> bool:
    """Return True if the steps agree, and False if they cannot be compared, for example because of NaN.

    before, generators: the states of the members' random generators before their epochs were drawn.
    Raises `Obstructed` if they do not agree. Members are left unchanged, global generators are not.
    """
    count = min(STEPS, len(step.numbers))
    step.load(trainings, drawn)
    dropping = [(name, key) for name, key in step.settings if key == "p"] if len(trainings) > 1 else []
    for place in dropping:  # masks drawn for several members at once are different
        step.settings[place].zero_()
    before[0].restore()
    for _ in range(count):
        step.replay()
    losses = step.losses[:count].double().cpu()
    compared = []
    for member, (training, where, generator) in enumerate(zip(trainings, before, generators, strict=True)):
        twin = _twin(training)
        twin.generator.set_state(generator)
        for name, key in dropping:
            setattr(original(twin.model).get_submodule(name), key, 0.0)
        where.restore()
        expected = _eagerly(workload, twin, count)
        found = [float(loss) for loss in losses[:, member]]
        compared.append(_agree(workload, step, member, training, twin, found, expected))
    return all(compared)


def tolerance(workload: Workload, step: Step) -> float:
    """Return how much results may differ, as a fraction of the change by training."""
    loose = workload.compile or workload.casts_to() is not None
    return TOLERANCES[torch.bfloat16 if loose else step.losses.dtype]


def _twin(training: Training) -> Training:
    generator = torch.Generator()
    hp = training.hyperparameters
    memo = {id(training.generator): generator, id(hp): hp, id(training.notes): []}
    try:
        return copy.deepcopy(training, memo)
    except Exception as why:  # users' parts may raise anything
        raise Obstructed(
            f"the member cannot be copied ({type(why).__name__}), so its steps cannot be checked"
        ) from why


def _eagerly(workload: Workload, twin: Training, count: int) -> list[float]:
    losses = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the scheduler refers to another optimizer than the copied one
        steps = workload._train_eagerly(twin)
        for loss in islice(steps, count):
            losses.append(float(loss))
            twin.step += 1
        steps.close()
    return losses


def _agree(
    workload: Workload,
    step: Step,
    member: int,
    training: Training,
    twin: Training,
    losses: Sequence[float],
    expected: Sequence[float],
) -> bool:
    allowed, arena = tolerance(workload, step), step.arena
    start, end = tensors_of(original(training.model)), tensors_of(original(twin.model))
    trained, others = arena.layout.trained, arena.layout.others
    pairs = [("parameters", {name: arena.parameters.member(member, name) for name in trained}, start, end)]
    for what, smooth in (("buffers", True), ("counts", False)):
        of_kind = [name for name in others if start[name].is_floating_point() is smooth]
        pairs += [(what, {name: arena.others.member(member, name) for name in of_kind}, start, end)]
    if arena.mean is not None and training.averaged is not None and twin.averaged is not None:
        start, end = tensors_of(training.averaged.module), tensors_of(twin.averaged.module)
        pairs += [("averages", {name: arena.mean.member(member, name) for name in trained}, start, end)]
    finite = all(map(math.isfinite, expected))
    for what, found, before, after in pairs:
        along, length, size = _compared(found, before, after)
        finite = finite and math.isfinite(size)
        if finite and not max(abs(along - 1), abs(length - 1)) <= allowed:
            raise Obstructed(
                f"captured steps change {what} differently from eager steps: in {len(losses)} steps by "
                f"{length:.3g} of the eager change, and by {along:.3g} in its direction"
            )
    most = LOSS_TOLERANCE * allowed * max(map(abs, expected))
    if finite and not max(abs(one - other) for one, other in zip(losses, expected, strict=True)) <= most:
        raise Obstructed(f"the losses of captured steps are {list(losses)} instead of {list(expected)}")
    return finite


def _compared(
    found: Mapping[str, Tensor], before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> tuple[float, float, float]:
    """Compare the change of tensors to `found` with that by eager training, from `before` to `after`.

    Returns the component of the change along the eager one and its length, both as fractions of the length of
    the eager one, and that length. If neither changes anything noticeable, both fractions are 1.
    """
    sums = torch.zeros(4, dtype=torch.float64)
    for name, tensor in found.items():
        mine, old, new = (_real(one).double() for one in (tensor, before[name], after[name]))
        way, moved = new - old, mine - old
        sums += torch.stack([one.sum() for one in (way * moved, moved**2, way**2, new**2)]).cpu()
    inner, moved_square, square, size_square = sums.tolist()
    if square <= size_square * ROUNDING**2:
        still = moved_square <= 4 * size_square * ROUNDING**2
        return (1.0, 1.0, 0.0) if still else (math.inf, math.inf, 0.0)
    return inner / square, math.sqrt(moved_square / square), math.sqrt(square)


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor.detach()) if tensor.is_complex() else tensor.detach()
