"""A cache of a workload's steps on a worker, for reuse by members of the same form."""

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
"""Maximum number of idle steps, each of which holds the memory of its network's activations."""


_shelves: weakref.WeakSet[Shelf] = weakref.WeakSet()


class Shelf:
    """The steps of one workload, idle or in use."""

    def __init__(self) -> None:
        _shelves.add(self)
        self.made = 0
        """Number of steps captured so far."""
        self.reasons: dict[Any, str] = {}
        """Reason for not using steps, by form."""
        self._idle: list[tuple[Any, Step]] = []
        self._in_use: dict[int, Any] = {}

    def has(self, key: Any, trainings: Sequence[Training]) -> bool:
        """Return whether there is a checked step for these members."""
        return any(own == key and step.is_checked and step.fits(trainings) for own, step in self._idle)

    def acquire(
        self,
        key: Any,
        workload: Workload,
        trainings: Sequence[Training],
        drawn: list[Drawn],
        before: Sequence[Randomness],
        generators: Sequence[torch.Tensor],
    ) -> Step:
        """Return a step for members of the form `key`, with nothing loaded; raise `Obstructed` if impossible.

        A new one is first compared with `Workload.step`; see `check` for `before` and `generators`.
        Raises `torch.OutOfMemoryError` if steps in use leave no memory for it.
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
            if self._in_use:  # by other members, for which this one can wait
                raise
            raise Obstructed("there is not enough memory on the device") from why
        except (Obstructed, Unfitting) as why:
            self.reasons[key] = str(why)
            raise Obstructed(str(why)) from why
        # users' code or CUDA may raise anything; eager training raises actual errors again
        except Exception as why:
            self.reasons[key] = f"{type(why).__name__}: {' '.join(str(why).split())[:200]}"
            raise Obstructed(self.reasons[key]) from why
        self._in_use[id(step)] = key
        return step

    def release(self, step: Step) -> None:
        """Keep a step for the next member of its form; drop the least recently used ones."""
        self._idle.append((self._in_use.pop(id(step)), step))
        self._drop(len(self._idle) - KEPT)

    def clear(self) -> None:
        """Drop all idle steps."""
        self._drop(len(self._idle))
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()

    def key_of(self, workload: Workload, trainings: Sequence[Training]) -> Any:
        """Return the common form of all members; raise `Obstructed` if there is none.

        It draws from global generators.
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
        """Drop the `count` least recently used steps."""
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
    """Drop the idle steps of all workloads to free their memory."""
    for shelf in list(_shelves):
        shelf.clear()


def shelf_of(workload: Workload) -> Shelf:
    """Return the shelf of a workload, which lives as long as the workload."""
    if "_shelf" not in vars(workload):
        vars(workload)["_shelf"] = Shelf()
    shelf: Shelf = vars(workload)["_shelf"]
    return shelf
