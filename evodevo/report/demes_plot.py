"""A picture of a run's demes: the progress of each, and the migrations between them."""

from typing import TYPE_CHECKING, Any

import numpy as np

from evodevo.evolution.demes import Layout
from evodevo.evolution.fitness import as_foms, best_first
from evodevo.report.colours import ACCENT, DEMES, INK, PALE
from evodevo.report.demes import Fate, arrivals_of, foms_by_deme, layout_of
from evodevo.report.naming import metric_name, plain
from evodevo.report.plots import generation_axis, new_figure, png
from evodevo.report.standing import fom_scale
from evodevo.run.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PANELS = 36
"""With more demes, only the migrations are drawn."""
LONGEST_TITLE = 34
COLOURS: dict[Fate, str] = {"died out": PALE, "lives on": INK, "led to the best": ACCENT}


def demes_plot(history: History) -> bytes:
    """Draw the foms of each deme in a grid of panels, and all migrations below, as PNG."""
    layout, demes = layout_of(history), history.config.search.demes
    assert layout is not None and demes is not None, "only a run with demes has this plot"
    rows, columns = (1, *layout.sides)[-2:]
    panels = layout.count <= MOST_PANELS
    above = 2.1 * rows if panels else 0.0
    below = max(1.6, min(8.0, 0.7 + 0.28 * layout.count))
    figure = new_figure(max(8.0, 2.6 * columns if panels else 0.0), above + below + 0.7)
    lower: Any = figure
    if panels:
        parts: Any = figure.subfigures(2, 1, height_ratios=[above, below])
        upper, lower = parts
        grid = upper.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        _draw_foms(history, layout, list(grid.flat), columns)
    _draw_migrations(history, layout, lower.subplots())
    text = demes.text(history.config.search.population)
    figure.suptitle(f"{history.config.run.name}: {text}", x=0.01, ha="left", fontsize=11)
    return png(figure)


def _draw_foms(history: History, layout: Layout, panels: "list[Axes]", columns: int) -> None:
    """Draw each deme's best and range in its panel, with the best of the other demes in a pale colour."""
    config = history.config
    reach = [list[tuple[int, float, float, float]]() for _ in range(layout.count)]
    for generation, foms in foms_by_deme(history, layout):
        for deme, known in enumerate(foms):
            if len(usable := known[np.isfinite(known)]):
                low, high = usable.min(), usable.max()
                best = low if config.objective.mode == "min" else high
                reach[deme].append((generation, best, low, high))
    scale = fom_scale(*([row[at] for rows in reach for row in rows] for at in (2, 3)))
    for deme, axes in enumerate(panels):
        for other, rows in enumerate(reach):
            if rows and other != deme:
                axes.plot([row[0] for row in rows], [row[1] for row in rows], color=PALE, lw=0.8, zorder=1)
        colour = DEMES[deme % len(DEMES)]
        if reach[deme]:
            at, best, low, high = zip(*reach[deme], strict=True)
            axes.fill_between(at, low, high, color=colour, alpha=0.18, lw=0)
            axes.plot(at, best, color=colour, lw=2, marker="o" if len(at) == 1 else None)
        generation_axis(axes, len(history.generations))
        axes.set_yscale(scale)
        axes.set_ylabel(metric_name(config) if deme % columns == 0 else "")
        axes.label_outer()
        axes.set_title(_title(history, deme), fontsize=9, loc="left")


def _title(history: History, deme: int) -> str:
    """Return the number of a deme and the options that only it has."""
    demes = history.config.search.demes
    assert demes is not None
    own = [f"{name} {value}" for name, value in demes.options_of(deme).items()]
    if isinstance(demes.select_every, list):
        own.append(f"selects every {demes.select_every[deme]}")
    name = f"deme {deme}"
    return plain(f"{name}: {', '.join(own)}" if own else name, name, LONGEST_TITLE)


def _draw_migrations(history: History, layout: Layout, axes: "Axes") -> None:
    """Draw a row of dots for each deme, darker for a better best member, and a line for each migrant."""
    from matplotlib.colors import to_rgba
    from matplotlib.lines import Line2D

    for generation, foms in foms_by_deme(history, layout):
        mode = history.config.objective.mode
        best = as_foms([foms[deme][best_first(foms[deme], mode)[0]] for deme in range(layout.count)])
        order = best_first(best, mode)
        known = [deme for deme in order if np.isfinite(best[deme])]
        if not known:
            continue
        axes.scatter(
            [generation] * len(known),
            known,
            s=[26 if place == 0 else 9 for place in range(len(known))],
            c=[
                to_rgba(DEMES[deme % len(DEMES)], 1 - 0.75 * place / (layout.count - 1))
                for place, deme in enumerate(known)
            ],
            lw=0,
            zorder=3,
        )
    arrivals = arrivals_of(history)
    for order_drawn, (fate, colour) in enumerate(COLOURS.items()):
        for one in arrivals:
            if one.fate == fate:
                axes.plot(
                    [one.generation - 1, one.generation],
                    [one.origin, one.deme],
                    color=colour,
                    lw=2.2 if fate == "led to the best" else 0.9,
                    zorder=1 + order_drawn / 2,
                )
    shown = [(fate, colour) for fate, colour in COLOURS.items() if any(one.fate == fate for one in arrivals)]
    dot = Line2D([], [], color=INK, marker="o", ms=5, lw=0)
    axes.legend(
        [dot, *(Line2D([], [], color=colour, lw=2) for _, colour in shown)],
        ["best of all demes", *(f"migrant, line {fate}" for fate, _ in shown)],
        frameon=False, fontsize=8, ncols=4, columnspacing=1.2, handlelength=1.4,
        loc="lower left", bbox_to_anchor=(0, 1),
    )  # fmt: skip
    generation_axis(axes, len(history.generations))
    axes.set_ylabel("deme")
    axes.set_ylim(layout.count - 0.5, -0.5)
    if layout.count <= MOST_PANELS:
        axes.set_yticks(range(layout.count))
