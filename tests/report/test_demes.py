"""Demes in reports: migrations and their results, tables, summary, pictures."""

import csv
import io
import math
from typing import Any

import pytest
from matplotlib.figure import Figure

from evodevo.report.demes import Arrival, arrivals_of, deme_facts, deme_text, foms_by_deme, layout_of
from evodevo.report.demes_plot import demes_plot
from evodevo.report.live import picture_of
from evodevo.report.standing import fitness_by_member
from evodevo.report.summary import summary_lines
from evodevo.report.tables import history_csv
from evodevo.run.history import History
from evodevo.run.simulation import invented, play
from tests.run.fakes import config_of
from tests.run.handmade import Pen

DEMES = {"grid": [2], "every": 2}


def pen_of(**changes: Any) -> Pen:
    return Pen(config_of(search__demes=DEMES, search__population=6, search__generations=9, **changes))


def three_generations() -> Pen:
    """In the third generation a migrant of deme 0 has a child in deme 1, whose child is the best of all."""
    pen = pen_of()
    pen.generation(*[None] * 6, foms=(5.0, 6.0, 7.0, 8.0, 9.0, 10.0))
    first = [f"g000s00{slot}" for slot in range(6)]
    pen.generation(*first, foms=(3.0, 4.0, 5.0, 6.0, 7.0, 8.0))
    second = [f"g001s00{slot}" for slot in range(6)]
    pen.generation(*second[:5], second[0], foms=(3.0, 4.0, 5.0, 6.0, 7.0, 2.0))
    return pen


def played(**changes: Any) -> History:
    wanted = {"search__population": 12, "search__generations": 7, "search__demes": {"grid": [3], "every": 2}}
    config = config_of(**{**wanted, **changes})
    return play(config, invented, config.strategy)


def arrivals(history: History) -> list[tuple[int, str, int, int, str]]:
    return [(one.generation, one.migrant.id, one.origin, one.deme, one.fate) for one in arrivals_of(history)]


def test_migrants_are_known_with_what_came_of_them() -> None:
    assert arrivals(three_generations().history) == [
        (2, "g001s003", 1, 0, "died out"),
        (2, "g001s000", 0, 1, "led to the best"),
    ]


def test_a_line_that_is_not_the_best_lives_on_as_long_as_it_has_members_in_the_newest_generation() -> None:
    pen = three_generations()
    pen.births(*[f"g002s00{slot}" for slot in (0, 1, 2, 3, 5, 5)])
    pen.done(g003s000=1.0)
    assert [fate for *_, fate in arrivals(pen.history)] == ["died out", "lives on"]
    pen.births(*[f"g003s00{slot}" for slot in (0, 1, 2, 3, 3, 3)])
    second = [fate for generation, *_, fate in arrivals(pen.history) if generation == 2]
    assert second == ["died out", "died out"]


@pytest.mark.parametrize("changes", [{}, {"search__strategy": "truncation_pbt"}, {"search__inherit": "none"}])
def test_whoever_has_a_parent_in_another_deme_descends_from_a_migrant(changes: dict[str, Any]) -> None:
    history = played(**changes)
    layout = layout_of(history)
    assert layout
    came = {(one.generation, one.migrant.id, one.deme) for one in arrivals_of(history)}
    crossed = {
        (life.generation, parent, layout.deme_of(life.slot))
        for life in history.births
        for parent in (life.birth.parent_a, life.birth.parent_b, life.birth.parent_params)
        if parent and layout.deme_of(history.by_id[parent].slot) != layout.deme_of(life.slot)
    }
    assert crossed
    assert crossed <= came
    assert {generation for generation, _, _ in came} == {2, 4, 6}


def test_generations_that_begin_from_a_mean_have_no_migrants() -> None:
    pen = pen_of(search__recombine={"last": 0.5}, search__initialisation="shared")
    pen.generation(*[None] * 6, foms=(5.0, 6.0, 7.0, 8.0, 9.0, 10.0))
    pen.generation(*["g000s000"] * 6, foms=(5.0, 6.0, 7.0, 8.0, 9.0, 10.0))
    from evodevo.run.events import Averaging, mean_id

    pen.write(Averaging(mean_id(1), 1, ["g001s000", "g001s001"]))
    pen.done(**{mean_id(1): 4.0})
    pen.births(*[mean_id(1)] * 6)
    assert arrivals_of(pen.history) == []


