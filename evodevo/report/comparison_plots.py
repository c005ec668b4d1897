"""The two pictures of a comparison, in the style of figure 9 of the method's paper (arXiv 1901.03900)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from evodevo.config import RunConfig
from evodevo.report.comparison import Histories, curves, curves_of_all, schedules
from evodevo.report.naming import arm_name, locus_name, metric_name, words
from evodevo.report.plots import generation_axis, new_figure, png
from evodevo.report.standing import fom_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#444444", "#0369a1", "#15803d", "#a16207", "#c2410c", "#7e22ce", "#be123c", "#0f766e")
LINES = ("-", "--", ":", "-.")
"""Line styles; each is used with all colours before the next one."""


def fom_picture(config: RunConfig, histories: Histories) -> bytes:
    """Draw the best fom of each generation over epochs, with mean and range over seeds, as PNG.

    If genomes grow, epochs are those of all members, and the best is that of all generations so far.
    """
    figure = new_figure(8, 5)
    axes = figure.subplots()
    of_all = config.search.phases is not None
    found = [(curves_of_all if of_all else curves)(by_seed) for by_seed in histories.values()]
    for style, arm, values in zip(_styles(len(found)), histories, found, strict=True):
        _mean_and_envelope(axes, values, style, arm_name(histories, arm), np.nanmean)
    finite = np.concatenate([values[np.isfinite(values)] for values in found])
    axes.set_yscale(fom_scale(finite, finite))
    _epoch_axis(axes, config, max(values.shape[1] for values in found))
    if of_all:
        axes.set_xlabel("epochs of all members")
    axes.set_ylabel(metric_name(config))
    seeds = len(next(iter(histories.values())))
    axes.set_title(f"{config.run.name}: mean and range over {seeds} seeds", loc="left")
    axes.legend(frameon=False)
    return png(figure)


def schedules_picture(config: RunConfig, histories: Histories) -> bytes:
    """Draw the best members' schedules over seeds, with one panel per numeric hyperparameter, as PNG."""
    space = config.space()
    names = [name for name, locus in space.loci.items() if locus.type in ("float", "int")]
    figure = new_figure(8, 1 + 2.5 * max(1, len(names)))
    panels: Any = figure.subplots(max(1, len(names)), sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(panels, names, strict=False):
        found = {arm: schedules(by_seed, name) for arm, by_seed in histories.items()}
        logarithmic = space.loci[name].scale == "log"
        for style, (arm, values) in zip(_styles(len(found)), found.items(), strict=True):
            mean = _geometric_mean if logarithmic else np.nanmean
            _mean_and_envelope(axes, values, style, arm_name(histories, arm), mean)
        axes.set_yscale("log" if logarithmic else "linear")
        axes.set_ylabel(words(locus_name(space, name)))
        _epoch_axis(axes, config, max(values.shape[1] for values in found.values()))
        axes.label_outer()
    panels[0].set_title(
        f"{config.run.name}: the best members' schedules, mean and range over seeds", loc="left"
    )
    panels[0].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return png(figure)


def _mean_and_envelope(
    axes: "Axes", values: np.ndarray, style: tuple[str, str], label: str, mean: Callable[..., np.ndarray]
) -> None:
    """Draw the mean and range of values, float (seeds, epochs), for epochs that half of the seeds have.

    NaN marks missing values. With fewer seeds the mean would jump at the end.
    """
    at = np.flatnonzero(np.isfinite(values).mean(0) >= 0.5)
    low, middle, high = (f(values[:, at], axis=0) for f in (np.nanmin, mean, np.nanmax))
    middle = middle.clip(low, high)  # the mean of equal values may differ from them by rounding
    at = at + 1  # epochs count from 1: a value is drawn at the epoch that it follows
    colour, line = style
    axes.fill_between(at, low, high, color=colour, alpha=0.08, lw=0)
    axes.plot(at, middle, color=colour, ls=line, lw=1.8, label=label)


def _epoch_axis(axes: "Axes", config: RunConfig, epochs: int) -> None:
    """Set up the x axis for the epochs of a line; a leg of a number of steps counts as an epoch."""
    steps = config.search.steps_per_generation
    generation_axis(axes, epochs, "epochs" if steps is None else f"legs of {steps} steps")
    axes.set_xlim(0.5, max(1, epochs) + 0.5)


def _geometric_mean(values: np.ndarray, axis: int) -> Any:
    return np.exp(np.nanmean(np.log(values), axis=axis))


def _styles(count: int) -> list[tuple[str, str]]:
    """Return a colour and a line style for each arm; the first 32 are distinct."""
    return [
        (COLOURS[number % len(COLOURS)], LINES[number // len(COLOURS) % len(LINES)])
        for number in range(count)
    ]
