"""The memory of a device that several workers share, and a way for one of them to have all of it for a while.

A worker that carries out a unit holds a lock on a file of the device, which it shares with the others. One
whose member did not fit gives that up and asks for the lock alone; meanwhile it holds another file, the door,
which those have to pass that are about to begin a unit. So it waits for what is at work and for nothing that
comes after it. The kernel ends the locks with the process.
"""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

POLL_S = 0.1
TELL_S = 1.0
"""Between two times that it is told that somebody still waits."""


class Room:
    """A device's memory, as one of its workers sees it. `stem`: begins the names of the two files."""

    def __init__(self, stem: Path) -> None:
        self.alone = False
        """Whether this worker has it to itself."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._door = os.open(f"{stem}.door.lock", flags, 0o644)
        self._room = os.open(f"{stem}.room.lock", flags, 0o644)

    def enter(self, tell: Callable[[], None]) -> None:
        """Begin to use the device together with others; waits while one of them wants it alone."""
        _wait(self._door, fcntl.LOCK_SH, tell)
        _wait(self._room, fcntl.LOCK_SH, tell)
        fcntl.flock(self._door, fcntl.LOCK_UN)

    def have_alone(self, tell: Callable[[], None], give_up: Callable[[], bool]) -> bool:
        """Wait until no other worker uses the device, and keep it until `share`; False if it was given up."""
        fcntl.flock(self._room, fcntl.LOCK_UN)
        self.alone = _wait(self._door, fcntl.LOCK_EX, tell, give_up)
        self.alone = self.alone and _wait(self._room, fcntl.LOCK_EX, tell, give_up)
        if not self.alone:
            self.leave()
        return self.alone

    def share(self) -> None:
        """Let others in again."""
        self.alone = False
        fcntl.flock(self._room, fcntl.LOCK_SH)
        fcntl.flock(self._door, fcntl.LOCK_UN)

    def leave(self) -> None:
        """Use the device no more."""
        self.alone = False
        fcntl.flock(self._room, fcntl.LOCK_UN)
        fcntl.flock(self._door, fcntl.LOCK_UN)


def _never() -> bool:
    return False


def _wait(descriptor: int, how: int, tell: Callable[[], None], give_up: Callable[[], bool] = _never) -> bool:
    """Take a lock; call `tell` now and then while others have it. False if `give_up` says so before."""
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
