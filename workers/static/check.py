"""A static step beside `Workload.step`: both train the same batches from the same state, and have to agree."""

from __future__ import annotations

import copy
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
TOLERANCES = {torch.float64: 1e-6, torch.float32: 0.02, torch.bfloat16: 0.3}
"""Largest difference in what the steps change, as a fraction of it, by the least exact type in use.

It catches a step that does something else. Rounding alone may change some parameters by as much as a step of Adam.
"""


def check(
    workload: Workload,
    trainings: Sequence[Training],
    drawn: list[Drawn],
    before: Sequence[Randomness],
    generators: Sequence[Tensor],
    step: Step,
) -> bool:
    """Return whether the steps agree, for members as they are; False if they cannot be compared, as with NaN.

    before, generators: where the members' random generators were before their epochs were drawn.
    Raises `Obstructed` if they do not agree. The members stay as they are, global generators do not.
    """
    count = min(STEPS, len(step.numbers))
    step.load(trainings, drawn)
    for _ in range(count):
        step.replay()
    losses = step.losses[:count].double().cpu()
    compared = []
    for member, (training, where, generator) in enumerate(zip(trainings, before, generators, strict=True)):
        twin = _twin(training)
        twin.generator.set_state(generator)
        where.restore()
        expected = _eagerly(workload, twin, count)
        found = [float(loss) for loss in losses[:, member]]
        compared.append(_agree(workload, step, member, training, twin, found, expected))
    return all(compared)


def tolerance(workload: Workload, step: Step) -> float:
    """Return how much results may differ, as a fraction of what training changes."""
    loose = workload.compile or workload.casts_to() is not None
    return TOLERANCES[torch.bfloat16 if loose else step.losses.dtype]


def _twin(training: Training) -> Training:
    generator = torch.Generator()
    hp = training.hyperparameters
    memo = {id(training.generator): generator, id(hp): hp, id(training.notes): []}
    try:
        return copy.deepcopy(training, memo)
    except Exception as why:  # whatever a user's parts are
        raise Obstructed(
            f"the member cannot be copied ({type(why).__name__}), so its steps cannot be checked"
        ) from why


def _eagerly(workload: Workload, twin: Training, count: int) -> list[float]:
    losses = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a copied optimizer is not the one that the scheduler knows
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
    pairs += [("buffers", {name: arena.others.member(member, name) for name in others}, start, end)]
    if arena.mean is not None and training.averaged is not None and twin.averaged is not None:
        start, end = tensors_of(training.averaged.module), tensors_of(twin.averaged.module)
        pairs += [("averages", {name: arena.mean.member(member, name) for name in trained}, start, end)]
    finite = all(torch.isfinite(torch.tensor(list(expected))))
    for what, found, before, after in pairs:
        changed, wrong, size = _norms(found, before, after)
        finite = finite and changed < float("inf")
        if finite and not wrong <= allowed * changed + 1e-6 * size:
            raise Obstructed(
                f"{what} after {len(losses)} captured steps differ from those of steps as ever by {wrong:.3g}, where "
                f"training changes them by {changed:.3g}"
            )
    scale = max(map(abs, expected))
    if (
        finite
        and max(abs(one - other) for one, other in zip(losses, expected, strict=True)) > allowed * scale
    ):
        raise Obstructed(f"the losses of captured steps are {list(losses)}, and not {list(expected)}")
    return finite


def _norms(
    found: Mapping[str, Tensor], before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> tuple[float, float, float]:
    """How far training as ever moves tensors, how far from there they were found, and how large they are."""
    squares = torch.zeros(3, dtype=torch.float64)
    for name, tensor in found.items():
        if tensor.is_complex():
            continue
        mine, old, new = (one.detach().double().cpu() for one in (tensor, before[name], after[name]))
        squares += torch.stack([(new - old).square().sum(), (mine - new).square().sum(), new.square().sum()])
    changed, wrong, size = squares.sqrt().tolist()
    return changed, wrong, size
