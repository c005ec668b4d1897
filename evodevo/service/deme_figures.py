"""Draw a run's demes on the figures of the live page."""

from collections.abc import Mapping
from typing import Any

from bokeh.models import ColumnDataSource, HoverTool, Range1d, Span
from bokeh.plotting import figure

from evodevo.report.colours import ACCENT, DEMES, INK, PALE
from evodevo.report.live import MIGRANTS

ABOUT = (
    "Demes",
    "The best of each deme by generation, and the migrations: a line leads from the deme of a migrant to the "
    "deme in which it is a parent.",
)
FATES = {
    "died_out": ("line died out", PALE, 1.0),
    "ancestors": ("line lives", INK, 1.3),
    "best_steps": ("led to the best", ACCENT, 2.5),
}
MOST_NAMED = 12
"""With more demes, the lines have no legend."""


def draw_foms(made: figure, source: ColumnDataSource, count: int) -> dict[str, list[Any]]:
    """Draw a line for each deme; return the items of the legend."""
    lines = {
        f"deme {deme}": made.line(
            "generation", f"best.{deme}", source=source, color=colour(deme), line_width=1.8
        )
        for deme in range(count)
    }
    for name, line in lines.items():
        tip = (name, f"@{{best.{name.split()[1]}}}{{%.6g}}")
        formats = {"@generation": "printf", tip[1].partition("}{")[0] + "}": "printf"}
        made.add_tools(
            HoverTool(renderers=[line], tooltips=[("generation", "@generation{%d}"), tip], formatters=formats)
        )
    return {name: [line] for name, line in lines.items()} if count <= MOST_NAMED else {}


def draw_migrations(
    made: figure, sources: Mapping[str, ColumnDataSource], count: int
) -> dict[str, list[Any]]:
    """Draw a row for each deme, and lines between rows for migrants; return the items of the legend."""
    made.y_range = Range1d(count - 0.5, -0.5)
    made.yaxis.ticker.min_interval = 1
    made.ygrid.visible = False
    for deme in range(count):
        row = Span(location=deme, dimension="width", line_color=colour(deme), line_width=2, line_alpha=0.5)
        row.level = "underlay"
        made.add_layout(row)
    return {
        label: [
            made.segment(
                "x0", "y0", "x1", "y1", source=sources[f"{MIGRANTS}.{kind}"], color=color, line_width=width
            )
        ]
        for kind, (label, color, width) in FATES.items()
    }


def draw_borders(made: figure, count: int, size: int) -> None:
    """Draw lines between the demes of a lineage, each of which has a block of places."""
    for deme in range(1, count):
        border = Span(location=deme * size - 0.5, dimension="width", line_color="#efefed", line_width=2)
        border.level = "underlay"
        made.add_layout(border)


def colour(deme: int) -> str:
    return DEMES[deme % len(DEMES)]
