"""Keep Dask's messages flowing when the system clock is set back.

Dask's `BatchedSend` sends a message once the time of day reaches a deadline some milliseconds ahead. If the
clock is set back by an hour in between, the deadline is an hour away, and nothing is sent until then:

    12:00:00.000  a message is sent; the next one not before 12:00:00.005
    11:00:00.001  the clock was set back; the next message waits until 12:00:00.005
"""

import time

from distributed import batched
from tornado.ioloop import IOLoop

_AHEAD_S = time.time() - time.monotonic()


def keep_steady(loop: IOLoop) -> None:
    """Make Dask's messages, and the event loop that times them, use a monotonic clock."""
    batched.time = _steady  # type: ignore[attr-defined]
    loop.time = _steady  # type: ignore[method-assign]


def _steady() -> float:
    """Return the time of day at which this process began, plus the time elapsed since."""
    return time.monotonic() + _AHEAD_S
