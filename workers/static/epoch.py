"""Train an epoch of one member, or of several together, by static (captured) steps."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from workers import steps as eager
from workers.seeding import Randomness
from workers.static import tables, updates
from workers.static.obstacles import of_workload
from workers.static.shelf import shelf_of
from workers.static.step import Obstructed, Step
from workers.training import Training

if TYPE_CHECKING:
    from workers.workload import Workload

DEVICES: tuple[str, ...] = ("cuda",)
"""Device types on which members are trained by static steps; a CPU does not benefit."""


def wanted(workload: Workload) -> bool:
    """Return whether a workload's members are trained by static steps, if nothing prevents it."""
    return workload.capture == "auto" and workload.device.type in DEVICES


def begun(workload: Workload, training: Training) -> Generator[Tensor, None, None] | None:
    """Return an iterator that trains a member for one epoch, or None if it must be trained eagerly.

    The losses are views of a table that the next epoch of any member overwrites. If capturing was tried and
    failed, the member's notes say why.
    """
    try:
        step = _load_step(workload, [training])
    except Obstructed as why:
        if why.tried:
            _add_note(training, str(why))
        return None
    return _replay_one(workload, training, step)


def together(
    workload: Workload, trainings: Sequence[Training], randomness: Sequence[Randomness]
) -> Generator[Tensor, None, None]:
    """Train one epoch of K members at once, yielding their losses, (K,), as `begun` does.

    Raises `Obstructed` before the first step if that is impossible. The network's own random numbers
    (dropout) come from the first member's generators.
    """
    step = _load_step(workload, trainings, randomness)
    try:
        yield from _replay(workload, trainings, step)
    finally:
        randomness[0].save()


def stackable(workload: Workload, trainings: Sequence[Training]) -> bool:
    """Return whether there is a step for all members at once; make and check it if necessary.

    All generators are restored.
    """
    if len(trainings) < 2:
        return False
    shelf, here = shelf_of(workload), Randomness(workload.device)
    generators = [training.generator.get_state() for training in trainings]
    try:
        if not shelf.has(shelf.key_of(workload, trainings), trainings):
            here.restore()
            shelf.release(_load_step(workload, trainings))
    except (Obstructed, tables.Unfitting, torch.cuda.OutOfMemoryError):
        return False
    finally:
        here.restore()
        for training, state in zip(trainings, generators, strict=True):
            training.generator.set_state(state)
    return True


def report(workload: Workload) -> list[str]:
    """Return lines for `evodevo check`, after a rehearsal."""
    if not wanted(workload):
        return []
    shelf = shelf_of(workload)
    why = "; ".join(dict.fromkeys(shelf.reasons.values())) or of_workload(workload)
    lines = ["training steps are captured as CUDA graphs"] if shelf.made else []
    return lines + ([f"{'some ' if lines else ''}training steps are not captured: {why}"] if why else [])


def _load_step(
    workload: Workload, trainings: Sequence[Training], randomness: Sequence[Randomness] | None = None
) -> Step:
    """Return a step loaded with the members and their epochs; all generators are left as after drawing.

    Without `randomness` epochs are drawn from the present state of the global generators. Raises
    `Obstructed`, with all generators restored.
    """
    shelf, here = shelf_of(workload), Randomness(workload.device)
    generators = [training.generator.get_state() for training in trainings]
    before: list[Randomness] = []
    drawn = []
    try:
        key = shelf.key_of(workload, trainings)
        for member, training in enumerate(trainings):
            (here if randomness is None else randomness[member]).restore()
            before.append(Randomness(workload.device))
            drawn.append(tables.epoch_of(workload, training, updates.update_of(training)))
            if randomness is not None:
                randomness[member].save()
        after = Randomness(workload.device)
        step = shelf.acquire(key, workload, trainings, drawn, before, generators)
    except (Obstructed, tables.Unfitting) as why:
        for own, was in zip(randomness or (), before, strict=False):
            was.restore()
            own.save()
        for training, state in zip(trainings, generators, strict=True):
            training.generator.set_state(state)
        here.restore()
        raise why if isinstance(why, Obstructed) else Obstructed(str(why)) from why
    step.load(trainings, drawn)
    (after if randomness is None else randomness[0]).restore()
    return step


def _replay_one(workload: Workload, training: Training, step: Step) -> Generator[Tensor, None, None]:
    """Replay an epoch of a single member, yielding its loss, (), after each step."""
    for losses in _replay(workload, [training], step):
        yield losses.view(())


def _replay(workload: Workload, trainings: Sequence[Training], step: Step) -> Iterator[Tensor]:
    """Replay an epoch, yielding the row of the table of losses, (K,), after each step."""
    made, stored, total = 0, 0, len(step.numbers)

    def fetch() -> None:
        nonlocal stored
        step.store(trainings, made - stored)
        stored = made

    try:
        for training in trainings:
            training.fetch = fetch
        while made < total:
            step.replay()
            made += 1
            if workload.scheduler_per == "step":
                for training in trainings:
                    _step_own_scheduler(training)
            yield step.rows[made - 1]
    finally:
        for training in trainings:
            training.fetch = None
        try:
            fetch()
        finally:
            shelf_of(workload).release(step)
    for member, training in enumerate(trainings):
        if training.scheduler is not None:
            _mark_optimizer_as_stepped(training)
        workload.end_epoch(training, list(step.losses[:, member].unbind()))


def _step_own_scheduler(training: Training) -> None:
    """Step the member's own scheduler, which is part of its state."""
    if training.scheduler is not None:
        _mark_optimizer_as_stepped(training)
        eager.step_schedulers(training, ())


def _mark_optimizer_as_stepped(training: Training) -> None:
    """Keep schedulers from warning that the optimizer has made no step."""
    training.optimizer._opt_called = True


def _add_note(training: Training, why: str) -> None:
    """Add, once, the reason why captured steps failed to the member's notes."""
    note = f"trained without captured steps: {why}"
    if note not in training.notes:
        training.notes.append(note)
