"""The live page, `/evodevo` on the Dask dashboard: a table of all runs, and figures of the selected one.

Each viewer has a separate document; its content is computed once for all of them (`views.Views`), and only
columns that changed are sent.
"""

import asyncio
import html
import math
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from bokeh.document import Document
from bokeh.models import (
    Button,
    Column,
    ColumnDataSource,
    CustomJS,
    DataTable,
    Div,
    HTMLTemplateFormatter,
    PasswordInput,
    PreText,
    Row,
    StringFormatter,
    TableColumn,
)
from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin

from evodevo.report.live import Drawing, Picture
from evodevo.report.naming import words
from evodevo.run.view import AT_WORK, Status, idleness, remark
from evodevo.service import dashboard
from evodevo.service.figures import TEXT_STYLE, RunFigures
from evodevo.service.gate import COOKIE, Gate
from evodevo.service.metrics import RunMetrics
from evodevo.service.plugin import Service
from evodevo.service.routes import routes
from evodevo.service.tables import table_height, table_of
from evodevo.service.views import Views

PAGE = "evodevo"
PERIOD_MS = 1000
SOON_MS = 150
STATE_COLOURS = {
    "running": "#15803d",
    "waiting": "#a16207",
    "done": "#444444",
    "failed": "#b91c1c",
    "cancelled": "#78716c",
    "interrupted": "#a16207",
}
ABOUT_STYLE = (
    TEXT_STYLE
    + """
h2 { font-size: 20px; font-weight: 600; margin: 18px 0 8px; }
h2 span { font-size: 14px; font-weight: 500; margin-left: 8px; }
dl { display: flex; flex-wrap: wrap; gap: 6px 34px; margin: 0; }
dt { color: #777; font-size: 12px; }
dd { margin: 0; font-size: 17px; font-variant-numeric: tabular-nums; }
dd small { font-size: 12px; color: #777; }
pre { background: #f5f5f4; padding: 10px; overflow: auto; font-size: 12px; max-height: 240px; }
"""
)
STATE_CELL = """<span style="color: <%- colour %>">&#9679;</span> <%- value %>"""
PROGRESS_CELL = """
<div style="display: flex; align-items: center; gap: 8px; height: 20px">
  <div style="flex: 0 0 90px; height: 6px; border-radius: 3px; background: #e9e9e7">
    <div style="width: <%- 100 * value %>%; height: 6px; border-radius: 3px; background: <%- colour %>"></div>
  </div>
  <span><%- generation %> / <%- generations %></span>
</div>
"""
NUMBER_CELL = """<%- Number.isFinite(value) ? Number(value.toPrecision(5)) : "" %>"""
SHOW_IN_ADDRESS = """
const row = runs.selected.indices[0]
if (row !== undefined)
    history.replaceState(null, "", "?run=" + encodeURIComponent(runs.data.run[row]))
"""
CANCEL = """
const row = runs.selected.indices[0]
const run = runs.data.run[row]
said.text = `cancelling ${run} ...`
fetch("evodevo/cancel?run=" + encodeURIComponent(run), {method: "POST"}).then(async answer => {
    said.text = (await answer.text()).trim()
}).catch(why => { said.text = `${why}` })
"""
ENTER = """
const body = new URLSearchParams({token: token.value})
fetch("evodevo/enter", {method: "POST", body: body}).then(async answer => {
    said.text = (await answer.text()).trim()
    if (answer.ok) location.reload()
}).catch(why => { said.text = `${why}` })
"""


class Pages(SchedulerPlugin):
    """A scheduler plugin that serves the page, its data as JSON, and Prometheus gauges."""

    name = "evodevo-page"

    def __init__(self, scheduler: Scheduler, service: Service, token: str | None) -> None:
        self._scheduler = scheduler
        self._service = service
        self._gate = Gate(token)
        self._views = Views(service)
        self._metrics = RunMetrics(self._views)
        self._has_metrics = False

    def install(self) -> None:
        self._scheduler.add_plugin(self)
        self._has_metrics = self._metrics.install()
        dashboard.add_routes(self._scheduler, routes(self._service, self._views, self._gate))
        if dashboard.has_dashboard(self._scheduler):
            dashboard.add_page(self._scheduler, PAGE, "EvoDevo", self._fill)

    async def before_close(self) -> None:
        await self._views.close()
        if self._has_metrics:
            self._metrics.remove()

    def _fill(self, document: Document) -> None:
        request = document.session_context.request
        if not self._gate.admits(request.cookies.get(COOKIE)):
            document.add_root(_entrance())
            return
        asked = request.arguments.get("run", [b""])[0].decode(errors="replace")
        where = f"{self._service.runs_dir}"
        page = Page(self._views, where, self._scheduler.address, asked or None, not self._gate.is_open)
        document.add_root(page.root)
        document.add_next_tick_callback(page.update)
        document.add_timeout_callback(page.update, SOON_MS)
        document.add_periodic_callback(page.update, PERIOD_MS)


