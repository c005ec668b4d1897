"""What is drawn in the panels of a schedule plot. The pictures as files: test_products.py."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evodevo.report.plots import fom_plot, schedule_plot
from tests.report.steady import steady
from tests.run.fakes import config_of
from tests.run.handmade import Pen

LOCI: dict[str, Any] = {
    "learning_rate": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log", "initial": 0.02},
    "width": {"type": "int", "low": 1, "high": 9, "initial": 3},
    "kind": {"type": "choice", "choices": ["adam", 2, None, True], "initial": "adam"},
    "nesterov": {"type": "bool", "initial": True},
    "momentum": {"type": "float", "low": 0.0, "high": 1.0, "initial": 0.5, "when": {"kind": "adam"}},
    "constant": {"type": "fixed", "value": 3},
}


LOCI_GIVEN = {name: locus.get("initial", locus.get("value")) for name, locus in LOCI.items()}


class Drawn:
    """The figures that are drawn, by the labels of their panels."""

    def __init__(self) -> None:
        self.panels: dict[str, Axes] = {}

    def look(self, figure: Figure) -> None:
        self.panels |= {axes.get_ylabel(): axes for axes in figure.axes}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[Drawn]:
    found, save = Drawn(), Figure.savefig

    def look(figure: Figure, *arguments: Any, **more: Any) -> None:
        found.look(figure)
        save(figure, *arguments, **more)

    monkeypatch.setattr(Figure, "savefig", look)
    yield found


def points(axes: Axes) -> list[tuple[float, float]]:
    (scatter,) = axes.collections
    return [(float(x), float(y)) for x, y in scatter.get_offsets()]  # type: ignore[union-attr]


def line(axes: Axes) -> list[tuple[float, float]]:
    (drawn,) = axes.get_lines()
    return [(float(x), float(y)) for x, y in zip(*drawn.get_data(), strict=True)]


def pen_of_loci() -> Pen:
    """Two generations; the best member's line goes from a member without momentum to one with it."""
    pen = Pen(config_of(search__loci=LOCI, search__population=2))
    common = {"nesterov": True, "constant": 3, "momentum": 0.25}
    pen.births(
        None,
        None,
        genomes=[
            {**common, "learning_rate": 0.1, "width": 2, "kind": 2},
            {**common, "learning_rate": 0.01, "width": 3, "kind": "adam", "nesterov": False},
        ],
    )
    pen.done(g000s000=2.0, g000s001=3.0)
    pen.births(
        "g000s000",
        "g000s001",
        genomes=[
            {**common, "learning_rate": 0.2, "width": 5, "kind": "adam", "momentum": 0.5},
            {**common, "learning_rate": 0.02, "width": 1, "kind": None},
        ],
    )
    pen.done(g001s000=1.0)
    pen.diverged("g001s001")
    return pen


def test_there_is_one_panel_for_every_locus_that_evolves(drawn: Drawn) -> None:
    schedule_plot(pen_of_loci().history)
    assert set(drawn.panels) == {
        *("learning rate", "width", "kind", "nesterov", "momentum"),
        "relative fitness",
    }


def test_a_panel_shows_every_member_at_its_value_and_the_best_line(drawn: Drawn) -> None:
    schedule_plot(pen_of_loci().history)
    rate = drawn.panels["learning rate"]
    assert rate.get_yscale() == "log"
    assert points(rate) == [(0, 0.1), (0, 0.01), (1, 0.2), (1, 0.02)]
    assert line(rate) == [(0, 0.1), (1, 0.2)]
    assert drawn.panels["width"].get_yscale() == "linear"
    assert line(drawn.panels["width"]) == [(0, 2), (1, 5)]


def test_choices_and_bools_are_drawn_by_their_names(drawn: Drawn) -> None:
    schedule_plot(pen_of_loci().history)
    kind, nesterov = drawn.panels["kind"], drawn.panels["nesterov"]
    assert [label.get_text() for label in kind.get_yticklabels()] == ["adam", "2", "None", "True"]
    assert points(kind) == [(0, 1), (0, 0), (1, 0), (1, 2)]
    assert [label.get_text() for label in nesterov.get_yticklabels()] == ["False", "True"]
    assert points(nesterov) == [(0, 1), (0, 0), (1, 1), (1, 1)]


def test_a_conditional_locus_is_drawn_where_its_condition_holds(drawn: Drawn) -> None:
    schedule_plot(pen_of_loci().history)
    assert points(drawn.panels["momentum"]) == [(0, 0.25), (1, 0.5)]
    assert line(drawn.panels["momentum"]) == [(1, 0.5)]


def test_a_picture_grows_with_the_loci_and_one_without_any_is_a_picture() -> None:
    none = Pen(config_of(search__loci={"constant": LOCI["constant"]}, search__options={"initial": "given"}))
    none.births(None, None, genomes=[{"constant": 3}] * 2)
    heights = [int.from_bytes(schedule_plot(pen.history)[20:24]) for pen in (none, Pen(), pen_of_loci())]
    assert 200 <= heights[0] < heights[1] < heights[2] <= 3000


@pytest.mark.parametrize(("mode", "best"), [("min", [1.0, 0.5]), ("max", [4.0, 8.0])])
def test_the_foms_are_drawn_with_their_best_and_their_median(
    mode: str, best: list[float], drawn: Drawn
) -> None:
    pen = Pen(config_of(objective__mode=mode))
    pen.generation(*[None] * 4)
    pen.births(*["g000s003"] * 4)
    pen.done(g001s000=0.5, g001s001=1.0, g001s003=8.0)
    pen.failed("g001s002")
    fom_plot(pen.history)
    lines = {
        str(one.get_label()): list(one.get_ydata()) for one in drawn.panels["validation loss"].get_lines()
    }
    assert lines == {"median": [2.5, 1.0], "best": best}


def test_of_a_steady_run_every_fom_is_drawn_and_the_best_so_far(drawn: Drawn) -> None:
    fom_plot(steady(3.0, 4.0, None, 2.0, 5.0).history)
    axes = drawn.panels["validation loss"]
    found = {str(one.get_label()): list(zip(*one.get_data(), strict=True)) for one in axes.get_lines()}
    assert found == {
        "a member": [(0, 3.0), (1, 4.0), (3, 2.0), (4, 5.0)],
        "best so far": [(0, 3.0), (1, 3.0), (3, 2.0), (4, 2.0)],
    }
    assert axes.get_xlabel() == "member"
    assert axes.get_title(loc="left") == "small: 5 members"


def test_members_of_a_generation_at_work_are_drawn_without_fitness(drawn: Drawn) -> None:
    pen = pen_of_loci()
    pen.births(None, None, genomes=[LOCI_GIVEN] * 2)
    pen.done(g002s000=1.0)
    schedule_plot(pen.history)
    (scatter,) = drawn.panels["width"].collections
    assert points(drawn.panels["width"])[-1] == (2, LOCI_GIVEN["width"])
    colours = scatter.get_array()
    assert colours is not None
    assert list(np.isnan(np.ma.filled(colours, np.nan))) == [False] * 4 + [True]
