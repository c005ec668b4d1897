"""Follow a run's journal and tell one tracker what it says: `python -m evodevo.trackers DIRECTORY NAME`.

The scheduler starts this process when it carries a run out, and holds the other end of its standard input,
which closes when the run is over there, or with the scheduler. Then the tracker tells the rest and ends.

The journal is read from its beginning each time, and no cursor is kept: what was told before is for the
tracker to know. After a failure, such as a server that does not answer, all of this begins again after a
pause.
What is wrong is in the run's directory as long as it is wrong, in `trackers/NAME.problem`.
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
"""Between two looks at the journal."""
CANNOT = 2
"""Exit status of a tracker that will not work, however often it is started."""

Wait = Callable[[float], bool]
"""Waits for so many seconds, or until the run is over; then it returns True, and does not wait again."""


class Gone(Exception):
    """The run's directory was removed, or another run is in its place."""


def follow(
    directory: Path, kind: type[Tracker], options: Any, wait: Wait, note: Callable[[str], None]
) -> bool:
    """Tell a tracker about a run until that is over; return whether the tracker was told everything.

    `note` gets what is wrong, and an empty text when that is mended.
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
    """Tell everything once more, now that the run is over."""
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
    """Yield after each time that a new tracker was told what is new: whether the run is over.

    Ends when the run is over, or when another controller takes the run over, which may try failed members
    again: what was told of those is no longer true, and a new session says so.
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
    """Take in what is new in a journal; return whether there was anything."""
    found = False
    with without_gc():
        while records := tail.read(MANY):
            found = True
            for record in records:
                history.apply(record)
    return found


def _identity(directory: Path) -> tuple[int, int]:
    """Return what tells a run's journal from one of the same name. Raises `Gone`."""
    try:
        found = os.stat(directory / JOURNAL)
    except FileNotFoundError:
        raise Gone from None
    return found.st_dev, found.st_ino


@contextlib.contextmanager
def alone(directory: Path, name: str, wait: Wait) -> Iterator[bool]:
    """Hold the tracker's lock; yield False if another process holds it when the wait is over.

    Without locks in the file system nobody is kept out.
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
    """Keeps what is wrong with a tracker in a file, which is there as long as it is wrong."""

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
    """Return a `Wait` for the end of an input that nobody writes to."""

    def wait(seconds: float) -> bool:
        ready, _, _ = select.select([file], [], [], seconds)
        return bool(ready) and not os.read(file, 1)

    return wait


def main(directory: Path, name: str) -> int:
    """Follow a run as its config says until standard input closes; return the exit status."""
    os.nice(10)  # the training beside it goes first
    wait = until_closed(sys.stdin.fileno())
    try:
        options = configured(directory)[name]
        with alone(directory, name, wait) as is_alone:
            if not is_alone:
                return 0  # who has the lock tells what there is
            note = Notes(file_of(directory, name, "problem"))
            if lacking := trackers.missing({name: options}) or trackers.problems({name: options}):
                note("; ".join(lacking))
                return CANNOT
            kind = trackers.find(name)
            return 0 if follow(directory, kind, kind.Options.model_validate(options), wait, note) else 1
    except Gone:
        return 0