class Page:
    """One viewer's page. `run` is shown first; None: the newest run, preferring those at work."""

    def __init__(self, views: Views, runs_dir: str, address: str, run: str | None, can_cancel: bool) -> None:
        self._views = views
        self._runs_dir = runs_dir
        self._address = address
        self._run = run
        self._statuses: Sequence[Status] = ()
        self._drawing: Drawing | None = None
        self._figures: RunFigures | None = None
        self._runs = ColumnDataSource(data=_rows([]), name="runs")
        self._runs.selected.on_change("indices", self._select)
        self._runs.selected.js_on_change("indices", CustomJS(args={"runs": self._runs}, code=SHOW_IN_ADDRESS))
        self._note = Div(sizing_mode="stretch_width", stylesheets=[TEXT_STYLE])
        self._table = _runs_table(self._runs)
        self._about = Div(sizing_mode="stretch_width", stylesheets=[ABOUT_STYLE])
        self._cancel = _cancel_row(self._runs) if can_cancel else Row()
        self._cancel.visible = False
        self._body = Column(sizing_mode="stretch_width")
        self.root = Column(
            self._note, self._table, self._about, self._cancel, self._body, sizing_mode="stretch_width"
        )

    async def update(self) -> None:
        """Update everything from the latest sight. Bokeh never runs two of these calls at once."""
        sight = self._views.look(self._run)
        newest_first = list(sight.statuses.values())[::-1]
        statuses = sorted(newest_first, key=lambda status: status.state not in AT_WORK)
        if self._run is None and statuses:
            self._run = statuses[0].name
            sight = self._views.look(self._run)
        if statuses != self._statuses:
            self._statuses = statuses
            self._runs.data = _rows(statuses)
            self._table.height = table_height(len(statuses))
        chosen = [row for row, status in enumerate(statuses) if status.name == self._run]
        if self._runs.selected.indices != chosen:
            self._runs.selected.indices = chosen
        self._table.visible = bool(statuses)
        said = [*sight.problems.values(), idleness(sight.unused.count, sight.unused.reasons)]
        _say(self._note, self._heading(len(statuses), filter(None, said), sight.whole))
        status = sight.statuses.get(self._run or "")
        self._cancel.visible = status is not None and status.state in AT_WORK
        _say(self._about, _about(status) if status else self._about_nothing(sight.whole))
        await self._draw(sight.pictures.get(self._run or ""))

    async def _draw(self, picture: Picture | None) -> None:
        if picture is None or not picture.columns["population"]["generation"].size:
            self._drawing = self._figures = None
            if self._body.children:
                self._body.children = []
        elif self._figures is None or picture.drawing != self._drawing:
            self._drawing = picture.drawing
            self._figures = await asyncio.to_thread(RunFigures, picture.drawing, picture.columns)
            self._body.children = [self._figures.root]
        else:
            self._figures.show(picture.columns)

    def _select(self, _: str, __: object, rows: Sequence[int]) -> None:
        """Show the run of a row that a viewer, or this page, has selected."""
        if rows and self._statuses[rows[0]].name != self._run:
            self._run = self._statuses[rows[0]].name
            self.root.document.add_next_tick_callback(self.update)
            self.root.document.add_timeout_callback(self.update, SOON_MS)

    def _heading(self, count: int, problems: Iterable[str], whole: bool) -> str:
        where = html.escape(self._runs_dir)
        if not whole:
            about = f"reading the journals in {where} ..."
        elif count:
            about = f"in {where}; select one to see it below"
        else:
            command = html.escape(f"evodevo launch CONFIG --scheduler {self._address}")
            about = f"No runs yet in {where}. To start one: <code>{command}</code>"
        return f"<h3>Runs</h3><p>{about}</p>" + "".join(f"<p>{html.escape(why)}</p>" for why in problems)

    def _about_nothing(self, whole: bool) -> str:
        if self._run is None or not whole:
            return ""
        return f"<p>Run {html.escape(repr(self._run))} not found in {html.escape(self._runs_dir)}.</p>"


