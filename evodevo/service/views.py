"""The runs of a service as its page, its metrics and its JSON see them: read once, for all who look.

As long as somebody looks, round follows round: what the event loop knows is taken there, in an instant; then
a thread reads what is new in the journals, folds it into histories of its own (the controllers' change under
its feet), sums it up, and makes the pictures that were asked for. Nobody waits for a round but who wants to.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from evodevo.errors import UsageError
from evodevo.report.live import Columns, Picture, picture_of
from evodevo.run.journal import JournalError, Tail
from evodevo.run.roster import Unused
from evodevo.run.setup import JOURNAL
from evodevo.run.view import MANY, Reading, Status, View, runs_in
from evodevo.service.plugin import Service
from evodevo.service.standing import Standing

logger = logging.getLogger("evodevo.views")

PERIOD_S = 1.0
PATIENCE_S = 120.0
"""Rounds end so long after the last look; more than Prometheus usually lets pass between two."""


@dataclass(frozen=True)
class Sight:
    """What was seen last. `whole`: all runs have been read at least once.

    `problems`: why the journals of runs that are missing here cannot be read. `unused`: the workers that get
    no work from any run.
    """

    statuses: Mapping[str, Status] = field(default_factory=dict)
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    whole: bool = False
    unused: Unused = field(default_factory=lambda: Unused(0, ()))


class Views:
    """All runs of a service, seen from inside the scheduler. Its methods are for the event loop."""

    def __init__(self, service: Service, clock: Callable[[], float] = time.monotonic) -> None:
        self._service = service
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._sight = Sight()
        self._looked_at = 0.0
        self._wanted: dict[str, float] = {}
        self._rounds: asyncio.Task[None] | None = None
        self._due = asyncio.Event()
        self._begun = self._ended = 0
        self._round_over = asyncio.Condition()
        self._closed = False

    def look(self, run: str | None = None) -> Sight:
        """What was seen last, at once; looking keeps it up to date, with a picture of `run`."""
        self._looked_at = self._clock()
        if run is not None:
            if run not in self._sight.pictures:
                self._due.set()
            self._wanted[run] = self._looked_at
        if not self._closed and (self._rounds is None or self._rounds.done()):
            self._rounds = asyncio.create_task(self._go_round())
        return self._sight

    async def fresh(self) -> Sight:
        """What is seen in a round that begins now."""
        wanted = self._begun + 1
        self.look()
        self._due.set()
        async with self._round_over:
            await self._round_over.wait_for(lambda: self._ended >= wanted)
        return self._sight

    async def close(self) -> None:
        """End the rounds. Viewers' pages may go on looking for a while and see what was seen last."""
        self._closed = True
        if self._rounds:
            self._rounds.cancel()
            await asyncio.gather(self._rounds, return_exceptions=True)

    async def _go_round(self) -> None:
        with contextlib.suppress(UsageError):  # what `standings` say then, too
            await self._service.until_ready()
        while self._clock() - self._looked_at < PATIENCE_S:
            self._due.clear()
            self._begun += 1
            began = self._clock()
            try:
                names = await asyncio.to_thread(runs_in, self._service.runs_dir)
                standings = self._service.standings(names)
                self._wanted = {run: at for run, at in self._wanted.items() if began - at < PATIENCE_S}
                unused = self._service.unused()
                sight = await asyncio.to_thread(self._round, standings, set(self._wanted))
                self._sight = replace(sight, unused=unused)
            except Exception:
                logger.exception("the runs could not be read for the page")
            async with self._round_over:
                self._ended = self._begun
                self._round_over.notify_all()
            pause_s = max(PERIOD_S, self._clock() - began)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), pause_s)

    def _round(self, standings: Mapping[str, Standing], wanted: set[str]) -> Sight:
        """In a thread. What a person waits for comes first: wanted runs, live ones, then the newest."""
        newest_first = list(standings)[::-1]
        order = sorted(newest_first, key=lambda run: (run not in wanted, not standings[run].live))
        for run in self._seen.keys() - standings.keys():
            del self._seen[run]
        problems: dict[str, str] = {}
        for run in order:
            try:
                self._look_at(run, standings[run], run in wanted)
            except (JournalError, UsageError, OSError) as why:
                self._seen.pop(run, None)
                problems[run] = f"{type(why).__name__}: {why}"
            if not self._sight.whole:
                self._sight = self._summed_up(standings, problems, whole=False)
        return self._summed_up(standings, problems, whole=True)

    def _look_at(self, run: str, standing: Standing, wanted: bool) -> None:
        journal = self._service.runs_dir / run / JOURNAL
        inode = journal.stat().st_ino
        seen = self._seen.get(run)
        if seen is None or seen.inode != inode:  # another run may have got a deleted one's name
            seen = self._seen[run] = _Seen(run, journal, inode)
        seen.look(standing, wanted)

    def _summed_up(self, runs: Iterable[str], problems: Mapping[str, str], whole: bool) -> Sight:
        there = {run: self._seen[run] for run in runs if run in self._seen}
        return Sight(
            {run: seen.status for run, seen in there.items()},
            {run: seen.picture for run, seen in there.items() if seen.picture},
            problems,
            whole,
        )