def test_the_table_and_the_summary_have_demes_and_others_do_not() -> None:
    history = three_generations().history
    rows = list(csv.DictReader(io.StringIO(history_csv(history))))
    assert [row["deme"] for row in rows[:6]] == ["0", "0", "0", "1", "1", "1"]
    assert deme_facts(history) == {
        "demes": {"grid": [2], "best_foms": [3.0, 2.0], "line": [0, 1], "migrations": 2}
    }
    said = "2; the best of each: 3, 2; 2 migrations; the best member's line is of deme 0 → 1"
    assert deme_text(deme_facts(history)) == said
    assert ("demes", said) in summary_lines(history)
    without = Pen()
    without.generation(None, None, None, None)
    assert deme_facts(without.history) == {}
    assert "deme" not in history_csv(without.history).splitlines()[0].split(",")


def test_fitness_is_relative_to_the_own_deme_with_its_own_options() -> None:
    demes = {**DEMES, "options": {1: {"sigma": 1.0}}}
    pen = Pen(config_of(search__demes=demes, search__population=6, search__options={"sigma": 2.0}))
    pen.generation(*[None] * 6, foms=(1.0, 2.0, 3.0, 10.0, 11.0, 12.0))
    fitness = fitness_by_member(pen.history)
    expected = [1.0, math.exp(-1), math.exp(-2), 1.0, math.exp(-0.5), math.exp(-1)]
    assert list(fitness.values()) == pytest.approx(expected)


def test_foms_by_deme_leave_a_gap_for_what_is_not_done() -> None:
    pen = pen_of()
    pen.founders(6)
    pen.done(g000s001=2.0, g000s005=4.0)
    ((generation, foms),) = foms_by_deme(pen.history, layout_of(pen.history))  # type: ignore[arg-type]
    assert generation == 0
    assert [[None if math.isnan(fom) else fom for fom in own] for own in foms] == [
        [None, 2.0, None],
        [None, None, 4.0],
    ]


@pytest.mark.parametrize("grid", [[2], [1, 2], [2, 1], [2, 2], [3, 4], [40]])
def test_a_picture_has_a_panel_for_each_deme_as_in_the_grid(
    grid: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *a, **more: (drawn.append(figure), save(figure, *a, **more))[1]
    )
    count = math.prod(grid)
    history = played(search__demes={"grid": grid, "every": 1}, search__population=6 * count)
    assert demes_plot(history).startswith(b"\x89PNG")
    (figure,) = drawn
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title for title in titles if title] == (
        [f"deme {at}" for at in range(count)] if count < 37 else []
    )
    assert figure.axes[-1].get_ylabel() == "deme"


def test_a_picture_of_a_run_that_has_just_begun_is_drawn() -> None:
    pen = pen_of()
    assert demes_plot(pen.history).startswith(b"\x89PNG")
    pen.founders(6)
    assert demes_plot(pen.history).startswith(b"\x89PNG")


def test_the_live_page_gets_the_best_of_each_deme_and_migrants_by_their_fate() -> None:
    picture = picture_of(three_generations().history)
    assert picture.drawing.demes == 2
    columns = picture.columns
    assert list(columns["demes"]["best.0"]) == [5.0, 3.0, 3.0]
    assert list(columns["demes"]["best.1"]) == [8.0, 6.0, 2.0]
    moves = {
        kind: [float(columns[f"migrants.{kind}"][name][0]) for name in ("x0", "y0", "x1", "y1")]
        for kind in ("died_out", "best_steps")
    }
    assert moves == {"died_out": [1.0, 1.0, 2.0, 0.0], "best_steps": [1.0, 0.0, 2.0, 1.0]}
    assert not len(columns["migrants.ancestors"]["x0"])


def test_in_a_lineage_each_deme_has_its_block_of_places() -> None:
    columns = picture_of(three_generations().history).columns["population"]
    for slot, place in zip(columns["slot"], columns["place"], strict=True):
        assert slot // 3 == place // 3


def test_a_run_without_demes_has_no_such_columns() -> None:
    picture = picture_of(Pen().history)
    assert picture.drawing.demes == 0
    assert not [name for name in picture.columns if "deme" in name or "migrants" in name]


def test_an_arrival_is_of_a_member_of_another_deme() -> None:
    history = played()
    layout = layout_of(history)
    assert layout
    for one in arrivals_of(history):
        assert isinstance(one, Arrival)
        assert one.deme in layout.neighbours(one.origin)
        assert layout.deme_of(one.migrant.slot) == one.origin
