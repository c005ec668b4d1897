"""Plot the optimisation of a function: the mean of each generation in a band, and the best so far."""

import math
from typing import TYPE_CHECKING

import numpy as np

from evodevo.evolution.fitness import is_usable
from evodevo.report.colours import ACCENT, INK
from evodevo.report.naming import metric_name
from evodevo.report.plots import generation_axis, new_figure, png
from evodevo.run.history import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def by_generation(history: History) -> list[tuple[int, float, float, float]]:
    """Return (generation, mean, standard deviation, best so far) of each generation that has a fom.

    A history without generations (`pace: steady`) has one row per member, with deviation 0.
    """
    mode = history.config.objective.mode
    choose = min if mode == "min" else max
    best, rows = math.nan, []
    foms: dict[int, list[float]] = {}
    for life in history.lives():
        if is_usable(life.fom):
            foms.setdefault(life.generation, []).append(life.fom)
    for generation, own in sorted(foms.items()):
        best = choose(own) if math.isnan(best) else choose(best, *own)
        rows.append((generation, float(np.mean(own)), float(np.std(own)), best))
    return rows


def progress_figure(history: History) -> "Figure":
    """Draw the mean of each generation with one standard deviation on both sides, and the best so far."""
    figure = new_figure(8, 4.5)
    axes = figure.subplots()
    rows = by_generation(history)
    if rows:
        at, mean, deviation, best = (np.array(column) for column in zip(*rows, strict=True))
        low, high = mean - deviation, mean + deviation
        axes.fill_between(at, low, high, color=INK, alpha=0.15, lw=0, label="one standard deviation")
        axes.plot(at, mean, color=INK, lw=1.5, label="mean of the generation")
        axes.plot(at, best, color=ACCENT, lw=2, label="best so far")
        axes.legend(frameon=False)
    generation_axis(axes, len(history.generations))
    axes.set_ylabel(metric_name(history.config))
    search = history.config.search
    about = f"{search.population} members, {search.generations} generations"
    axes.set_title(f"{history.config.run.name}: {about}", loc="left")
    figure._repr_png_ = lambda: png(figure)  # type: ignore[attr-defined]  # a notebook shows it
    return figure


def progress_plot(history: History) -> bytes:
    """Return the figure as PNG."""
    return png(progress_figure(history))
