"""Puts things on a scheduler's dashboard: a page with its link, and routes.

The only module that uses what Dask does not document: it does, for one scheduler, what
`distributed.dashboard.scheduler.connect` does. `test_dashboard.py` says what distributed has changed, if so.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bokeh.document import Document
from bokeh.server.tornado import BokehTornado
from distributed import Scheduler
from distributed.dashboard.components.scheduler import env
from distributed.dashboard.core import BokehApplication
from distributed.dashboard.scheduler import template_variables
from tornado.ioloop import IOLoop

TEMPLATE = """\
{% extends "simple.html" %}
{% block extra_resources %}
<style>
  html { background: white; }
  .content { height: auto; max-width: 1600px; margin: 0 auto; padding: 8px 0 32px; }
</style>
{% endblock %}
"""


def add_page(scheduler: Scheduler, name: str, title: str, fill: Callable[[Document], None]) -> None:
    """A page at `/name` and a link to it; `fill` makes the document of each viewer."""

    def document(_: Scheduler, variables: Mapping[str, Any], made: Document) -> None:
        made.title = title
        made.template = env.from_string(TEMPLATE)
        made.template_variables.update(variables)
        fill(made)

    variables = template_variables(scheduler)
    application = BokehApplication(
        {f"/{name}": document}, scheduler, prefix=_prefix(scheduler), template_variables=variables
    )
    scheduler.http_application.add_application(application)
    application.initialize(IOLoop.current())
    application.start()
    variables["pages"].append(name)  # the same list for every page of this scheduler


def add_routes(scheduler: Scheduler, routes: Iterable[tuple[str, type, Mapping[str, Any]]]) -> None:
    """Handlers at paths below the dashboard's root."""
    prefix = _prefix(scheduler)
    scheduler.http_application.add_handlers(
        ".*", [(f"{prefix}/{path}", handler, dict(arguments)) for path, handler, arguments in routes]
    )


def has_dashboard(scheduler: Scheduler) -> bool:
    """False where a scheduler was started without."""
    return _bokeh(scheduler) is not None


def _prefix(scheduler: Scheduler) -> str:
    """What all paths of its dashboard begin with: nothing, or "/..."."""
    application = _bokeh(scheduler)
    return application.prefix.rstrip("/") if application else ""


def _bokeh(scheduler: Scheduler) -> BokehTornado | None:
    """Dask's own application of its pages."""
    applications = scheduler.http_application.applications
    return next((one for one in applications if isinstance(one, BokehTornado)), None)
