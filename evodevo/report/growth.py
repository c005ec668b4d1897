"""Plot a search in which genomes grow: the mean and best fom of each generation, phase by phase."""

from collections.abc import Iterable

import numpy as np

from evodevo.report.colours import ACCENT, INK
from evodevo.report.naming import metric_name
from evodevo.report.plots import fom_plot, generation_axis, new_figure, png
from evodevo.report.standing import foms_by_generation
from evodevo.run.history import History


def progress_plot(history: History) -> bytes:
    """Draw the plot of a run's foms as PNG, with phases if genomes grow."""
    return growth_plot(history) if history.config.search.phases else fom_plot(history)


def growth_plot(history: History) -> bytes:
    """Draw best, mean and range of each generation's foms as PNG, with a line before each phase."""
    phases = history.config.search.phases
    assert phases is not None, "only a run whose genomes grow has this plot"
    figure = new_figure(8, 4.5)
    axes = figure.subplots()
    foms = foms_by_generation(history)
    at = foms["generation"]
    if at:
        axes.fill_between(at, foms["low"], foms["high"], color=INK, alpha=0.15, lw=0, label="all members")
        axes.plot(at, means(history, map(int, at)), color=INK, lw=1.5, marker="o", ms=3, label="mean")
        axes.plot(at, foms["best"], color=ACCENT, lw=2, marker="o", ms=3, label="best")
        axes.legend(frameon=False, loc="lower right")
    count = len(history.generations)
    for phase, length in enumerate(phases.lengths):
        begin = phase * phases.generations
        if begin >= count:
            break
        if phase:
            axes.axvline(begin - 0.5, color=INK, lw=0.8, ls=":")
        text = f" {phases.locus} {length}"
        axes.text(begin - 0.5, 1.0, text, transform=axes.get_xaxis_transform(), va="top", fontsize=8)
    generation_axis(axes, count)
    axes.set_ylabel(metric_name(history.config))
    size = f"{history.config.search.population} members, {count} generations"
    axes.set_title(f"{history.config.run.name}: {size}", loc="left")
    return png(figure)


def means(history: History, generations: Iterable[int]) -> list[float]:
    """Return the mean fom of each given generation, over the members that have one."""
    return [
        float(np.mean([life.fom for life in history.generations[at] if life.fom is not None]))
        for at in generations
    ]
