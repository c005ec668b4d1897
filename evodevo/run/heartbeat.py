"""Heartbeat of a run's controller, for file systems whose locks are not visible on every host.

The controller writes `controller.json` into the run's directory (who and where it is, and whether it holds
the lock) and updates the file's time every `BEAT_S` seconds, from a separate thread. Setting a time needs no
space, so a full disk does not stop it. A controller that finds another one's file there has been superseded
and stops its heartbeat.

A reader does not compare that time with any clock. Which clock sets it (a server's, as on NFS, or that of the
controller's machine, as on Lustre) depends on the file system, so a comparison with the reader's clock, or
with the time of a file that the reader has just written, would be only as good as the agreement of two
machines' clocks. Instead, a reader watches: the controller is alive if the time changes, to any value, within
`SILENT_S` seconds by the reader's own clock. That takes about one beat for a live controller and `SILENT_S`
for one that was killed; observations are remembered, so a reader that keeps looking does not wait again. Only
a time that is more than a day old by the reader's clock is not watched.

    live     beat ... beat ... beat    the reader waits for the next one
    killed   beat                      SILENT_S pass: interrupted
    stalled  beat ........... beat     interrupted in between; another controller may take over the run, and
                                       fencing stops this one (see `run.journal`)

The file is opened for every look: NFS then asks the server, but may answer a mere `stat` from its cache.
"""

import contextlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from evodevo.run import files

logger = logging.getLogger("evodevo.heartbeat")

FILE = "controller.json"
BEAT_S = 2.0
SILENT_S = 10.0
"""A heartbeat that is not renewed for this long, five beats, has stopped."""
LOOK_S = 0.2
FORGOTTEN_S = 86_400.0
MOST_REMEMBERED = 1000


@dataclass(frozen=True)
class Sign:
    """What a controller says about itself. `locks`: it holds the run's lock, as there are locks."""

    id: str
    host: str
    pid: int
    locks: bool

    @property
    def is_here(self) -> bool:
        """Whether the controller ran on this machine, where a free lock shows that it is dead."""
        return self.host == socket.gethostname()


@dataclass
class _Seen:
    """What this process last saw of a heartbeat, by its own monotonic clock."""

    stamp: tuple[int, int]
    beat_at: float | None
    """When a change was seen; None if there was no change while it was watched."""
    looked_at: float


_seen: dict[Path, _Seen] = {}


class Heartbeat:
    """This process' heartbeat in a run's directory. `begin` raises `OSError` if it cannot be written."""

    def __init__(self, directory: Path, locks: bool) -> None:
        self.sign = Sign(uuid.uuid4().hex, socket.gethostname(), os.getpid(), locks)
        self._path = directory / FILE
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="evodevo-heartbeat", daemon=True)

    def begin(self) -> None:
        files.replace(self._path, json.dumps(asdict(self.sign)).encode() + b"\n")
        self._thread.start()

    def end(self) -> None:
        """Stop, and remove the file so that no reader needs to watch a run that nobody carries out."""
        self._over.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            if self.is_own():
                self._path.unlink()

    def is_own(self) -> bool:
        """Return False if another controller has taken over or the file is gone. May raise `OSError`."""
        sign = sign_in(self._path.parent)
        return sign is not None and sign.id == self.sign.id

    def beat(self) -> bool:
        """Renew the heartbeat; return False if it is not this controller's any more. May raise `OSError`."""
        if not self.is_own():
            return False
        os.utime(self._path)
        return True

    def _run(self) -> None:
        failed = False
        while not self._over.wait(BEAT_S):
            try:
                if not self.beat():
                    logger.warning("%s no longer belongs to this controller", self._path)
                    return
                failed = False
            except OSError as why:
                if not failed:
                    logger.warning("%s could not be renewed: %s", self._path, why)
                failed = True


def sign_in(directory: Path) -> Sign | None:
    """Return what the last controller left in a run's directory; None if it ended in order."""
    try:
        text = (directory / FILE).read_text()
    except FileNotFoundError:
        return None
    try:
        return Sign(**json.loads(text))
    except (ValueError, TypeError):  # truncated by a power cut
        return Sign("", "an unknown host", 0, False)


def goes_on(directory: Path) -> bool:
    """Return whether a directory's heartbeat continues, watching for up to `SILENT_S` if that is unknown."""
    stamp, seen, now = _stamp(directory), _seen.get(directory), time.monotonic()
    if stamp is None or time.time() - stamp[1] / 1e9 > FORGOTTEN_S:
        _seen.pop(directory, None)
        return False
    if seen is None or (seen.stamp != stamp and now - seen.looked_at > SILENT_S):
        return _watch(directory, stamp)
    if seen.stamp != stamp:
        seen.stamp, seen.beat_at = stamp, now
    seen.looked_at = now
    return seen.beat_at is not None and now - seen.beat_at <= SILENT_S


def _watch(directory: Path, first: tuple[int, int]) -> bool:
    """Wait for the next beat, up to `SILENT_S`; return whether it came."""
    until, stamp = time.monotonic() + SILENT_S, first
    while stamp == first and time.monotonic() < until:
        time.sleep(LOOK_S)
        found = _stamp(directory)
        if found is None:
            return False
        stamp = found
    now = time.monotonic()
    _seen[directory] = _Seen(stamp, None if stamp == first else now, now)
    if len(_seen) > MOST_REMEMBERED:
        del _seen[next(iter(_seen))]
    return stamp != first


def _stamp(directory: Path) -> tuple[int, int] | None:
    """Return the inode of the heartbeat's file and its time in ns; None if there is no file."""
    try:
        descriptor = os.open(directory / FILE, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        state = os.fstat(descriptor)
        return state.st_ino, state.st_mtime_ns
    finally:
        os.close(descriptor)
