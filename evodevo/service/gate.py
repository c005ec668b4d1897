"""Who sees what the dashboard shows of runs: everybody, or with a page token who knows it."""

import hashlib
import hmac
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

logger = logging.getLogger("evodevo.page")

COOKIE = "evodevo-page"
MOST_WRONG, WITHIN_S = 10, 60.0
"""For those who guess: so many tokens, from wherever they come, are looked at within so many seconds."""

Verdict = Literal["right", "wrong", "too many"]


class Gate:
    """`token` None or empty: open to all who reach the dashboard, as Dask's own pages are."""

    def __init__(self, token: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = (token or "").encode()
        self._clock = clock
        self._wrong: deque[float] = deque(maxlen=MOST_WRONG)

    @property
    def is_open(self) -> bool:
        return not self._token

    @property
    def cookie(self) -> str:
        """What a browser has that was given the token; it says nothing of the token itself."""
        return hmac.new(self._token, b"evodevo page", hashlib.sha256).hexdigest()

    def admits(self, cookie: str | None) -> bool:
        """Whether somebody with this cookie may come in."""
        return self.is_open or hmac.compare_digest((cookie or "").encode(), self.cookie.encode())

    def hear(self, token: str, whence: str) -> Verdict:
        """Judge a token that somebody at the address `whence` gives."""
        if len(self._wrong) == MOST_WRONG and self._clock() - self._wrong[0] < WITHIN_S:
            return "too many"
        if hmac.compare_digest(token.encode(), self._token):
            return "right"
        logger.warning("somebody at %s gave a wrong page token", whence)
        self._wrong.append(self._clock())
        return "wrong"
