"""Write the files of YOLOv5's hyperparameter evolution: evolve.csv, hyp_evolved.yaml and evolve.png.

They exist for runs in which every member is trained from scratch, so that its fom is a function of its
hyperparameters alone. Members that failed or diverged are left out. The first two are written after every
member (`write_evolution`), all three at the end and by `evodevo report`.
"""

import csv
import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evodevo import yaml_text
from evodevo.evolution.space import Space, text_of
from evodevo.evolution.strategies import STRATEGIES
from evodevo.report.colours import ACCENT, INK
from evodevo.report.naming import labels, locus_name, metric_name, plain
from evodevo.report.plots import new_figure, png
from evodevo.run import files
from evodevo.run.history import History, load_history
from evodevo.run.journal import JOURNAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

YOLOV5_METRICS = {
    "validation_precision": "metrics/precision",
    "validation_recall": "metrics/recall",
    "validation_map50": "metrics/mAP_0.5",
    "validation_map": "metrics/mAP_0.5:0.95",
    "validation_box_loss": "val/box_loss",
    "validation_obj_loss": "val/obj_loss",
    "validation_cls_loss": "val/cls_loss",
}
"""Metric of this package -> YOLOv5's name for it."""
CSV, YAML = "evolve.csv", "hyp_evolved.yaml"
MOST_COLUMNS = 5
COLOURS, DARKEST_PART = "plasma", 0.75
"""A colour map, and the fraction of it that is visible on white."""
FEW = 30
"""With fewer members a density is meaningless, and all points have one colour."""
BINS = 40
DECADE = 10.0
CHARACTERS_PER_INCH = 15
"""Number of characters of small text that fit into an inch of a line."""
ABREAST = 20
"""Number of characters of labels that fit side by side below a panel."""
LARGEST = 1e300
"""Larger numbers are written unformatted."""
SPREAD = 2.5
"""Standard deviation of the Gaussian that smooths the density, in bins."""


@dataclass(frozen=True)
class Evaluation:
    """A member that is done; `hyperparameters` are the expressed ones."""

    generation: int
    fom: float
    metrics: Mapping[str, float]
    hyperparameters: Mapping[str, Any]
    best: bool


def evolve_csv(history: History) -> str:
    """Return one row per finished member, oldest first: metrics and hyperparameters, 20 characters each.

    The metrics are YOLOv5's seven, by its names, if all of them are reported, and otherwise the workload's.
    """
    evaluations = _evaluations(history)
    metrics = _metrics(evaluations)
    names = [name for name, locus in history.config.space().loci.items() if locus.expressed]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_cell, [*metrics.values(), *names]))
    for one in evaluations:
        values = [*map(one.metrics.get, metrics), *map(one.hyperparameters.get, names)]
        writer.writerow(map(_cell, values))
    return text.getvalue()


def hyp_evolved_yaml(history: History) -> str:
    """Return the best member's exact hyperparameters as YAML, under a header with the state of the evolution.

    Raises `ValueError` if no member is done.
    """
    evaluations = _evaluations(history)
    best = next((one for one in evaluations if one.best), None)
    if best is None:
        raise ValueError("no member is done yet")
    metrics = _metrics(evaluations)
    header = [
        f"EvoDevo hyperparameter evolution: {history.config.run.name}",
        f"Best generation: {best.generation}",
        f"Last generation: {evaluations[-1].generation}",
        ", ".join(map(_cell, metrics.values())),
        ", ".join(map(_cell, map(best.metrics.get, metrics))),
    ]
    given, values = history.config.search.hyp_text, best.hyperparameters
    body = yaml_text.with_values(without_results(given), values) if given else yaml_text.dump(dict(values))
    return "".join(f"# {line}\n" for line in header) + "\n" + body


def without_results(text: str) -> str:
    """Return the text of a hyp.yaml without the header of an earlier evolution."""
    head = re.match(r"(?:#.*\n)+\n*", text)
    return text[head.end() :] if head and "# Best generation:" in head[0] else text


def write_evolution(directory: Path) -> None:
    """Write evolve.csv and hyp_evolved.yaml for the current state of the run in `directory`, each atomically.

    Nothing is written until a member is done. Raises `OSError`, and `UsageError` for a damaged journal.
    """
    history = load_history(directory / JOURNAL)
    if history.best:
        contents = {CSV: evolve_csv(history), YAML: hyp_evolved_yaml(history)}
        files.replace_all({directory / name: text for name, text in contents.items()})


