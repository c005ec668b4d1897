"""Follow a run's journal and feed it to one tracker: `python -m evodevo.trackers DIRECTORY NAME`.

The scheduler starts this process when it carries out a run, and holds the other end of its standard input,
which closes when the run is over or the scheduler ends. Then the tracker reports the rest and exits.

The journal is read from its beginning each time, without a cursor: the tracker must cope with repeated data.
After a failure, such as a server that does not answer, everything starts again after a pause. While a problem
lasts, it is described in `trackers/NAME.problem` in the run's directory.
"""

import contextlib
import fcntl
import os
import select
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from evodevo import trackers
from evodevo.run import files
from evodevo.run.collector import without_gc
from evodevo.run.history import MANY, History
from evodevo.run.journal import JOURNAL, Tail
from evodevo.run.pauses import pause_s
from evodevo.run.tracking import configured, file_of
from evodevo.trackers.base import Tracker

INTERVAL_S = 1.0
"""Interval between reads of the journal."""
CANNOT = 2
"""Exit status of a tracker that cannot work, so that it is not restarted."""

Wait = Callable[[float], bool]
"""A function that waits for a number of seconds, or until the run is over; it returns whether it is over."""


class Gone(Exception):
    """The run's directory was removed or replaced by another run's."""


def follow(
    directory: Path, kind: type[Tracker], options: Any, wait: Wait, note: Callable[[str], None]
) -> bool:
    """Feed a run to a tracker until the run is over; return whether the tracker received everything.

    `note` is called with each problem, and with an empty text when it is solved.
    """
    failures, over, identity = 0, False, _identity(directory)
    while True:
        try:
            for is_over in _session(directory, kind, options, wait, identity):
                failures, over = 0, is_over
                note("")
            if over:
                return True
        except Gone:
            return True
        except Exception as why:
            traceback.print_exc()
            failures += 1
            note(" ".join(f"{type(why).__name__}: {why}".split()))
            if over or (over := wait(pause_s(failures))):
                return _last_try(directory, kind, options, identity, note)


def _last_try(
    directory: Path, kind: type[Tracker], options: Any, identity: object, note: Callable[[str], None]
) -> bool:
    """Report everything once more after the run is over; return whether that succeeded."""
    try:
        for _ in _session(directory, kind, options, lambda _: True, identity):
            pass
    except Gone:
        return True
    except Exception as why:
        traceback.print_exc()
        note(" ".join(f"{type(why).__name__}: {why}".split()))
        return False
    note("")
    return True


def _session(
    directory: Path, kind: type[Tracker], options: Any, wait: Wait, identity: object
) -> Iterator[bool]:
    """Feed a new tracker, and yield whether the run is over after each update.

    The session ends when the run is over, or when another controller takes over, which may try failed members
    again: what was reported about them is outdated, and a new session corrects it.
    """
    history, tail, over, controller = History(), Tail(directory / JOURNAL), False, None
    tracker = kind(directory, options)
    with contextlib.closing(tracker):
        while True:
            if _identity(directory) != identity:
                raise Gone
            if _read(history, tail):
                if controller is not None and history.controller is not controller:
                    yield False
                    return
                controller = history.controller or None
                tracker.update(history)
            yield over
            if over:
                return
            over = wait(INTERVAL_S)


def _read(history: History, tail: Tail) -> bool:
    """Apply the new records of a journal to the history; return whether there were any."""
    found = False
    with without_gc():
        while records := tail.read(MANY):
            found = True
            for record in records:
                history.apply(record)
    return found


def _identity(directory: Path) -> tuple[int, int]:
    """Return an identity that tells a journal from a later one of the same name. Raises `Gone`."""
    try:
        found = os.stat(directory / JOURNAL)
    except FileNotFoundError:
        raise Gone from None
    return found.st_dev, found.st_ino


@contextlib.contextmanager
def alone(directory: Path, name: str, wait: Wait) -> Iterator[bool]:
    """Acquire the tracker's lock; yield False if another process still holds it when the run is over.

    If the file system has no locks, the lock always counts as acquired.
    """
    with open(file_of(directory, name, "lock"), "wb") as file:
        over = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if over:
                    yield False
                    return
                over = wait(INTERVAL_S)
                continue
            except OSError as why:
                if why.errno not in files.NO_LOCKS:
                    raise
            yield True
            return


class Notes:
    """A file with a tracker's current problem, which exists only while there is one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.text = path.read_text() if path.exists() else ""

    def __call__(self, text: str) -> None:
        if text == self.text:
            return
        if text:
            files.replace(self._path, text.encode(errors="replace"))
        else:
            self._path.unlink(missing_ok=True)
        self.text = text


def until_closed(file: int) -> Wait:
    """Return a `Wait` for the end of an input to which nothing is written."""

    def wait(seconds: float) -> bool:
        ready, _, _ = select.select([file], [], [], seconds)
        return bool(ready) and not os.read(file, 1)

    return wait


def main(directory: Path, name: str) -> int:
    """Follow a run with a tracker of its config until standard input closes; return the exit status."""
    os.nice(10)  # training has priority
    wait = until_closed(sys.stdin.fileno())
    try:
        options = configured(directory)[name]
        with alone(directory, name, wait) as is_alone:
            if not is_alone:
                return 0  # the holder of the lock reports everything
            note = Notes(file_of(directory, name, "problem"))
            if lacking := trackers.missing({name: options}) or trackers.problems({name: options}):
                note("; ".join(lacking))
                return CANNOT
            kind = trackers.find(name)
            return 0 if follow(directory, kind, kind.Options.model_validate(options), wait, note) else 1
    except Gone:
        return 0
