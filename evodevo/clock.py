"""A clock that is set back must not hold up what Dask sends.

Dask's `BatchedSend` sends a message when the time of day has reached a deadline some milliseconds ahead. If
the clock is set back by an hour meanwhile, that is an hour ahead, and nothing is sent until then:

    12:00:00.000  a message is sent; the next one not before 12:00:00.005
    11:00:00.001  the clock was set back; the next message waits until 12:00:00.005
"""

import time

from distributed import batched
from tornado.ioloop import IOLoop

_AHEAD_S = time.time() - time.monotonic()


def keep_steady(loop: IOLoop) -> None:
    """Let Dask's messages, and the loop whose timers they use, go by a clock that nobody sets."""
    batched.time = _steady  # type: ignore[attr-defined]
    loop.time = _steady  # type: ignore[method-assign]


def _steady() -> float:
    """The time of day as it was when this process began, and what has passed since."""
    return time.monotonic() + _AHEAD_S
