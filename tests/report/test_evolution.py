"""evolve.csv, hyp_evolved.yaml and evolve.png of runs that are written by hand."""

import csv
import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas
import pytest
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evodevo import yaml_text
from evodevo.evolution.hyp import DEFAULTS, KNOWN, loci_of
from evodevo.report.evolution import (
    FEW,
    YOLOV5_METRICS,
    density,
    evolve_csv,
    evolve_plot,
    hyp_evolved_yaml,
)
from evodevo.run.events import member_id
from evodevo.run.records import Outcome
from tests.golden import raises_golden
from tests.run.fakes import SECONDS, config_of
from tests.run.handmade import Pen, checkpoint

METRICS = dict(zip(YOLOV5_METRICS, [0.5, 0.25, 0.125, 0.123456789, 3.0, 1e-7, 12345678.0], strict=True))
LOCI: dict[str, Any] = {
    "rate": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log", "initial": 0.02},
    "layers": {"type": "int", "low": 1, "high": 6, "initial": 3},
    "kind": {"type": "choice", "choices": ["adam", "s,g,d"], "initial": "adam"},
    "momentum": {"type": "float", "low": 0.0, "high": 1.0, "initial": 0.5, "when": {"kind": "s,g,d"}},
    "constant": {"type": "fixed", "value": 0},
    "nesterov": {"type": "fixed", "value": True},
}
GIVEN = {name: locus.get("initial", locus.get("value")) for name, locus in LOCI.items()}


class Evolution(Pen):
    """One member per generation."""

    def __init__(self, loci: Mapping[str, Any] = LOCI, **changes: Any) -> None:
        options = {"initial": "given"}
        super().__init__(
            config_of(
                **{"search__loci": dict(loci), "search__options": options, "objective__mode": "max"} | changes
            )
        )

    def evaluated(self, fom: float, metrics: Mapping[str, float] | None = None, **values: Any) -> None:
        """The next one, which has these values and reports these metrics, or else its fom."""
        self.births(None, genomes=[{**self.config.space().given(), **values}])
        member = member_id(self._generation, 0)
        found = {self.config.objective.metric: fom} if metrics is None else metrics
        self.outcome(member, Outcome("done", fom, found, checkpoint(member), SECONDS))


class Looked:
    """The panels of the figures that are drawn, by the first word of their titles."""

    def __init__(self, figures: list[Figure]) -> None:
        self.panels: dict[str, Axes] = {
            axes.get_title().split()[0]: axes
            for figure in figures
            for axes in figure.axes
            if axes.get_title()
        }


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """All that are saved."""
    found: list[Figure] = []
    save = Figure.savefig

    def look(figure: Figure, *arguments: Any, **more: Any) -> None:
        found.append(figure)
        save(figure, *arguments, **more)

    monkeypatch.setattr(Figure, "savefig", look)
    return found


def of_yolov5(evaluations: int = 3) -> Evolution:
    """The best is the second."""
    values = {name: (KNOWN[name].low + KNOWN[name].high) / 3 for name in DEFAULTS}
    evolution = Evolution(loci_of(values)[0], objective__metric="validation_map")
    for number in range(evaluations):
        fom = 0.5 - abs(number - 1) / 10
        evolution.evaluated(
            fom, {**METRICS, "validation_map": fom, "train_loss": 1.0}, lr0=0.01 + number / 300
        )
    return evolution


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text))]


def test_the_columns_are_yolov5s_metrics_and_the_hyperparameters() -> None:
    head, *found = rows(evolve_csv(of_yolov5().history))
    assert head[:7] == [
        "metrics/precision", "metrics/recall", "metrics/mAP_0.5", "metrics/mAP_0.5:0.95",
        "val/box_loss", "val/obj_loss", "val/cls_loss",
    ]  # fmt: skip
    assert head[7:] == list(DEFAULTS)
    assert [row[:8] for row in found] == [
        ["0.5", "0.25", "0.125", "0.4", "3", "1e-07", "1.2346e+07", "0.01"],
        ["0.5", "0.25", "0.125", "0.5", "3", "1e-07", "1.2346e+07", "0.013333"],
        ["0.5", "0.25", "0.125", "0.4", "3", "1e-07", "1.2346e+07", "0.016667"],
    ]


def test_each_column_is_twenty_wide_and_right_aligned() -> None:
    lines = evolve_csv(of_yolov5().history).splitlines()
    assert len(lines) == 4
    for line in lines:
        cells = line.split(",")
        assert {len(cell) for cell in cells} == {20}
        assert len(cells) == 7 + len(DEFAULTS)
        assert not any(cell.endswith(" ") for cell in cells)
    assert lines[0].startswith("   metrics/precision,      metrics/recall,     metrics/mAP_0.5,")
    assert lines[1].startswith("                 0.5,                0.25,               0.125,")


