"""Track the checkpoints of a run that is being carried out, and delete those that nothing needs."""

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from evodevo.run.checkpoints import CheckpointStore, member_of
from evodevo.run.history import History
from evodevo.run.pacing import Pacing
from evodevo.run.records import Outcome
from evodevo.run.retention import needed_checkpoints

logger = logging.getLogger("evodevo.keeper")

OnDisk = Callable[..., Awaitable[Any]]
"""Runs a function with its arguments on a thread that may wait for a disk."""


class Keeper:
    """Deletes unneeded checkpoints. If the store fails, it tries again next time: no run fails for that."""

    def __init__(self, store: CheckpointStore, history: History, pacing: Pacing, on_disk: OnDisk) -> None:
        self._store = store
        self._history = history
        self._pacing = pacing
        self._on_disk = on_disk
        self._kept: set[str] = set()
        """Names of checkpoints that are known to exist."""
        self._collected_at = (-1, -1)
        self.held: Collection[str] = ()
        """Names of checkpoints that are kept while others are remade from them."""
        self.has_strays = True
        """Whether there may be unknown files, of lost attempts or of an earlier controller."""

    def note(self, outcome: Outcome) -> None:
        """Note a result's outcome; if it has no checkpoint, the attempt may have published an unknown one."""
        if outcome.checkpoint:
            self._kept.add(outcome.checkpoint.name)
        else:
            self.has_strays = True

    @property
    def crowded(self) -> bool:
        """Whether deleting cannot wait because there is hardly room for upcoming checkpoints.

        If all members of a generation wait for each other, there is always room.
        """
        most = self._pacing.generations_kept - 1
        return most > 1 and len(self._kept) >= most * self._history.config.search.population

    async def collect(self) -> None:
        """Delete unneeded checkpoints: after each generation's worth of births or ends, or if crowded."""
        population = self._history.config.search.population
        collected_at = len(self._history.births) // population, len(self._history.over) // population
        if collected_at == self._collected_at and not self.crowded:
            return
        self._collected_at = collected_at
        if self.has_strays:
            await self._sweep()
        elif doomed := self._kept - self.needed():
            await self._delete(sorted(doomed))

    async def _sweep(self) -> None:
        """Delete everything in the store that is not needed.

        A running attempt may have published a checkpoint that is not known here, so files of members at work
        are kept. Listing comes before judging, so no listed file can belong to a member born in between.
        """
        try:
            names = await self._on_disk(self._store.names)
        except OSError as why:
            logger.warning("run %s: could not list checkpoints: %s", self._history.config.run.name, why)
            return
        needed, pending = self.needed(), self._history.pending
        doomed = [name for name in names if name not in needed and member_of(name) not in pending]
        self._kept = needed.intersection(names)
        self.has_strays = len(doomed) + len(self._kept) < len(names)
        await self._delete(doomed)

    def needed(self) -> set[str]:
        """Return the names of the checkpoints that are needed now."""
        needed = needed_checkpoints(self._history, self._pacing.may_inherit, self._pacing.open)
        return needed.union(self.held)

    async def _delete(self, names: Sequence[str]) -> None:
        try:
            await self._on_disk(self._store.delete, names)
        except OSError as why:
            logger.warning("run %s: could not delete checkpoints: %s", self._history.config.run.name, why)
            self.has_strays = True
        else:
            self._kept.difference_update(names)
