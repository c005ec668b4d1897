"""Figures of a run's live page: Bokeh models of the columns of `report.live`."""

import html
import math
from collections.abc import Mapping
from typing import Any

from bokeh.core.properties import value
from bokeh.models import (
    AdaptiveTicker,
    Column,
    ColumnDataSource,
    CustomJS,
    CustomJSTicker,
    CustomJSTickFormatter,
    DataTable,
    Div,
    FactorRange,
    FixedTicker,
    HoverTool,
    Legend,
    LegendItem,
    LinearInterpolator,
    NumeralTickFormatter,
    PreText,
    Range1d,
    Row,
    TableColumn,
)
from bokeh.palettes import Viridis256
from bokeh.plotting import figure
from bokeh.transform import linear_cmap

from evodevo.report.colours import ACCENT, INK, NOT_YET, PALE
from evodevo.report.live import Columns, Drawing, Panel
from evodevo.report.naming import words
from evodevo.service import deme_figures
from evodevo.service.tables import table_height, table_of

MANY_GENERATIONS = 60
"""With more generations, points are drawn smaller."""
PARTS = {
    "train": "#3b6ea5",
    "eval": "#86b0cc",
    "load": "#c9a227",
    "save": "#9b7bb8",
    "wait": "#ececea",
    "lost": "#b91c1c",
    "start_up": "#bcaaa4",
    "elsewhere": "#d6d3d1",
}
TOOLS = "pan,box_zoom,wheel_zoom,reset,save"
MEMBER = ("member", "g@generation{%03d}s@slot{%03d}")
FORMATS = {f"@{column}": "printf" for column in ("generation", "slot", "fom", "fitness", "children")}
TEXT_STYLE = """
:host { font: 14px/1.5 Helvetica, Arial, sans-serif; color: #222; }
h3 { font-size: 15px; font-weight: 600; margin: 22px 0 2px; }
p { color: #666; margin: 0 0 4px; }
.scale { display: inline-block; width: 120px; height: 9px; border-radius: 2px; margin: 0 5px; }
.best { color: #c2410c; font-weight: 600; }
"""
PRE_STYLE = "pre { font-size: 12px; background: #f5f5f4; padding: 10px; max-height: 320px; }"
LOG_TICKS = """
const {start, end} = cb_data.range
const [low, high] = start < end ? [start, end] : [end, start]
const decades = Math.log10(high / low)
const every = Math.ceil(decades / 6), ticks = []
for (let exponent = Math.floor(Math.log10(low)); exponent <= Math.log10(high); exponent++)
    for (const mantissa of decades > 2 ? [1] : decades > 1 ? [1, 3] : [1, 1.5, 2, 3, 5, 7])
        if (exponent % every == 0)
            ticks.push(mantissa * 10 ** exponent)
if (ticks.filter(tick => low <= tick && tick <= high).length > 1)
    return ticks
const least = (high - low) / 5, decade = 10 ** Math.floor(Math.log10(least))
const step = decade * [1, 2, 5, 10].find(mantissa => mantissa * decade >= least)
return Array.from({length: 7}, (_, number) => (Math.floor(low / step) + number) * step)
"""
LOG_LABEL = "return String(Number(tick.toPrecision(6)))"
"""Bokeh's own formatter rounds to powers of ten: it shows 0.003 as 10^-3."""
TEXT_OF_SELECTED = """
const row = failures.selected.indices[0], of = failures.data
text.visible = row !== undefined
if (text.visible)
    text.text = `${of.member[row]}, attempt ${of.attempt[row]}:\\n${of.text[row]}`
"""


