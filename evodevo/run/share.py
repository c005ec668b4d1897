"""One run's share of the workers: what it wants, which workers suit it, and what it has sent them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection
from dataclasses import replace
from itertools import islice
from typing import Protocol

from evodevo.run.crew import Inbox, Needs, Offered
from evodevo.run.pool import Claim, Pool
from evodevo.run.posting import Posting
from evodevo.run.records import WorkUnit
from evodevo.run.roster import Roster


class Post(Protocol):
    """The operation of a dispatcher that a share needs."""

    def post(self, run: str, worker: str, unit: WorkUnit, inbox: Inbox) -> Posting | None:
        """Send a unit to a worker; return None if the worker is gone."""
        ...


class Share:
    """The `Crew` of one run, backed by a dispatcher's workers."""

    def __init__(
        self, dispatcher: Post, pool: Pool, roster: Roster, run: str, inbox: Inbox, at_once: int
    ) -> None:
        self._dispatcher = dispatcher
        self._pool = pool
        self._roster = roster
        self._run = run
        self._inbox = inbox
        self._needs = Needs(run=run)
        self._claim = Claim(
            run,
            lambda worker: inbox.put(Offered(worker)),
            self._suits,
            at_once=at_once,
            kind=roster.kind,
        )
        self._postings: set[asyncio.Task[None]] = set()
        self._benched: dict[str, tuple[str, asyncio.TimerHandle | None]] = {}
        """Why each worker is benched, and the timer that ends it."""
        pool.claim(self._claim)

    def want(self, workers: int, needs: Needs, preferred: Collection[str]) -> None:
        self._needs = replace(needs, run=self._run)
        self._claim.wants, self._claim.preferred = workers, preferred
        self._pool.match()

    def idle(self, most: int) -> int:
        suited = filter(self._suits, self._pool.free)
        return sum(1 for _ in islice(suited, max(0, most)))

    def send(self, worker: str, unit: WorkUnit) -> bool:
        if worker not in self._claim.offered:
            return False
        posting = self._dispatcher.post(self._run, worker, unit, self._inbox)
        if posting is None or posting.task is None:
            return False
        self._postings.add(posting.task)
        posting.task.add_done_callback(self._postings.discard)
        return True

    def decline(self, worker: str) -> None:
        if worker in self._claim.offered:
            self._pool.release(worker)

    def has_another(self, worker: str) -> bool:
        return self._roster.has_another(worker, self._needs)

    def bench(self, worker: str, seconds: float, why: str) -> None:
        present = self._roster.get(worker)
        self._end_bench(worker)
        if present is None or self._run in present.refused:
            return
        self._roster.refuse(self._run, worker, why)
        timer = None
        if math.isfinite(seconds):
            timer = asyncio.get_running_loop().call_later(seconds, self.restore, worker)
        self._benched[worker] = why, timer
        self.decline(worker)
        self._pool.match()  # a worker that was avoided may be the best one now

    def restore(self, worker: str) -> None:
        if self._end_bench(worker):
            self._pool.match()

    def dismiss(self) -> None:
        for worker in list(self._benched):
            self._end_bench(worker)
        self._pool.withdraw(self._claim)
        for task in list(self._postings):
            task.cancel()

    def _end_bench(self, worker: str) -> bool:
        """End a worker's bench; return whether it was benched."""
        why, timer = self._benched.pop(worker, ("", None))
        if timer:
            timer.cancel()
        self._roster.restore(self._run, worker, why)
        return bool(why)

    def _suits(self, worker: str) -> bool:
        return self._roster.suits(worker, self._needs)
