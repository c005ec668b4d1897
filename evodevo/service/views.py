"""The runs of a service as shown on its page, in its metrics and in its JSON, read once for all viewers.

While there are viewers, rounds follow each other. In each, the event loop copies what it knows; then a thread
reads the new records of the journals, folds them into separate histories (the controllers' own change
meanwhile), and draws the pictures that were asked for. Only `fresh` waits for a round.
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
"""Rounds stop, and histories are dropped, this long after the last look; longer than the usual scrape
interval of Prometheus."""


@dataclass(frozen=True)
class Sight:
    """The state of all runs after a round. `whole`: every run has been read at least once.

    `problems`: run -> reason that its journal is unreadable. `unused`: workers that get no work from any run.
    """

    statuses: Mapping[str, Status] = field(default_factory=dict)
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    whole: bool = False
    unused: Unused = field(default_factory=lambda: Unused(0, ()))


class Views:
    """All runs of a service, seen from inside the scheduler. Call its methods on the event loop only."""

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
        """Return the latest sight without waiting, and keep it up to date, with a picture of `run`."""
        self._looked_at = self._clock()
        if run is not None:
            if run not in self._sight.pictures:
                self._due.set()
            self._wanted[run] = self._looked_at
        if not self._closed and (self._rounds is None or self._rounds.done()):
            self._rounds = asyncio.create_task(self._go_round())
        return self._sight

    async def fresh(self) -> Sight:
        """Wait for a round that starts now, and return its sight; after `close`, the last one."""
        wanted = self._begun + 1
        self.look()
        self._due.set()
        async with self._round_over:
            await self._round_over.wait_for(lambda: self._closed or self._ended >= wanted)
        return self._sight

    async def close(self) -> None:
        """Stop the rounds; pages that still look get the last sight."""
        self._closed = True
        if self._rounds:
            self._rounds.cancel()
            await asyncio.gather(self._rounds, return_exceptions=True)
        async with self._round_over:
            self._round_over.notify_all()

    async def _go_round(self) -> None:
        with contextlib.suppress(UsageError):  # `standings` report it, too
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
        for seen in self._seen.values():
            seen.rest()

    def _round(self, standings: Mapping[str, Standing], wanted: set[str]) -> Sight:
        """Read the journals, in a thread: wanted runs first, then live ones, then the newest."""
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
        if seen is None or seen.inode != inode:  # a new run may have a deleted one's name
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
    """A run as far as it has been read; only the status is kept if it is at rest and not looked at."""

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
            self._forget_picture()
            if not standing.live:
                self._view = None

    def rest(self) -> None:
        """Drop everything but the status, because nobody looks; the next look reads the journal again."""
        self._view = None
        self._forget_picture()

    def _forget_picture(self) -> None:
        self.picture, self._drawn, self._draw_next = None, 0, 0.0

    def _refresh(self, standing: Standing) -> None:
        if self._view is None:
            self._source = _Source(self._journal)
            self._view = View(self._run, self._source)
        self._source.standing = standing
        self.status = self._view.refresh()
        self._reason = self._view.history.reason

    def _draw(self) -> None:
        """Draw the picture if there are new records, spending at most a tenth of the time on it."""
        began = time.monotonic()
        if self._view is None or self._drawn == self._source.count or began < self._draw_next:
            return
        self._drawn = self._source.count
        new = picture_of(self._view.history)
        self.picture = _with_what_is_equal(new, self.picture) if self.picture else new
        self._draw_next = began + 10 * (time.monotonic() - began)


class _Source:
    """A run's records, read from its journal file."""

    standing: Standing

    def __init__(self, journal: Path) -> None:
        self.count = 0
        self._tail = Tail(journal)

    def read(self, since: int) -> Reading:
        standing = self.standing
        records = self._tail.read(MANY)
        if not records and since == 0:
            raise JournalError(f"{self._tail.path} is empty: the run never started")
        self.count = since + len(records)
        return Reading(records, **vars(standing))


def _with_what_is_equal(new: Picture, old: Picture) -> Picture:
    """Return the new picture with the old one's objects for equal columns, which need not be sent again."""
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