class _Seen:
    """One run as far as it has been read. Of one at rest that nobody looks at, only the status is kept."""

    status: Status

    def __init__(self, run: str, journal: Path, inode: int) -> None:
        self.inode = inode
        self.picture: Picture | None = None
        self._run = run
        self._journal = journal
        self._length = -1
        self._source = _Source(journal)
        self._view: View | None = None
        self._drawn = 0
        self._draw_next = 0.0
        self._reason: str | None = None

    def look(self, standing: Standing, wanted: bool) -> None:
        length = self._journal.stat().st_size
        if standing.live or wanted or length != self._length:
            self._length = length
            self._refresh(standing)
        else:
            message = self._reason or "; ".join(standing.problems) or None
            self.status = replace(
                self.status,
                workers=standing.workers,
                unused_workers=standing.unused_workers,
                unused_why=list(standing.unused_why),
                message=message,
            )
        if wanted:
            self._draw()
        else:
            self.picture, self._drawn, self._draw_next = None, 0, 0.0
            if not standing.live:
                self._view = None

    def _refresh(self, standing: Standing) -> None:
        if self._view is None:
            self._source = _Source(self._journal)
            self._view = View(self._run, self._source)
        self._source.standing = standing
        self.status = self._view.refresh()
        self._reason = self._view.history.reason

    def _draw(self) -> None:
        """Not more often than that a tenth of the time goes into it."""
        began = time.monotonic()
        if self._view is None or self._drawn == self._source.count or began < self._draw_next:
            return
        self._drawn = self._source.count
        new = picture_of(self._view.history)
        self.picture = _with_what_is_equal(new, self.picture) if self.picture else new
        self._draw_next = began + 10 * (time.monotonic() - began)


class _Source:
    """A run's records, from the journal's file."""

    standing: Standing

    def __init__(self, journal: Path) -> None:
        self.count = 0
        self._tail = Tail(journal)

    def read(self, since: int) -> Reading:
        standing = self.standing
        records = self._tail.read(MANY)
        if not records and since == 0:
            raise JournalError(f"{self._tail.path} is empty: the run was never begun")
        self.count = since + len(records)
        return Reading(records, **vars(standing))


def _with_what_is_equal(new: Picture, old: Picture) -> Picture:
    """The new picture, with the old one's own columns where they are equal: who has those needs nothing."""
    columns = {
        name: old.columns[name] if _equal(old.columns[name], found) else found
        for name, found in new.columns.items()
    }
    return replace(new, columns=columns)


def _equal(one: Columns, other: Columns) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name], equal_nan=True)
        if isinstance(one[name], np.ndarray)
        else one[name] == other[name]
        for name in one
    )
