"""Control access to the runs on the dashboard: open to everyone, or restricted by a page token."""

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
"""Rate limit against guessing: after this many wrong tokens within this time, all are refused."""

Verdict = Literal["right", "wrong", "too many"]


class Gate:
    """A check of the page token; without one (None or empty), access is open, as to Dask's own pages."""

    def __init__(self, token: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = (token or "").strip().encode(errors="surrogateescape")  # an environment has any bytes
        self._clock = clock
        self._wrong: deque[float] = deque(maxlen=MOST_WRONG)

    @property
    def is_open(self) -> bool:
        return not self._token

    @property
    def cookie(self) -> str:
        """The cookie of an admitted browser; it does not reveal the token."""
        return hmac.new(self._token, b"evodevo page", hashlib.sha256).hexdigest()

    def admits(self, cookie: str | None) -> bool:
        """Return whether a browser with this cookie has access."""
        return self.is_open or hmac.compare_digest((cookie or "").encode(), self.cookie.encode())

    def hear(self, token: str, address: str) -> Verdict:
        """Check a token that was sent from an address."""
        if len(self._wrong) == MOST_WRONG and self._clock() - self._wrong[0] < WITHIN_S:
            return "too many"
        if hmac.compare_digest(token.encode(), self._token):
            return "right"
        logger.warning("wrong page token from %s", address)
        self._wrong.append(self._clock())
        return "wrong"