def test_pandas_reads_it_as_the_tools_around_yolov5_do() -> None:
    table = pandas.read_csv(io.StringIO(evolve_csv(of_yolov5().history)), skipinitialspace=True)
    assert [name.strip() for name in table.columns] == [*YOLOV5_METRICS.values(), *DEFAULTS]
    assert set(map(str, table.dtypes)) <= {"float64", "int64"}
    assert int(table["metrics/mAP_0.5:0.95"].argmax()) == 1


def test_members_that_are_not_done_have_no_row() -> None:
    evolution = Evolution()
    for fate in ("diverged", "failed", "done", "pending"):
        evolution.births(None, genomes=[GIVEN])
        member = member_id(evolution._generation, 0)
        if fate == "done":
            evolution.done(**{member: 0.5})
        elif fate != "pending":
            getattr(evolution, fate)(member)
    evolution.births(None, genomes=[GIVEN])
    assert len(rows(evolve_csv(evolution.history))) == 2
    text = hyp_evolved_yaml(evolution.history)
    assert "# Best generation: 2\n# Last generation: 2\n" in text


def test_a_workload_with_other_metrics_has_its_own_columns() -> None:
    evolution = Evolution(objective__metric="validation_loss")
    evolution.evaluated(0.5, {"train_loss": 2.0, "validation_loss": 0.5})
    evolution.evaluated(0.25, {"validation_loss": 0.25, "validation_map": 0.125})
    head, *found = rows(evolve_csv(evolution.history))
    assert head[:4] == ["train_loss", "validation_loss", "validation_map", "rate"]
    assert [row[:4] for row in found] == [["2", "0.5", "", "0.02"], ["", "0.25", "0.125", "0.02"]]


def test_a_metric_that_one_member_could_not_report_leaves_an_empty_cell() -> None:
    evolution = of_yolov5(1)
    evolution.evaluated(0.5, {name: value for name, value in METRICS.items() if "box" not in name})
    head, first, second = rows(evolve_csv(evolution.history))
    assert head[4] == "val/box_loss"
    assert (first[4], second[4]) == ("3", "")
    assert first[5:7] == second[5:7]


def test_a_metric_that_is_not_finite_is_written_as_such() -> None:
    evolution = Evolution()
    evolution.evaluated(1.0, {"a": math.nan, "b": math.inf, "c": -math.inf})
    head, row = rows(evolve_csv(evolution.history))
    assert [cell.strip() for cell in head[:3]] == ["a", "b", "c"]
    assert [cell.strip() for cell in row[:3]] == ["nan", "inf", "-inf"]
    assert "                 nan," in hyp_evolved_yaml(evolution.history)


def test_a_list_is_written_as_json() -> None:
    layers = {"type": "choice", "choices": [["a", 2], [128]], "initial": [128]}
    evolution = Evolution({**LOCI, "layers": layers})
    evolution.evaluated(1.0, {}, layers=["a", 2])
    head, row = rows(evolve_csv(evolution.history))
    assert dict(zip(head, row, strict=True))["layers"].strip() == '["a", 2]'
    assert yaml_text.load(hyp_evolved_yaml(evolution.history))["layers"] == ["a", 2]
    assert evolve_plot(evolution.history).startswith(b"\x89PNG")


def test_text_is_written_as_it_is_and_what_did_not_count_is_empty() -> None:
    evolution = Evolution()
    evolution.evaluated(0.5, momentum=0.75)
    evolution.evaluated(0.5, momentum=0.75, kind="s,g,d")
    head, *found = rows(evolve_csv(evolution.history))
    assert head[1:] == list(LOCI)
    assert [row[1:] for row in found] == [
        ["0.02", "3", "adam", "", "0", "True"],
        ["0.02", "3", "s,g,d", "0.75", "0", "True"],
    ]


def test_without_a_member_that_is_done_there_is_no_best() -> None:
    evolution = Evolution()
    evolution.births(None, genomes=[GIVEN])
    evolution.diverged("g000s000")
    with raises_golden("report/no-member-done", ValueError):
        hyp_evolved_yaml(evolution.history)
    assert evolve_csv(evolution.history).count("\n") == 1
    assert evolve_plot(evolution.history).startswith(b"\x89PNG")


def test_numbers_that_no_plot_can_show_are_written_as_they_are() -> None:
    loci = {**LOCI, "far": {"type": "fixed", "value": 1.7e308}, "many": {"type": "fixed", "value": 10**400}}
    evolution = Evolution(loci)
    evolution.evaluated(0.5)
    assert rows(evolve_csv(evolution.history))[1][-2:] == ["1.7e+308", str(10**400)]
    assert evolve_plot(evolution.history).startswith(b"\x89PNG")


