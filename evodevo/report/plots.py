"""Plots of a run: its foms, and the values of each hyperparameter with the best line."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evodevo.report.colours import ACCENT, INK, NOT_YET
from evodevo.report.fonts import further_families
from evodevo.report.naming import labels, locus_name, metric_name, words
from evodevo.report.standing import fitness_by_member, fom_scale, foms_by_generation
from evodevo.run.files import Missing
from evodevo.run.history import History
from evodevo.run.life import Life

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def drawn(draw: Callable[[], bytes]) -> bytes | Missing:
    """Return the picture as PNG, or the reason why it failed, as names and numbers of users may break it."""
    try:
        return draw()
    except Exception as why:
        return Missing(f"could not be drawn: {type(why).__name__}: {why}")


def fom_plot(history: History) -> bytes:
    """Draw best, median and range of each generation's foms as PNG; without generations, all foms."""
    figure = new_figure(8, 4.5)
    axes = figure.subplots()
    foms, config, count = foms_by_generation(history), history.config, len(history.generations)
    at = foms["generation"]
    if not history.in_generations:
        found = [life.fom for life in history.lives() if life.fom is not None]
        axes.plot(at, found, "o", color=INK, ms=4, alpha=0.6, label="a member")
        axes.step(at, foms["best"], where="post", color=ACCENT, lw=2, label="best so far")
        size = f"{count} members"
    else:
        axes.fill_between(at, foms["low"], foms["high"], color=INK, alpha=0.15, lw=0, label="all members")
        axes.plot(at, foms["median"], color=INK, lw=1.5, label="median")
        axes.plot(at, foms["best"], color=ACCENT, lw=2, label="best")
        size = f"{config.search.population} members, {count} generations"
    if at:
        axes.legend(frameon=False)
        axes.set_yscale(fom_scale(foms["low"], foms["high"]))
    generation_axis(axes, count, "generation" if history.in_generations else "member")
    axes.set_ylabel(metric_name(config))
    axes.set_title(f"{config.run.name}: {size}", loc="left")
    return png(figure)


def schedule_plot(history: History) -> bytes:
    """Draw one panel per hyperparameter: all members by fitness, and the best one's schedule, as PNG."""
    space = history.config.space()
    names = [name for name, locus in space.loci.items() if locus.evolves]
    figure = new_figure(8, 1 + 2.3 * max(1, len(names)))
    panels: Any = figure.subplots(max(1, len(names)), sharex=True, squeeze=False)[:, 0]
    lives = [life for life in history.lives() if life.outcome]
    fitness = fitness_by_member(history)
    points = None
    for axes, name in zip(panels, names, strict=False):
        height = _value_axis(axes, space.loci[name])
        shown = [life for life in lives if space.active(name, life.birth.genome)]
        points = _draw_members(axes, shown, [height(life.birth.genome[name]) for life in shown], fitness)
        if history.best:
            line = [life for life in history.line(history.best) if space.active(name, life.birth.genome)]
            _draw_line(axes, line, [height(life.birth.genome[name]) for life in line])
        axes.set_ylabel(words(locus_name(space, name)))
        generation_axis(axes, len(history.generations))
        axes.label_outer()
    if points is not None:
        figure.colorbar(points, ax=list(panels), label="relative fitness", shrink=0.6)
        panels[0].set_title(f"{history.config.run.name}: {_schedule_title(history)}", loc="left")
    return png(figure)


def _schedule_title(history: History) -> str:
    """Return what the plot of the schedule shows: the best line, or all members of a search from scratch."""
    if not history.inherits:
        return f"all members; the best is {history.best.id}" if history.best else "all members"
    return f"the schedule of {history.best.id}" if history.best else "the schedule"


def _draw_members(
    axes: "Axes", lives: Sequence[Life], heights: Sequence[float], fitness: Mapping[str, float]
) -> Any:
    """Draw the values of members, coloured by fitness; return the points, for a colour bar."""
    import matplotlib

    return axes.scatter(
        [life.generation for life in lives],
        heights,
        c=[fitness.get(life.id, math.nan) for life in lives],
        plotnonfinite=True,
        cmap=matplotlib.colormaps["viridis"].with_extremes(bad=NOT_YET),
        vmin=0,
        vmax=1,
        s=14,
        alpha=0.8,
        lw=0,
    )


def _draw_line(axes: "Axes", line: Sequence[Life], heights: Sequence[float]) -> None:
    """Draw the values of the members on a line of descent, connected."""
    axes.plot(
        [life.generation for life in line], heights, color=ACCENT, lw=2, marker="o", ms=4, label="best line"
    )


def _value_axis(axes: "Axes", locus: Any) -> Callable[[Any], Any]:
    """Set up the y axis for a locus; return a function that maps its values to heights."""
    if locus.labels:
        axes.set_yticks(range(len(locus.labels)), labels(locus))
        axes.set_ylim(-0.5, len(locus.labels) - 0.5)
        place: Callable[[Any], Any] = locus.index
        return place
    axes.set_yscale(locus.scale)
    if locus.type == "int" and locus.scale == "linear":
        from matplotlib.ticker import MaxNLocator

        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return lambda value: value


def generation_axis(axes: "Axes", count: int, label: str = "generation") -> None:
    """Set up the x axis for `count` generations."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(label)
    axes.set_xlim(-0.5, max(1, count) - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of a size in inches; matplotlib is imported only by processes that draw."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def png(figure: "Figure") -> bytes:
    """Return the figure as a PNG file, with fonts that have the characters of its texts."""
    import matplotlib
    from matplotlib.text import Text

    texts: list[Any] = figure.findobj(Text)
    if further := further_families(text.get_text() for text in texts):
        for text in texts:
            text.set_fontfamily([*matplotlib.rcParams["font.family"], *further])
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()
