"""The service over HTTP, beside the page: `evodevo/runs.json` to read, `evodevo/cancel` to stop a run."""

import hmac
import json
from typing import Any

from tornado.web import RequestHandler

from evodevo.errors import UsageError
from evodevo.service.plugin import Service
from evodevo.service.views import Views


def routes(service: Service, views: Views, token: str | None) -> list[tuple[str, type, dict[str, Any]]]:
    """Paths and handlers. Nothing can be cancelled where no token is configured."""
    found: list[tuple[str, type, dict[str, Any]]] = [("evodevo/runs.json", Runs, {"views": views})]
    if token:
        found.append(("evodevo/cancel", Cancel, {"service": service, "token": token}))
    return found


class Runs(RequestHandler):
    """GET: all runs, as `evodevo status --json` has them."""

    def initialize(self, views: Views) -> None:
        self._views = views

    async def get(self) -> None:
        sight = await self._views.fresh()
        self.set_header("Content-Type", "application/json")
        self.write(json.dumps([status.to_json() for status in sight.statuses.values()], indent=2))


class Cancel(RequestHandler):
    """POST ?run=NAME, with the token in the header `X-EvoDevo-Token` or in the form field `token`."""

    def initialize(self, service: Service, token: str) -> None:
        self._service = service
        self._token = token

    async def post(self) -> None:
        given = self.request.headers.get("X-EvoDevo-Token") or self.get_body_argument("token", "")
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            self._answer(403, {"error": "this is not the token"})
            return
        run = self.get_query_argument("run")
        try:
            await self._service.evodevo_cancel(run)
        except UsageError as why:
            self._answer(409, {"error": str(why)})
        else:
            self._answer(200, {"cancelled": run})

    def _answer(self, status: int, told: dict[str, str]) -> None:
        self.set_status(status)
        self.write(told)