def test_the_header_names_best_and_last_generation_and_the_bests_metrics() -> None:
    lines = hyp_evolved_yaml(of_yolov5(5).history).splitlines()
    assert lines[:3] == [
        "# EvoDevo hyperparameter evolution: small",
        "# Best generation: 1",
        "# Last generation: 4",
    ]
    names, values = (line.removeprefix("# ").split(", ") for line in lines[3:5])
    assert [name.strip() for name in names] == list(YOLOV5_METRICS.values())
    assert [value.strip() for value in values] == ["0.5", "0.25", "0.125", "0.5", "3", "1e-07", "1.2346e+07"]
    assert {len(cell) for cell in (*names, *values)} == {20}
    assert lines[5] == ""
    assert lines[6].startswith("lr0: ")


def test_hyp_evolved_is_read_back_to_the_same_values() -> None:
    """By our reader and by PyYAML's, which is theirs and knows no floats without a dot."""
    evolution = of_yolov5(0)
    rng, space = np.random.default_rng(0), evolution.config.space()
    best = {name: locus.sample(rng) for name, locus in space.loci.items()} | {"lr0": 1e-5}
    evolution.evaluated(0.5, METRICS, **best)
    text = hyp_evolved_yaml(evolution.history)
    for load in (yaml_text.load, yaml.safe_load):
        values = load(text)
        assert list(values) == list(best)
        assert values == best
    loci = loci_of(yaml_text.load(text))[0]
    assert {name: locus.get("initial", locus.get("value")) for name, locus in loci.items()} == best


GIVEN_FILE = """\
# Evolved before
# Best generation: 3

# About this file

rate: 2.0e-2   # learning rate
# between two
layers: 3 # how many

kind: adam
"""


def test_hyp_evolved_keeps_the_comments_of_the_file_and_drops_results_of_an_evolution_before() -> None:
    loci = {name: LOCI[name] for name in ("rate", "layers", "kind", "constant")}
    evolution = Evolution(loci, search__hyp_text=GIVEN_FILE)
    evolution.evaluated(0.5, rate=0.0123, layers=4, kind="s,g,d")
    text = hyp_evolved_yaml(evolution.history)
    assert text.count("Best generation") == 1
    assert text.partition("\n\n")[2] == (
        "# About this file\n\nrate: 0.0123   # learning rate\n# between two\nlayers: 4 # how many\n\n"
        "kind: 's,g,d'\nconstant: 0\n"
    )


@pytest.mark.parametrize(("mode", "best"), [("max", 0.2), ("min", 0.1)])
def test_the_best_is_what_the_objective_says(mode: str, best: float) -> None:
    evolution = Evolution(objective__mode=mode)
    evolution.evaluated(1.0, rate=0.1)
    evolution.evaluated(2.0, rate=0.2)
    assert yaml_text.load(hyp_evolved_yaml(evolution.history))["rate"] == best


def test_there_is_a_panel_for_all_that_evolves_and_one_line_names_the_rest(figures: list[Figure]) -> None:
    evolution = Evolution()
    evolution.evaluated(0.5)
    evolve_plot(evolution.history)
    assert Looked(figures).panels.keys() == {"rate", "layers", "kind", "momentum"}
    assert figures[0].get_supxlabel() == "not evolved: constant = 0, nesterov = True"


def test_if_all_evolve_there_is_no_line_below_the_panels(figures: list[Figure]) -> None:
    evolution = Evolution({"rate": LOCI["rate"]})
    evolution.evaluated(0.5)
    evolve_plot(evolution.history)
    assert figures[0].get_supxlabel() == ""


def test_choices_are_drawn_at_their_names(figures: list[Figure]) -> None:
    flag = {"type": "bool", "initial": False}
    evolution = Evolution({**LOCI, "flag": flag})
    evolution.evaluated(0.5, flag=True)
    evolution.evaluated(0.75, kind="s,g,d")
    evolve_plot(evolution.history)
    for name, labels, points, best in [
        ("kind", ["adam", "s,g,d"], {(0, 0.5), (1, 0.75)}, "s,g,d"),
        ("flag", ["False", "True"], {(1, 0.5), (0, 0.75)}, "False"),
    ]:
        axes = Looked(figures).panels[name]
        assert [label.get_text() for label in axes.get_xticklabels()] == labels
        assert {tuple(map(float, at)) for at in axes.collections[0].get_offsets()} == points  # type: ignore[union-attr]
        assert list(axes.get_lines()[0].get_xdata()) == [labels.index(best)]
        assert axes.get_title() == f"{name} = {best}"


