"""Add pages and routes to a scheduler's dashboard.

This does what `distributed.dashboard.scheduler.connect` does, using its private API; `test_dashboard.py`
fails if distributed changes it.
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
    """Add a page at `/name` and a link to it; `fill` populates the document of each viewer."""

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
    variables["pages"].append(name)  # the list is shared by all pages of this scheduler


def add_routes(scheduler: Scheduler, routes: Iterable[tuple[str, type, Mapping[str, Any]]]) -> None:
    """Add handlers at paths below the dashboard's root."""
    prefix = _prefix(scheduler)
    scheduler.http_application.add_handlers(
        ".*", [(f"{prefix}/{path}", handler, dict(arguments)) for path, handler, arguments in routes]
    )


def has_dashboard(scheduler: Scheduler) -> bool:
    """Return whether the scheduler was started with a dashboard."""
    return _bokeh(scheduler) is not None


def _prefix(scheduler: Scheduler) -> str:
    """Return the prefix of all paths of the dashboard: empty, or "/..."."""
    application = _bokeh(scheduler)
    return application.prefix.rstrip("/") if application else ""


def _bokeh(scheduler: Scheduler) -> BokehTornado | None:
    """Return the application that serves Dask's own pages."""
    applications = scheduler.http_application.applications
    return next((one for one in applications if isinstance(one, BokehTornado)), None)
