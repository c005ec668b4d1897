"""The steps that a worker keeps for a workload, to be used again by members of the same form."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from workers.seeding import Randomness
from workers.static import updates
from workers.static.check import check
from workers.static.form import form_of
from workers.static.obstacles import obstacle
from workers.static.step import Obstructed, Step
from workers.static.tables import Drawn, Unfitting
from workers.training import Training

if TYPE_CHECKING:
    from workers.workload import Workload

KEPT = 32
"""Steps that nobody is using; each has the memory of its network's activations."""


_shelves: weakref.WeakSet[Shelf] = weakref.WeakSet()


class Shelf:
    def __init__(self) -> None:
        _shelves.add(self)
        self.made = 0
        """Steps that were captured, ever."""
        self.reasons: dict[Any, str] = {}
        """Why members of a form are trained without, by form."""
        self._idle: list[tuple[Any, Step]] = []
        self._in_use: dict[int, Any] = {}

    def has(self, key: Any, trainings: Sequence[Training]) -> bool:
        """Return whether there is a step for these members that has been checked."""
        return any(own == key and step.is_checked and step.fits(trainings) for own, step in self._idle)

    def take(
        self,
        key: Any,
        workload: Workload,
        trainings: Sequence[Training],
        drawn: list[Drawn],
        before: Sequence[Randomness],
        generators: Sequence[torch.Tensor],
    ) -> Step:
        """Return a step for members of one form, which is `key`, with nothing loaded. Raises `Obstructed`.

        A new one is compared with `Workload.step` first; `before` and `generators` are as `check` has them.
        Raises `torch.OutOfMemoryError` if steps that are in use leave no memory for it.
        """
        if key in self.reasons:
            raise Obstructed(self.reasons[key])
        step = self._fitting(key, trainings)
        try:
            if step is None:
                step = self._made(workload, trainings, drawn)
            if not step.is_checked:
                step.is_checked = check(workload, trainings, drawn, before, generators, step)
        except torch.cuda.OutOfMemoryError as why:
            self.clear()
            if self._in_use:  # of other members: this one can wait until they are done
                raise
            raise Obstructed("there is not enough memory on the device") from why
        except (Obstructed, Unfitting) as why:
            self.reasons[key] = str(why)
            raise Obstructed(str(why)) from why
        except (
            Exception
        ) as why:  # what users' code or CUDA raises; if it is wrong, it is raised again in `step`
            self.reasons[key] = f"{type(why).__name__}: {' '.join(str(why).split())[:200]}"
            raise Obstructed(self.reasons[key]) from why
        self._in_use[id(step)] = key
        return step

    def give_back(self, step: Step) -> None:
        """Keep a step for the next member of its form; those that were used longest ago make room."""
        self._idle.append((self._in_use.pop(id(step)), step))
        self._drop(len(self._idle) - KEPT)

    def clear(self) -> None:
        """Drop what is not in use."""
        self._drop(len(self._idle))
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()

    def key_of(self, workload: Workload, trainings: Sequence[Training]) -> Any:
        """Return the form that all members have. Raises `Obstructed` if they have none in common.

        Draws from global generators.
        """
        keys = []
        for training in trainings:
            if (why := obstacle(workload, training)) is not None:
                raise Obstructed(why, tried=False)
            keys.append(form_of(workload, training, updates.update_of(training), len(trainings)))
        if any(key != keys[0] for key in keys):
            raise Obstructed("the members are of different forms", tried=False)
        return keys[0]

    def _drop(self, count: int) -> None:
        """Drop the steps that were used longest ago."""
        for _ in range(count):
            self._idle[0][1].settle()
            del self._idle[0]

    def _fitting(self, key: Any, trainings: Sequence[Training]) -> Step | None:
        for at in reversed(range(len(self._idle))):
            if self._idle[at][0] == key and self._idle[at][1].fits(trainings):
                return self._idle.pop(at)[1]
        return None

    def _made(self, workload: Workload, trainings: Sequence[Training], drawn: list[Drawn]) -> Step:
        with contextlib.suppress(torch.cuda.OutOfMemoryError):
            return self._ready(workload, trainings, drawn)
        self.clear()
        return self._ready(workload, trainings, drawn)

    def _ready(self, workload: Workload, trainings: Sequence[Training], drawn: list[Drawn]) -> Step:
        step = Step(workload, trainings, drawn)
        step.make_ready(trainings, workload.compile)
        self.made += 1
        return step


def drop_idle() -> None:
    """Drop the steps of all workloads that nobody is using, for the memory that they take."""
    for shelf in list(_shelves):
        shelf.clear()


def shelf_of(workload: Workload) -> Shelf:
    """Return the shelf of a workload, which lives as long as that."""
    if "_shelf" not in vars(workload):
        vars(workload)["_shelf"] = Shelf()
    shelf: Shelf = vars(workload)["_shelf"]
    return shelf