def test_a_panel_has_every_value_with_its_fom_and_the_best_marked(figures: list[Figure]) -> None:
    evolution = Evolution()
    for fom, rate, layers in [(0.25, 0.1, 1), (0.75, 0.01, 2), (0.5, 0.1, 3)]:
        evolution.evaluated(fom, rate=rate, layers=layers)
    evolve_plot(evolution.history)
    for name, points, best in [
        ("rate", {(0.1, 0.25), (0.01, 0.75), (0.1, 0.5)}, (0.01, 0.75)),
        ("layers", {(1, 0.25), (2, 0.75), (3, 0.5)}, (2, 0.75)),
    ]:
        axes = Looked(figures).panels[name]
        assert {tuple(map(float, at)) for at in axes.collections[0].get_offsets()} == points  # type: ignore[union-attr]
        (mark,) = axes.get_lines()
        assert (mark.get_xdata()[0], mark.get_ydata()[0]) == best  # type: ignore[index]
        assert axes.get_title() == f"{name} = {best[0]:g}"
    rate = Looked(figures).panels["rate"]
    assert rate.get_xscale() == "log"
    assert not any(label.get_text() for label in rate.get_xticklabels(minor=True)), "they would overlap"


def test_values_within_a_decade_have_an_even_axis(figures: list[Figure]) -> None:
    evolution = Evolution()
    for rate in (0.02, 0.03):
        evolution.evaluated(0.5, rate=rate)
    evolve_plot(evolution.history)
    assert Looked(figures).panels["rate"].get_xscale() == "linear"


def test_zeros_that_cannot_evolve_have_no_panel(figures: list[Figure]) -> None:
    values = {"mixup": 0.0, "fliplr": 0.5}
    loci, gains = loci_of(values)
    evolution = Evolution(
        loci, search__strategy="mutate_best", search__population=1, search__options={"gains": gains}
    )
    evolution.evaluated(0.5)
    evolution.evaluated(0.75, scale=0.25)
    evolve_plot(evolution.history)
    panels, below = Looked(figures).panels, figures[0].get_supxlabel().replace("\n", " ")
    assert "scale" in panels and not {"mixup", "fliplr"} & panels.keys()
    assert "mixup = 0, " in below and "fliplr = 0.5, " in below and "scale" not in below


@pytest.mark.parametrize("count", [FEW - 1, FEW])
def test_few_points_have_one_dark_colour_and_no_scale_and_many_have_dark_ones(
    figures: list[Figure], count: int
) -> None:
    evolution = Evolution({"rate": LOCI["rate"]})
    draw = np.random.default_rng(0)
    for value in draw.uniform(0.01, 0.02, count):
        evolution.evaluated(float(value), rate=float(value))
    evolve_plot(evolution.history)
    (points,) = Looked(figures).panels["rate"].collections
    (figure,) = figures
    figure.draw_without_rendering()
    colours = {tuple(colour) for colour in points.get_facecolor()}
    assert (len(colours) > 1) == (count == FEW)
    assert max(0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue, _ in colours) < 0.65
    assert len(figure.axes) == (2 if count == FEW else 1)


def test_a_condition_that_does_not_hold_leaves_a_member_out_of_a_panel(figures: list[Figure]) -> None:
    evolution = Evolution()
    evolution.evaluated(0.5, momentum=0.25, kind="s,g,d")
    evolution.evaluated(0.75, momentum=0.75)
    evolve_plot(evolution.history)
    axes = Looked(figures).panels["momentum"]
    assert axes.collections[0].get_offsets().tolist() == [[0.25, 0.5]]  # type: ignore[union-attr]
    assert axes.get_title() == "momentum"


@pytest.mark.parametrize(
    "foms", [[0.5], [0.5] * 4, [1e-9, 1e9], [-1e300, 1e300]], ids=["one", "equal", "far", "farther"]
)
def test_any_foms_make_a_picture(foms: list[float]) -> None:
    evolution = Evolution()
    for fom in foms:
        evolution.evaluated(fom)
    assert evolve_plot(evolution.history).startswith(b"\x89PNG")


def test_a_run_without_any_number_among_its_hyperparameters_makes_a_picture() -> None:
    evolution = Evolution({"kind": LOCI["kind"], "nesterov": LOCI["nesterov"]})
    evolution.evaluated(0.5)
    assert evolve_plot(evolution.history).startswith(b"\x89PNG")


def test_density_is_highest_where_most_points_are() -> None:
    rng = np.random.default_rng(0)
    crowd, few = rng.normal(0, 0.1, (2, 200)), rng.normal(3, 0.1, (2, 20))
    found = density(*np.concatenate([crowd, few, [[9.0], [9.0]]], 1))
    assert found.max() == 1.0
    assert 0 < found[-1] < found[200:220].mean() < found[:200].mean()


def test_density_does_not_depend_on_the_units_of_the_axes() -> None:
    x, y = np.random.default_rng(1).normal(size=(2, 50))
    assert density(1e6 * x, 1e-6 * y) == pytest.approx(density(x, y))


def test_the_density_of_one_point_is_all() -> None:
    assert density(np.array([3.0]), np.array([0.0])).tolist() == [1.0]