def _runs_table(source: ColumnDataSource) -> DataTable:
    number, text = HTMLTemplateFormatter(template=NUMBER_CELL), StringFormatter()
    columns: list[tuple[str, str, int, Any]] = [
        ("run", "run", 150, StringFormatter(font_style="bold")),
        ("state", "state", 95, HTMLTemplateFormatter(template=STATE_CELL)),
        ("done", "generation", 170, HTMLTemplateFormatter(template=PROGRESS_CELL)),
        ("metric", "metric", 120, text),
        ("best_fom", "best", 80, number),
        ("median_fom", "median", 80, number),
        ("failed", "failed", 55, text),
        ("diverged", "diverged", 65, text),
        ("lost_attempts", "lost", 45, text),
        ("elapsed", "elapsed", 75, text),
        ("remaining", "left", 75, text),
        ("message", "message", 260, text),
    ]
    return table_of(
        source,
        *(
            TableColumn(field=field, title=title, width=width, formatter=formatter)
            for field, title, width, formatter in columns
        ),
    )


def _rows(statuses: Sequence[Status]) -> dict[str, list[Any]]:
    """Return the columns of the table of runs: `done` is a fraction of members, NaN means unknown."""
    return {
        "run": [one.name for one in statuses],
        "state": [one.state for one in statuses],
        "colour": [STATE_COLOURS[one.state] for one in statuses],
        "done": [
            (one.generation * one.population + one.members_done) / (one.generations * one.population)
            for one in statuses
        ],
        "generation": [one.generation for one in statuses],
        "generations": [one.generations for one in statuses],
        "metric": [one.metric for one in statuses],
        "best_fom": [math.nan if one.best_fom is None else one.best_fom for one in statuses],
        "median_fom": [math.nan if one.median_fom is None else one.median_fom for one in statuses],
        "failed": [one.failed for one in statuses],
        "diverged": [one.diverged for one in statuses],
        "lost_attempts": [one.lost_attempts for one in statuses],
        "elapsed": [_clock(one.elapsed_s) for one in statuses],
        "remaining": [_clock(one.remaining_s) for one in statuses],
        "message": [remark(one) for one in statuses],
    }


def _about(status: Status) -> str:
    """Return the facts about the selected run as HTML."""
    metric, at_work = html.escape(words(status.metric)), status.state in AT_WORK
    facts = [
        ("generations", f"{status.generation} <small>of {status.generations}</small>"),
        (
            "members of this generation",
            f"{status.members_done} <small>of {status.population}</small>"
            if at_work and status.population > 1
            else "",
        ),
        (f"best {metric}", _number(status.best_fom, f"<small>{status.best_member}</small>")),
        ("median", _number(status.median_fom)),
        ("elapsed", _clock(status.elapsed_s)),
        ("left, about", _clock(status.remaining_s)),
        ("workers it can use", str(status.workers) if at_work and status.workers is not None else ""),
        ("workers without work", str(status.unused_workers) if at_work and status.unused_workers else ""),
        ("failed members", str(status.failed)),
        ("diverged members", str(status.diverged)),
        ("lost attempts", str(status.lost_attempts)),
    ]
    tiles = "".join(f"<div><dt>{label}</dt><dd>{text}</dd></div>" for label, text in facts if text)
    dot = f'<span style="color: {STATE_COLOURS[status.state]}">● {status.state}</span>'
    said = [status.message] if status.message else []
    if at_work and status.workers:  # if there are none, the message says why
        said += status.unused_why
    message = f"<pre>{html.escape(chr(10).join(said))}</pre>" if said else ""
    return f"<h2>{html.escape(status.name)}{dot}</h2><dl>{tiles}</dl>{message}"


def _cancel_row(runs: ColumnDataSource) -> Row:
    button = Button(label="Cancel this run", width=130)
    said = PreText(text="", styles={"margin": "8px"})
    button.js_on_click(CustomJS(args={"runs": runs, "said": said}, code=CANCEL))
    return Row(button, said)


def _entrance() -> Row:
    """Return the form that asks for the page token."""
    token = PasswordInput(placeholder="page token", width=160)
    button = Button(label="Enter", width=80)
    said = PreText(text="this page requires a token", styles={"margin": "8px"})
    button.js_on_click(CustomJS(args={"token": token, "said": said}, code=ENTER))
    return Row(token, button, said)


def _say(div: Div, text: str) -> None:
    if div.text != text:
        div.text = text


def _number(fom: float | None, more: str = "") -> str:
    return "" if fom is None else f"{fom:.6g} {more}"


def _clock(seconds: float | None) -> str:
    return "" if seconds is None else str(timedelta(seconds=round(seconds)))
