"""Keep what the dispatcher knows about a unit that it has sent to a worker."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from evodevo.run.crew import AttemptsLost, Inbox, NotBegun
from evodevo.run.gangs import Others
from evodevo.run.records import WorkUnit
from evodevo.run.roster import Presence
from evodevo.run.waiting import Undone

if TYPE_CHECKING:
    from distributed import Future

KILL_AFTER_S = 10.0
"""Grace period after the time limit of a leg; a worker that exceeds it is restarted."""


@dataclass(eq=False)
class Posting:
    """A unit that was sent to a worker, and what the worker has reported about it."""

    unit: WorkUnit
    worker: str
    present: Presence
    future: Future
    inbox: Inbox
    unreported: dict[int, None]
    """Positions of the assignments without an outcome so far, in order."""
    progress_at: float
    """When it was sent, or last reported (monotonic)."""
    began: int = 0
    """Position of the last assignment that the worker is known to have begun."""
    task: asyncio.Task[None] | None = None
    """The dispatcher's task that follows the unit until it ends."""
    malformed: str | None = None
    """Why its reports cannot be parsed."""
    others: Others | None = None
    """The other workers of a gang; `worker` is then the first of it, which reports."""

    @property
    def leaving(self) -> str | None:
        """Why a worker of the unit is leaving; None if none is."""
        return self.present.leaving or (self.others.leaving if self.others else None)

    def left_s(self) -> float:
        """Return the seconds until the worker exceeds the time limits of its legs, which take turns."""
        job = self.unit.job
        if not self.unreported or job.epoch_timeout_s is None:
            return math.inf
        at_hand = islice(self.unreported, job.members_per_device)
        limit = sum(job.leg_timeout_s(self.unit.assignments[at].epochs) or 0.0 for at in at_hand)
        return self.progress_at + limit + KILL_AFTER_S - time.monotonic()

    def settle(self, undone: Undone | None) -> None:
        """Report the end of a unit: attempts that were begun are lost, and the others were not begun.

        The next one after those known to be begun counts as begun if the unit failed, because the worker's
        last report may be lost.
        """
        rest = list(self.unreported)
        count = sum(at <= self.began for at in rest) + 1 if undone is not None else 0
        if begun := rest[:count]:
            self.inbox.put(
                AttemptsLost(
                    [self.unit.assignments[at] for at in begun],
                    self.worker,
                    loss(self.worker, self.leaving, undone.why if undone else None),
                    self.leaving is not None,
                    round(time.monotonic() - self.progress_at, 3),
                    undone.cause if undone else "own",
                )
            )
        if others := rest[count:]:
            self.inbox.put(NotBegun([self.unit.assignments[at] for at in others], self.worker))


def label(unit: WorkUnit) -> str:
    """Return what the Dask dashboard shows for a unit: its first and last member."""
    members = [assignment.member for assignment in unit.assignments]
    return members[0] if len(members) == 1 else f"{members[0]}..{members[-1]}"


def loss(worker: str, leaving: str | None, why: str | None = None) -> str:
    """Return the reason for an attempt whose worker was lost, or failed while it was leaving."""
    why = why or f"worker {worker} was lost"
    return f"{why} ({leaving})" if leaving else why