def evolve_plot(history: History) -> bytes:
    """Draw each member's fom against each hyperparameter that evolves, with one panel for each, as PNG.

    With `FEW` members or more, the colour of a point shows the density of points around it, relative to the
    panel's maximum. The best member is marked, and its value is in the title. Below the panels is a list of
    the hyperparameters that do not evolve.
    """
    evaluations = _evaluations(history)
    space = history.config.space()
    known = history.config.search.strategy in STRATEGIES
    immovable = history.config.strategy().immovable() if known else {}
    expressed = {name: locus for name, locus in space.loci.items() if locus.expressed}
    loci = {name: locus for name, locus in expressed.items() if locus.evolves and name not in immovable}
    columns = max(1, min(MOST_COLUMNS, len(loci)))
    rows = max(1, -(-len(loci) // columns))
    width = max(6.0, 3.0 * columns)
    others = _others(space, [name for name in expressed if name not in loci], width)
    figure = new_figure(width, 0.8 + 2.3 * rows + 0.15 * len(others))
    panels = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    for number, (axes, (name, locus)) in enumerate(zip(panels, loci.items(), strict=False)):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        if number % columns == 0:
            axes.set_ylabel(metric_name(history.config))
        having = [one for one in evaluations if name in one.hyperparameters]
        _draw_panel(axes, locus_name(space, name), name, locus, having)
    for axes in panels[len(loci) :]:
        axes.remove()
    if loci and len(evaluations) >= FEW:
        from matplotlib.cm import ScalarMappable

        label = "density of members,\nrelative to the panel's maximum"
        colours, shown = ScalarMappable(cmap=_colours()), panels[: len(loci)]
        figure.colorbar(colours, ax=shown, label=label, shrink=0.5, fraction=0.02, pad=0.01)
    if others:
        figure.supxlabel("\n".join(others), x=0.01, ha="left", fontsize=8)
    best = f", the best (+) of generation {history.best.generation}" if history.best else ""
    count = f"{len(evaluations)} evaluation{'' if len(evaluations) == 1 else 's'}"
    figure.suptitle(f"{history.config.run.name}: {count}{best}", x=0.01, ha="left", fontsize=11)
    return png(figure)


def density(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the density around each of one or more points, float (n,) in (0, 1], relative to the maximum.

    Points are counted on a grid over their range, and the counts are smoothed with a Gaussian.
    """
    counts, *edges = np.histogram2d(x, y, bins=BINS)
    steps = np.arange(BINS)
    kernel = np.exp(-0.5 * ((steps[:, None] - steps) / SPREAD) ** 2)
    row, column = (np.digitize(values, edge[1:-1]) for values, edge in zip((x, y), edges, strict=True))
    found: np.ndarray = (kernel @ counts @ kernel)[row, column]
    found /= found.max()
    return found


def _colours() -> "Colormap":
    import matplotlib
    from matplotlib.colors import ListedColormap

    return ListedColormap(matplotlib.colormaps[COLOURS](np.linspace(0, DARKEST_PART, 256)))


def _others(space: Space, names: Sequence[str], width: float) -> list[str]:
    """Return the text below a figure of that width in inches, in lines: names and values of these loci."""
    found = [f"{locus_name(space, name)} = {_value(space.loci[name].initial)}" for name in names]
    text = f"not evolved: {', '.join(found)}" if found else ""
    return textwrap.wrap(text, int(width * CHARACTERS_PER_INCH))


def _draw_panel(axes: "Axes", title: str, name: str, locus: Any, evaluations: Sequence[Evaluation]) -> None:
    axes.set_title(title, fontsize=9)
    if not evaluations:
        return

    def place(value: Any) -> float:
        return float(locus.index(value) if locus.labels else value)

    x = np.array([place(one.hyperparameters[name]) for one in evaluations], float)
    y = np.array([one.fom for one in evaluations])
    wide = not locus.labels and locus.scale == "log" and x.max() >= DECADE * x.min()
    if locus.labels:
        axes.set_xticks(range(len(locus.labels)), labels(locus))
        if sum(map(len, labels(locus))) > ABREAST:
            axes.tick_params(axis="x", labelrotation=25)
        axes.set_xlim(-0.5, len(locus.labels) - 0.5)
    elif wide:
        from matplotlib.ticker import NullFormatter

        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())  # over one or two decades they would overlap
    else:  # a logarithmic axis has few labels within a decade
        from matplotlib.ticker import MaxNLocator, StrMethodFormatter

        axes.xaxis.set_major_locator(MaxNLocator(4, integer=locus.type == "int"))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.4g}"))
    if len(x) < FEW:
        axes.scatter(x, y, color=INK, s=18, alpha=0.8, lw=0)
    else:
        crowd = density(np.log(x) if wide else x, y)
        order = crowd.argsort(kind="stable")
        x, y, crowd = x[order], y[order], crowd[order]
        axes.scatter(x, y, c=crowd, cmap=_colours(), vmin=0, vmax=1, s=18, alpha=0.8, lw=0)
    for one in evaluations:
        if one.best:
            value = one.hyperparameters[name]
            axes.plot([place(value)], [one.fom], "P", color=ACCENT, ms=10, mec="black", mew=0.8)
            said = labels(locus)[locus.index(value)] if locus.labels else format(value, ".4g")
            axes.set_title(f"{title} = {said}", fontsize=9)


def _evaluations(history: History) -> list[Evaluation]:
    space = history.config.space()
    return [
        Evaluation(
            life.generation,
            life.outcome.fom,
            life.outcome.metrics,
            space.express(life.birth.genome),
            life is history.best,
        )
        for life in history.lives()
        if life.outcome and life.outcome.status == "done" and life.outcome.fom is not None
    ]


def _metrics(evaluations: Sequence[Evaluation]) -> dict[str, str]:
    """Return the metrics to show, with the names of their columns."""
    reported = dict.fromkeys(name for one in evaluations for name in one.metrics)
    return YOLOV5_METRICS if YOLOV5_METRICS.keys() <= reported.keys() else {name: name for name in reported}


def _cell(value: Any) -> str:
    """Return a right-aligned cell: a number with five digits, text unchanged, blank for None."""
    if _is_number(value):
        return f"{value:20.5g}"
    return f"{'' if value is None else text_of(value):>20}"


def _value(value: Any) -> str:
    """Return a hyperparameter's value as a short text for a picture."""
    return f"{value:.4g}" if _is_number(value) else plain(text_of(value), "?")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
