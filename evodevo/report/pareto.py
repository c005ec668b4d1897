"""Plot members by fom and number of parameters, with their Pareto front."""

from collections.abc import Sequence
from dataclasses import dataclass

from evodevo.report.colours import ACCENT, INK
from evodevo.report.naming import metric_name
from evodevo.report.plots import new_figure, png
from evodevo.report.standing import fom_scale
from evodevo.run.history import History

SIZE = "parameters"


@dataclass(frozen=True)
class Point:
    """A member that is done and reported its parameters."""

    member: str
    parameters: float
    fom: float


def points_of(history: History) -> list[Point]:
    """Return the members whose number of parameters is known, oldest first."""
    return [
        Point(life.id, life.outcome.metrics[SIZE], life.fom)
        for life in history.lives()
        if life.outcome and life.fom is not None and SIZE in life.outcome.metrics
    ]


def differ_in_size(history: History) -> bool:
    """Return whether members differ in their numbers of parameters, so that there is something to draw."""
    return len({point.parameters for point in points_of(history)}) > 1


def front_of(points: Sequence[Point], mode: str) -> list[Point]:
    """Return the Pareto front, smallest first: each point is better than all that are not larger."""
    sign = 1 if mode == "min" else -1
    front: list[Point] = []
    for point in sorted(points, key=lambda one: (one.parameters, sign * one.fom)):
        if not front or sign * point.fom < sign * front[-1].fom:
            front.append(point)
    return front


def pareto_plot(history: History) -> bytes:
    """Draw every member's fom against its parameters as PNG, with the front, the original and the best.

    The original is the first member if it has the values given in the config.
    """
    points, config = points_of(history), history.config
    front = front_of(points, config.objective.mode)
    figure = new_figure(8, 4.5)
    axes = figure.subplots()
    sizes, foms = [point.parameters for point in points], [point.fom for point in points]
    axes.plot(sizes, foms, "o", color=INK, ms=4, alpha=0.5, lw=0, label="a member")
    x, y = [point.parameters for point in front], [point.fom for point in front]
    axes.step([*x, max(sizes)], [*y, y[-1]], where="post", color=ACCENT, lw=2, label="Pareto front")
    for name, member, marker in _marked(history):
        found = next((point for point in points if point.member == member), None)
        if found:
            at = [found.parameters], [found.fom]
            axes.plot(*at, marker, ms=11, mfc="none", mec=ACCENT, mew=2, lw=0, label=name)
    axes.set_xscale("log")
    axes.set_yscale(fom_scale(foms, foms))
    axes.set_xlabel("parameters")
    axes.set_ylabel(metric_name(config))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    axes.set_title(f"{config.run.name}: fom by size", loc="left")
    return png(figure)


def _marked(history: History) -> list[tuple[str, str, str]]:
    """Return label, member and marker of the original and the best, if they exist."""
    space, first = history.config.space(), next(history.lives(), None)
    found = []
    if first and not space.without_initial() and first.birth.genome == space.given():
        found.append(("the original", first.id, "s"))
    return found + ([("the best", history.best.id, "D")] if history.best else [])
