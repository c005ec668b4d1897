"""Locks on the memory of a device that several workers share, by which one of them can have all of it.

A worker holds a shared lock on a file of the device, the room, while it carries out a unit. If a member does
not fit, its worker releases that lock and requests it exclusively, while holding an exclusive lock on another
file, the door, which every worker must pass before it begins a unit. So it waits only for units in progress,
not for later ones. The kernel releases the locks when the process ends.
"""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

POLL_S = 0.1
TELL_S = 1.0
"""Interval of reporting that a worker is still waiting."""


class Room:
    """A device's memory, from the view of one worker; `stem` is the common prefix of the two files."""

    def __init__(self, stem: Path) -> None:
        self.alone = False
        """Whether this worker has the device to itself."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._door = os.open(f"{stem}.door.lock", flags, 0o644)
        self._room = os.open(f"{stem}.room.lock", flags, 0o644)

    def enter(self, tell: Callable[[], None]) -> None:
        """Begin to use the device together with others; wait while one of them wants it alone."""
        _wait(self._door, fcntl.LOCK_SH, tell)
        _wait(self._room, fcntl.LOCK_SH, tell)
        fcntl.flock(self._door, fcntl.LOCK_UN)

    def have_alone(self, tell: Callable[[], None], give_up: Callable[[], bool]) -> bool:
        """Acquire the device exclusively, until `share`; return False if `give_up` ended the wait."""
        fcntl.flock(self._room, fcntl.LOCK_UN)
        self.alone = _wait(self._door, fcntl.LOCK_EX, tell, give_up)
        self.alone = self.alone and _wait(self._room, fcntl.LOCK_EX, tell, give_up)
        if not self.alone:
            self.leave()
        return self.alone

    def share(self) -> None:
        """Return from exclusive to shared use."""
        self.alone = False
        fcntl.flock(self._room, fcntl.LOCK_SH)
        fcntl.flock(self._door, fcntl.LOCK_UN)

    def leave(self) -> None:
        """Stop using the device."""
        self.alone = False
        fcntl.flock(self._room, fcntl.LOCK_UN)
        fcntl.flock(self._door, fcntl.LOCK_UN)


def _never() -> bool:
    return False


def _wait(descriptor: int, how: int, tell: Callable[[], None], give_up: Callable[[], bool] = _never) -> bool:
    """Acquire a lock, calling `tell` while others hold it; return False if `give_up` ended the wait."""
    told_at = time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if give_up():
                return False
        else:
            return True
        if time.monotonic() - told_at >= TELL_S:
            told_at = time.monotonic()
            tell()
        time.sleep(POLL_S)
