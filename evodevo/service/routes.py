"""The service over HTTP, beside the page: `evodevo/runs.json` to read, `evodevo/cancel` to stop a run."""

import hmac
import json
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from tornado.web import RequestHandler

from evodevo.errors import UsageError
from evodevo.service.plugin import Service
from evodevo.service.views import Views

logger = logging.getLogger("evodevo.page")

MOST_WRONG, WITHIN_S = 10, 60.0


def routes(service: Service, views: Views, token: str | None) -> list[tuple[str, type, dict[str, Any]]]:
    """Paths and handlers. Nothing can be cancelled where no token is configured."""
    found: list[tuple[str, type, dict[str, Any]]] = [("evodevo/runs.json", Runs, {"views": views})]
    if token:
        found.append(("evodevo/cancel", Cancel, {"service": service, "token": token, "wrong": WrongTokens()}))
    return found


class WrongTokens:
    """For those who guess: no more than `MOST_WRONG` tokens are looked at within `WITHIN_S`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._times: deque[float] = deque(maxlen=MOST_WRONG)

    def note(self, whence: str) -> None:
        """A wrong token came."""
        logger.warning("somebody at %s gave a wrong page token", whence)
        self._times.append(self._clock())

    def too_many(self) -> bool:
        return len(self._times) == MOST_WRONG and self._clock() - self._times[0] < WITHIN_S


class Runs(RequestHandler):
    """GET: all runs, as `evodevo status --json` has them."""

    def initialize(self, views: Views) -> None:
        self._views = views

    async def get(self) -> None:
        sight = await self._views.fresh()
        self.set_header("Content-Type", "application/json")
        self.write(json.dumps([status.to_json() for status in sight.statuses.values()], indent=2))


class Cancel(RequestHandler):
    """POST ?run=NAME, with the token in the header `X-EvoDevo-Token` or in the form field `token`.

    Every answer is a line of plain text: 200 it is cancelled; 400 malformed; 403 not the token; 404 no such
    run; 409 it is not running; 429 there were too many wrong tokens.
    """

    def initialize(self, service: Service, token: str, wrong: "WrongTokens") -> None:
        self._service = service
        self._token = token
        self._wrong = wrong

    async def post(self) -> None:
        given = self.request.headers.get("X-EvoDevo-Token") or self.get_body_argument("token", "")
        if self._wrong.too_many():
            self._answer(429, "too many wrong tokens; wait a minute")
            return
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            self._wrong.note(f"{self.request.remote_ip}")
            self._answer(403, "this is not the token")
            return
        run = self.get_query_argument("run", "")
        if not run:
            self._answer(400, "which run? POST to evodevo/cancel?run=NAME")
            return
        if run not in await self._service.evodevo_runs():
            self._answer(404, f"there is no run {run!r}")
            return
        try:
            await self._service.evodevo_cancel(run)
        except UsageError as why:
            self._answer(409, str(why))
        else:
            self._answer(200, f'{run} is cancelled; "evodevo resume {run}" carries it on')

    def write_error(self, status_code: int, **_: Any) -> None:
        """What Tornado refuses by itself: a body or an argument that is malformed, another method."""
        self._answer(status_code, f"{status_code} {self._reason}")

    def _answer(self, status: int, line: str) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{line}\n")