class RunFigures:
    """All figures of a run; `show` updates them, and `root` belongs in a document."""

    def __init__(self, drawing: Drawing, columns: Mapping[str, Columns]) -> None:
        self._shown = columns
        self._sources = {name: ColumnDataSource(data=dict(data), name=name) for name, data in columns.items()}
        self._generations = Range1d(-0.5, _right_end(columns))
        self._drawing = drawing
        self._x_label = "member" if drawing.independent else "generation"
        self._by_fitness = linear_cmap("fitness", Viridis256, 0, 1, nan_color=NOT_YET)
        self._many = drawing.generations > MANY_GENERATIONS
        self._point_size, self._dot_size = (3, 2) if self._many else (5, 4)
        self._no_failures = _text("Failures", "None. No attempt was lost, and no member failed or diverged.")
        self._failures_table = _failures_table(self._sources["failures"])
        self._failures = Column(
            _text("Failures", _ABOUT_FAILURES),
            self._failures_table,
            _text_of_selected(self._sources["failures"]),
            sizing_mode="stretch_width",
        )
        self._fit_failures()
        panels = [self._hyperparameter(panel) for panel in drawing.panels]
        if len(panels) % 2:
            panels.append(Div(sizing_mode="stretch_width"))
        self.root = Column(
            Row(
                Column(_text(*self._about_fom()), self._fom(), sizing_mode="stretch_width"),
                Column(_text(*_ABOUT_SECONDS), self._seconds(), sizing_mode="stretch_width"),
                sizing_mode="stretch_width",
                spacing=24,
            ),
            *self._demes(),
            _text("Hyperparameters", self._about_colours()),
            *(
                Row(*panels[at : at + 2], sizing_mode="stretch_width", spacing=24)
                for at in range(0, len(panels), 2)
            ),
            *([] if drawing.independent else [_text("Lineage", _ABOUT_LINEAGE), self._lineage()]),
            self._no_failures,
            self._failures,
            sizing_mode="stretch_width",
        )

    def show(self, columns: Mapping[str, Columns]) -> None:
        """Update the sources whose columns have changed."""
        for name, data in columns.items():
            if data is not self._shown[name]:
                self._sources[name].data = dict(data)
        self._shown = columns
        self._fit_failures()
        if self._generations.end != (end := _right_end(columns)):
            self._generations.end = end

    def _about_fom(self) -> tuple[str, str]:
        least = "lowest" if self._drawing.mode == "min" else "highest"
        metric = html.escape(words(self._drawing.metric))
        whose = "all members so far" if self._drawing.independent else "each generation"
        return "Figure of merit", f"{metric} of {whose}; the {least} is the best."

    def _about_colours(self) -> str:
        if self._drawing.independent:
            return f'{_GRADIENT}, pale while in progress; <span class="best">●</span> the best'
        best = '<span class="best">—●—</span> the schedule of the best line'
        return f"{_GRADIENT}, pale while its generation is in progress; {best}"

    def _figure(self, height: int, **options: Any) -> figure:
        made = figure(
            height=height,
            sizing_mode="stretch_width",
            tools=TOOLS,
            x_range=self._generations,
            x_axis_label=self._x_label,
            **options,
        )
        made.xaxis.ticker.min_interval = 1
        made.min_border_left = 66  # aligns the generations of all figures
        if options.get("y_axis_type") == "log":
            made.yaxis.ticker = CustomJSTicker(major_code=LOG_TICKS)
            made.yaxis.formatter = CustomJSTickFormatter(code=LOG_LABEL)
        return _calm(made)

    def _fom(self) -> figure:
        made = self._figure(
            280, y_axis_type=self._drawing.fom_scale, y_axis_label=words(self._drawing.metric)
        )
        source = self._sources["fom"]
        band = made.varea("generation", "low", "high", source=source, color=INK, alpha=0.13)
        median = made.line("generation", "median", source=source, color=INK, line_width=1.5)
        best = made.line("generation", "best", source=source, color=ACCENT, line_width=2)
        dots = made.scatter("generation", "best", source=source, color=ACCENT, size=self._dot_size)
        _legend(made, {"best": [best, dots], "median": [median], "all members": [band]})
        numbers = ["best", "median", "low", "high"]
        made.add_tools(
            HoverTool(
                renderers=[dots],
                mode="vline",
                tooltips=[
                    (self._x_label, "@generation{%d}"),
                    *((name, f"@{name}{{%.6g}}") for name in numbers),
                ],
                formatters={f"@{name}": "printf" for name in ("generation", *numbers)},
            )
        )
        return made

    def _demes(self) -> list[Any]:
        """Return the heading and the figures of the demes; empty if the run has none."""
        count, sources = self._drawing.demes, self._sources
        if not count:
            return []
        foms = self._figure(
            260, y_axis_type=self._drawing.fom_scale, y_axis_label=words(self._drawing.metric)
        )
        _legend(foms, deme_figures.draw_foms(foms, sources["demes"], count))
        moves = self._figure(260, y_axis_label="deme")
        _legend(moves, deme_figures.draw_migrations(moves, sources, count))
        return [
            _text(*deme_figures.ABOUT),
            Row(foms, moves, sizing_mode="stretch_width", spacing=24),
        ]

    def _seconds(self) -> figure:
        workers = self._drawing.workers
        made = figure(
            height=max(280, 70 + 18 * len(workers)),
            sizing_mode="stretch_width",
            tools="save",
            y_range=FactorRange(*workers[::-1]),
            x_axis_label="h:mm:ss",
        )
        made.x_range.start = 0
        made.xaxis.ticker = AdaptiveTicker(base=60, mantissas=[1, 2, 5, 10, 15, 20, 30], num_minor_ticks=0)
        made.xaxis.formatter = NumeralTickFormatter(format="00:00:00")
        bars = made.hbar_stack(
            list(PARTS),
            y="worker",
            height=0.7 if len(workers) > 3 else 0.4,
            color=list(PARTS.values()),
            line_color="white",
            source=self._sources["seconds"],
        )
        _legend(_calm(made), {part: [bar] for part, bar in zip(PARTS, bars, strict=True)}, hide=False)
        made.ygrid.visible = False
        made.add_tools(
            HoverTool(tooltips=[("worker", "@worker"), *((part, f"@{part}{{0,0.0}} s") for part in PARTS)])
        )
        return made

    def _hyperparameter(self, panel: Panel) -> figure:
        made = self._figure(210, y_axis_type=panel.scale, y_axis_label=words(panel.locus))
        column = f"hp.{panel.locus}"
        points = made.scatter(
            "generation",
            column,
            source=self._sources["population"],
            size=self._point_size,
            color=self._by_fitness,
            alpha=0.8,
        )
        best = self._sources["best_line"]
        made.line("generation", column, source=best, color=ACCENT, line_width=2)
        made.scatter("generation", column, source=best, color=ACCENT, size=self._dot_size)
        if panel.labels:
            made.y_range = Range1d(-0.5, len(panel.labels) - 0.5)
            made.yaxis.ticker = FixedTicker(ticks=list(range(len(panel.labels))))
            made.yaxis.major_label_overrides = dict(enumerate(panel.labels))
        shown = [] if panel.labels else [(words(panel.locus), f"@{{{column}}}{{%.6g}}")]
        made.add_tools(
            HoverTool(
                renderers=[points],
                tooltips=[MEMBER, *shown, *_FOM_AND_FITNESS],
                formatters={**FORMATS, f"@{{{column}}}": "printf"},
            )
        )
        return made

    def _lineage(self) -> figure:
        population = self._drawing.population
        made = self._figure(min(560, max(240, 60 + 14 * population)), y_axis_label="members")
        made.y_range = Range1d(population - 0.2, -0.8)
        if self._drawing.demes:
            deme_figures.draw_borders(made, self._drawing.demes, population // self._drawing.demes)
        sizes = [2, 3, 5, 8, 12] if self._many else [4, 6, 9, 13, 18]
        links = {
            "gave hyperparameters (a, b)": self._links(
                made, "hyperparameter_parents", "#0f766e", 0.6, alpha=0.3
            ),
            "gave parameters (α), died out": self._links(made, "died_out", PALE, 1),
        }
        points = made.scatter(
            "generation",
            "place",
            source=self._sources["population"],
            color=self._by_fitness,
            size={"field": "children", "transform": LinearInterpolator(x=[0, 1, 5, 25, 100], y=sizes)},
        )
        links["gave parameters, line lives"] = self._links(made, "ancestors", INK, 1.3)
        links["best line"] = self._links(made, "best_steps", ACCENT, 2.5)
        _legend(made, {label: [link] for label, link in reversed(links.items())})
        made.yaxis.major_label_text_font_size = "0pt"
        made.yaxis.major_tick_line_color = None
        made.yaxis.minor_tick_line_color = None
        made.ygrid.visible = False
        made.add_tools(
            HoverTool(
                renderers=[points],
                tooltips=[MEMBER, *_FOM_AND_FITNESS, ("children of its parameters", "@children{%d}")],
                formatters=FORMATS,
            )
        )
        return made

    def _links(self, made: figure, name: str, color: str, line_width: float, alpha: float = 1.0) -> Any:
        source = self._sources[name]
        return made.segment(
            "x0", "y0", "x1", "y1", source=source, color=color, line_width=line_width, alpha=alpha
        )

    def _fit_failures(self) -> None:
        rows = len(self._shown["failures"]["member"])
        self._failures.visible = rows > 0
        self._no_failures.visible = rows == 0
        self._failures_table.height = table_height(rows)


def _failures_table(source: ColumnDataSource) -> DataTable:
    widths = {"member": 90, "what": 70, "attempt": 60, "message": 900}
    return table_of(
        source, *(TableColumn(field=name, title=name, width=width) for name, width in widths.items())
    )


def _text_of_selected(failures: ColumnDataSource) -> PreText:
    text = PreText(visible=False, sizing_mode="stretch_width", stylesheets=[PRE_STYLE])
    failures.selected.js_on_change(
        "indices", CustomJS(args={"failures": failures, "text": text}, code=TEXT_OF_SELECTED)
    )
    return text


_ABOUT_FAILURES = "Lost attempts, failed and diverged members, newest first; select one to see its full text."
_FOM_AND_FITNESS = [("fom", "@fom{%.6g}"), ("fitness", "@fitness{%.3f}")]
_ABOUT_SECONDS = (
    "Time per worker",
    "Lost: attempts without a result. Start-up: loading the data. Elsewhere: other runs.",
)
_GRADIENT = (
    'fitness 0 <span class="scale" style="background: linear-gradient(to right, '
    f'{", ".join(Viridis256[::51])})"></span> 1'
)
_ABOUT_LINEAGE = (
    "Parents of each member, by parameters and hyperparameters. Members with the same α are side by side; "
    "larger points have more children. A widening fan is a successful α that spreads."
)


def _text(heading: str, about: str) -> Div:
    return Div(
        text=f"<h3>{heading}</h3><p>{about}</p>", sizing_mode="stretch_width", stylesheets=[TEXT_STYLE]
    )


def _calm(made: figure) -> figure:
    """Mute everything that is not data, and return the figure."""
    made.toolbar.autohide = True
    made.toolbar.logo = None
    made.outline_line_color = None
    made.grid.grid_line_color = "#efefed"
    made.axis.axis_line_color = "#b8b8b4"
    made.axis.major_tick_line_color = "#b8b8b4"
    made.axis.minor_tick_line_color = None
    made.axis.axis_label_text_font_style = "normal"
    made.axis.axis_label_text_color = "#555"
    made.axis.major_label_text_color = "#555"
    return made


def _legend(made: figure, items: Mapping[str, list[Any]], hide: bool = True) -> None:
    """Add a legend above the figure; if `hide`, clicking an item toggles it."""
    legend = Legend(
        items=[LegendItem(label=value(label), renderers=renderers) for label, renderers in items.items()],
        orientation="horizontal",
        border_line_color=None,
        background_fill_alpha=0,
        label_text_color="#555",
        label_text_font_size="12px",
        padding=0,
        margin=4,
        spacing=14,
        click_policy="hide" if hide else "none",
    )
    made.add_layout(legend, "above")


def _right_end(columns: Mapping[str, Columns]) -> float:
    generations = columns["population"]["generation"]
    return max(1.0, generations[-1] + 1 if len(generations) else math.nan) - 0.5
