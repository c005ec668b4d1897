"""HTTP routes beside the page: `evodevo/runs.json` lists the runs, `evodevo/cancel` stops one.

If a page token is configured, every request needs it: in the header `X-EvoDevo-Token`, in the form field
`token`, or as the cookie that `evodevo/enter` sets. Errors are a line of plain text: 400 malformed, 403 wrong
token, 429 too many wrong tokens.
"""

import json
from typing import Any

from tornado.web import RequestHandler

from evodevo.errors import UsageError
from evodevo.service.gate import COOKIE, Gate
from evodevo.service.plugin import Service
from evodevo.service.views import Views


def routes(service: Service, views: Views, gate: Gate) -> list[tuple[str, type, dict[str, Any]]]:
    """Return paths and handlers. Without a page token, runs cannot be cancelled over HTTP."""
    about = {"service": service, "views": views, "gate": gate}
    handlers: dict[str, type] = {"runs.json": Runs}
    if not gate.is_open:
        handlers |= {"enter": Enter, "cancel": Cancel}
    return [(f"evodevo/{path}", handler, about) for path, handler in handlers.items()]


class Guarded(RequestHandler):
    """A handler that answers only requests that the gate admits."""

    SUPPORTED_METHODS = ("GET", "POST")

    def initialize(self, service: Service, views: Views, gate: Gate) -> None:
        self._service = service
        self._views = views
        self._gate = gate

    def prepare(self) -> None:
        if self._gate.is_open:
            return
        given = self.request.headers.get("X-EvoDevo-Token") or self.get_body_argument("token", "")
        if not given and self._gate.admits(self.get_cookie(COOKIE)):
            return
        match self._gate.hear(given, f"{self.request.remote_ip}") if given else "wrong":
            case "wrong":
                self.answer(403, "wrong token")
            case "too many":
                self.answer(429, "too many wrong tokens; wait a minute")

    def write_error(self, status_code: int, **_: Any) -> None:
        """Answer requests that Tornado refuses: a malformed body or argument, an unsupported method."""
        self.answer(status_code, f"{status_code} {self._reason}")

    def answer(self, status: int, line: str) -> None:
        """Finish with a line of text."""
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{line}\n")


class Runs(Guarded):
    """GET: all runs, as in `evodevo status --json`."""

    async def get(self) -> None:
        sight = await self._views.fresh()
        self.set_header("Content-Type", "application/json")
        self.write(json.dumps([status.to_json() for status in sight.statuses.values()], indent=2))


class Enter(Guarded):
    """POST with the token: set a cookie that neither scripts nor other sites can use."""

    async def post(self) -> None:
        secure = self.request.protocol == "https"
        self.set_cookie(COOKIE, self._gate.cookie, path="/", httponly=True, samesite="Strict", secure=secure)
        self.answer(200, "token accepted")


class Cancel(Guarded):
    """POST ?run=NAME: 200 cancelled, 404 no such run, 409 not running."""

    async def post(self) -> None:
        run = self.get_query_argument("run", "")
        if not run:
            self.answer(400, "the run is missing: POST to evodevo/cancel?run=NAME")
            return
        if run not in await self._service.evodevo_runs():
            self.answer(404, f"run {run!r} not found")
            return
        try:
            await self._service.evodevo_cancel(run)
        except UsageError as why:
            self.answer(409, str(why))
        else:
            self.answer(200, f'{run} is cancelled; resume it with "evodevo resume {run}"')
