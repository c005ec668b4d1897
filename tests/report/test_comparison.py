"""A comparison in numbers: paired differences and their intervals, and what a table says of them."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evodevo.evolution.fitness import Mode
from evodevo.report.comparison import (
    ArmResult,
    Difference,
    Product,
    curves,
    mean_and_deviation,
    paired_difference,
    results_of,
    schedules,
)
from evodevo.report.comparison_page import (
    conclusion,
    how,
    matrices,
    results_csv,
    tables,
    verdict,
    write_comparison,
)
from evodevo.report.comparison_plots import _styles, fom_picture, schedules_picture
from evodevo.run.history import History
from tests.run.fakes import SECONDS, FakeCaller, carry_out, config_of, new_run
from tests.run.handmade import Pen

SEEDS = (0, 1, 2)
ARMS = {"original": "random_search", "tri_parent": "tri_parent", "truncation_pbt": "truncation_pbt"}


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[int, History]]:
    runs = tmp_path_factory.mktemp("runs")
    found: dict[str, dict[int, History]] = {}
    for arm, strategy in ARMS.items():
        for seed in SEEDS:
            config = config_of(search__strategy=strategy, run__seed=seed)
            run = new_run(runs / f"{arm}-{seed}", config)
            found.setdefault(arm, {})[seed] = carry_out(run, FakeCaller())
    return found


@pytest.mark.parametrize(("mode", "relative"), [("min", 0.25), ("max", -0.25)])
def test_an_improvement_is_the_part_of_the_references_mean_that_is_gained(
    mode: Mode, relative: float
) -> None:
    found = paired_difference([1.0, 2.0, 3.0], [2.0, 3.0, 3.0], mode)
    assert found.relative == pytest.approx(relative)


def test_where_every_seed_gains_the_same_the_interval_is_narrow_however_much_the_seeds_differ() -> None:
    found = paired_difference([9.0, 99.0, 999.0, 9999.0], [10.0, 100.0, 1000.0, 10000.0], "min")
    assert found.separated
    assert 0 < found.low < found.high <= 0.1
    shuffled = paired_difference([99.0, 9.0, 9999.0, 999.0], [10.0, 100.0, 1000.0, 10000.0], "min")
    assert not shuffled.separated


def test_the_interval_of_many_pairs_is_that_of_the_normal_distribution() -> None:
    gains = np.random.default_rng(1).normal(0.5, 1.0, size=400)
    found = paired_difference(list(10.0 - gains), [10.0] * 400, "min")
    half = 1.96 * gains.std() / 20 / 10
    assert found.low == pytest.approx(gains.mean() / 10 - half, abs=0.1 * half)
    assert found.high == pytest.approx(gains.mean() / 10 + half, abs=0.1 * half)


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """95 % of the time with many pairs; with ten the percentile bootstrap is known to be a little narrow."""
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(200):
        found = paired_difference(list(rng.normal(9.0, 1.0, 10)), [10.0] * 10, "min")
        covered += found.low <= 0.1 <= found.high
    assert 0.84 < covered / 200 < 0.98


def test_the_same_numbers_have_the_same_interval() -> None:
    one, other = (paired_difference([1.0, 2.0, 4.0], [2.0, 2.0, 3.0], "min") for _ in range(2))
    assert one == other


@pytest.mark.parametrize(
    ("low", "high", "separated"),
    [(0.1, 0.3, True), (-0.3, -0.1, True), (-0.1, 0.3, False), (0.0, 0.3, False)],
)
def test_a_difference_is_separated_where_its_interval_leaves_zero_out(
    low: float, high: float, separated: bool
) -> None:
    difference = Difference((low + high) / 2, low, high, 3)
    assert difference.separated == separated
    assert ("not significant" in difference.text()) != separated


def test_a_difference_is_told_in_percent() -> None:
    assert Difference(0.123, 0.05, 0.2, 3).text() == "+12.3 % [+5.0, +20.0]"
    assert Difference(-0.1, -0.3, 0.1, 3).text() == "-10.0 % [-30.0, +10.0], not significant"


def test_one_seed_shows_a_difference_and_separates_nothing() -> None:
    found = paired_difference([1.0], [2.0], "min")
    assert found.relative == 0.5
    assert not found.separated
    assert found.text() == "+50.0 % (no interval: a single seed)"


def test_two_seeds_have_no_interval() -> None:
    found = paired_difference([1.0, 1.5], [2.0, 2.0], "min")
    assert math.isnan(found.low) and math.isnan(found.high)
    assert found.text() == "+37.5 % (no interval: fewer than 3 seeds)"
    assert found.brief() == "(+37.5 %)"


@pytest.mark.parametrize(
    ("values", "reference", "text"),
    [
        ([0.2, 0.3, 0.3], [0.0, 0.1, 0.1], "+300.0 % (no interval: the reference is zero on some seeds)"),
        ([0.2, 0.3, 0.1], [0.0, 0.0, 0.0], "undefined: the reference is zero"),
        ([0.0, 0.0], [0.0, 0.0], "undefined: the reference is zero"),
        ([0.5], [0.0], "undefined: the reference is zero"),
        ([0.5, math.inf], [0.2, 0.3], "undefined: a value is not finite"),
        ([0.5, 0.1], [math.nan, 0.3], "undefined: a value is not finite"),
    ],
)
def test_nothing_is_separated_from_what_is_zero(
    values: list[float], reference: list[float], text: str
) -> None:
    found = paired_difference(values, reference, "max")
    assert not found.separated
    assert found.text() == text


def test_a_mean_has_the_samples_deviation() -> None:
    assert mean_and_deviation([1.0, 2.0, 3.0]) == "2 ± 1"
    assert mean_and_deviation([0.5]) == "0.5"


@pytest.mark.filterwarnings("error")
def test_a_mean_of_what_is_not_finite_is_said_without_deviation_and_warning() -> None:
    assert mean_and_deviation([1.0, math.inf]) == "inf"
    assert mean_and_deviation([-math.inf, math.inf]) == "nan"
    assert mean_and_deviation([1.0, math.nan]) == "nan"


def test_every_arm_is_told_with_its_cost_and_what_its_chosen_members_reached(
    histories: dict[str, dict[int, History]],
) -> None:
    for result in results_of(histories):
        own = histories[result.arm]
        best = [history.best for history in own.values()]
        assert result.metrics["validation_loss"] == [life.fom if life else None for life in best]
        assert result.metrics["test_loss"] == [history.test["test_loss"] for history in own.values()]
        assert result.member_epochs == 3 * 16
        assert result.seconds == pytest.approx(48 * sum(SECONDS.values()))


def test_a_curve_is_the_best_of_each_generation(histories: dict[str, dict[int, History]]) -> None:
    own = histories["tri_parent"]
    found = curves(own)
    assert found.shape == (3, 4)
    for row, history in zip(found, own.values(), strict=True):
        assert list(row) == [min(life.fom for life in lives if life.fom) for lives in history.generations]


def test_a_schedule_is_that_of_the_best_members_line_and_nothing_after_it(
    histories: dict[str, dict[int, History]],
) -> None:
    own = histories["tri_parent"]
    locus = next(name for name, one in own[0].config.space().loci.items() if one.type == "float")
    for row, history in zip(schedules(own, locus), own.values(), strict=True):
        assert history.best
        line = [life.birth.genome[locus] for life in history.line(history.best)]
        assert list(row[: len(line)]) == line
        assert np.isnan(row[len(line) :]).all()


def test_the_tables_hold_every_arm_and_every_comparison_that_was_asked_for(
    histories: dict[str, dict[int, History]],
) -> None:
    config = histories["original"][0].config
    reached, over, against = tables(config, results_of(histories))
    assert reached[0] == ["arm", "validation loss", "test loss", "member-epochs", "worker seconds"]
    assert [row[0] for row in reached[1]] == list(ARMS)
    assert (over[0][0], [row[0] for row in over[1]]) == (
        "improvement over original",
        ["tri_parent", "truncation_pbt"],
    )
    assert (against[0][0], [row[0] for row in against[1]]) == (
        "improvement of tri_parent over",
        ["original", "truncation_pbt"],
    )
    assert against[1][0][1:] == over[1][0][1:]
    pair = {arm: histories[arm] for arm in ("original", "tri_parent")}
    assert len(tables(config, results_of(pair))) == 2, "one difference is in two tables"
    only = tables(config, results_of({"truncation_pbt": histories["truncation_pbt"]}))
    assert len(only) == 1


def test_the_matrices_hold_every_arm_against_every_other_on_validation_and_test(
    histories: dict[str, dict[int, History]],
) -> None:
    config, results = histories["original"][0].config, results_of(histories)
    for (headings, rows), name in zip(
        matrices(config, results), ("validation_loss", "test_loss"), strict=True
    ):
        assert headings == [f"improvement in {name.replace('_', ' ')} over", *ARMS]
        assert [row[0] for row in rows] == list(ARMS)
        for row, one in zip(rows, results, strict=True):
            for cell, other in zip(row[1:], results, strict=True):
                difference = paired_difference(one.metrics[name], other.metrics[name], "min")
                assert cell == ("" if one is other else difference.brief())
    assert matrices(config, results[:2]) == []


def test_a_cell_of_a_matrix_has_parentheses_unless_zero_is_outside_the_interval() -> None:
    assert Difference(0.123, 0.05, 0.2, 3).brief() == "+12.3 % [+5.0, +20.0]"
    assert Difference(-0.1, -0.3, 0.1, 3).brief() == "(-10.0 % [-30.0, +10.0])"
    assert Difference(0.5, math.nan, math.nan, 1).brief() == "(+50.0 %)"
    assert Difference(math.nan, math.nan, math.nan, 3, finite=False).brief() == "-"


def verdict_of(mode: str = "min", **arms: list[float]) -> str:
    """Return the verdict if the arms reached these figures on the test split, by seed."""
    results = [
        ArmResult(
            arm,
            [Product("member", {"validation_loss": 1.0, "test_loss": one}, False) for one in values],
            1,
            1.0,
        )
        for arm, values in arms.items()
    ]
    return verdict(config_of(objective__mode=mode), results)


def test_the_verdict_says_by_the_test_split_what_the_subject_is_better_than() -> None:
    arms = {
        "original": [2.0, 2.1, 2.2],
        "tri_parent": [1.0, 1.1, 1.2],
        "cosine": [0.5, 0.6, 0.7],
        "random_search": [0.9, 1.2, 1.2],
        "truncation_pbt": [3.0, 3.0, 3.0],
    }
    assert verdict_of(**arms) == (
        "Verdict, by test loss: tri_parent is better than original, truncation_pbt; worse than cosine; "
        "not significantly different from random_search. With 3 seeds, all favour the same arm by chance in "
        "one case of four: use more seeds."
    )
    twice = {arm: 2 * values for arm, values in arms.items()}
    assert verdict_of("max", original=twice["original"], tri_parent=twice["tri_parent"]) == (
        "Verdict, by test loss: tri_parent is worse than original."
    )


def test_one_or_two_seeds_are_not_a_verdict_and_neither_is_a_comparison_without_the_subject() -> None:
    assert verdict_of(original=[2.0], tri_parent=[1.0]).startswith("Verdict: none, because one seed")
    assert verdict_of(original=[2.0, 2.0], tri_parent=[1.0, 1.0]) == (
        "Verdict: none. With 2 seeds, both favour the same arm by chance in one case of two: use more seeds."
    )
    assert verdict_of(original=[2.0, 2.0], cosine=[1.0, 1.0]) == ""
    assert verdict_of(tri_parent=[2.0, 2.0]) == ""


def test_the_page_has_the_tables_and_the_verdict_that_the_terminal_has(
    tmp_path: Path, histories: dict[str, dict[int, History]]
) -> None:
    config = histories["original"][0].config
    shown, said = conclusion(config, histories)
    assert shown == tables(config, results_of(histories))
    write_comparison(tmp_path / "out", config, histories)
    page = (tmp_path / "out" / "index.html").read_text()
    assert said.startswith("Verdict, by test loss: tri_parent is ")
    assert f"<p>{said}</p>" in page


def test_the_file_of_results_has_every_number_behind_the_tables(
    histories: dict[str, dict[int, History]],
) -> None:
    results = results_of(histories)
    rows = list(csv.DictReader(io.StringIO(results_csv(results, SEEDS))))
    assert [(row["arm"], int(row["seed"])) for row in rows] == [(arm, seed) for arm in ARMS for seed in SEEDS]
    read = [float(row["validation_loss"]) for row in rows]
    assert read == [value for one in results for value in one.metrics["validation_loss"]]


def test_no_name_of_an_arm_is_a_formula_in_the_file_of_results(
    histories: dict[str, dict[int, History]],
) -> None:
    results = [replace(one, arm=f"={one.arm}") for one in results_of(histories)]
    rows = list(csv.DictReader(io.StringIO(results_csv(results, SEEDS))))
    assert {row["arm"] for row in rows} == {f"'={arm}" for arm in ARMS}


def test_a_comparison_is_a_page_with_its_pictures_inside(
    tmp_path: Path, histories: dict[str, dict[int, History]]
) -> None:
    paths = write_comparison(tmp_path / "out", histories["original"][0].config, histories)
    assert sorted(path.name for path in paths) == [
        "comparison.json",
        "fom.png",
        "index.html",
        "results.csv",
        "schedules.png",
    ]
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "All pairs of arms" in page
    assert "improvement over original" in page
    assert "3 seeds (0, 1, 2)" in page
    assert "With 3 seeds, all favour the same arm by chance in one case of four: use more seeds." in page
    assert "strategy: truncation_pbt" in page
    for name in ("fom", "schedules"):
        assert (tmp_path / "out" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_chance_is_spoken_of_where_there_are_few_seeds(histories: dict[str, dict[int, History]]) -> None:
    config = histories["original"][0].config
    told = {count: "by chance" in how(config, range(count)) for count in (1, 2, 5, 6)}
    assert told == {1: False, 2: True, 5: True, 6: False}


def test_intervals_are_spoken_of_where_there_are_any(histories: dict[str, dict[int, History]]) -> None:
    config = histories["original"][0].config
    told = {count: "intervals" in how(config, range(count)) for count in (1, 2, 3)}
    assert told == {1: False, 2: False, 3: True}


@pytest.mark.filterwarnings("error")
def test_an_arm_that_keeps_its_value_is_drawn_without_a_warning() -> None:
    rate = {"type": "float", "low": 1e-5, "high": 1.0, "scale": "log", "initial": 1e-3}
    pen = Pen(config_of(search__loci={"rate": rate}))
    pen.births(None, None, genomes=[{"rate": 1e-3}] * 2)
    pen.done(g000s000=1.0, g000s001=1.0)
    for picture in (schedules_picture, fom_picture):
        assert picture(pen.config, {"original": dict.fromkeys(range(3), pen.history)}).startswith(b"\x89PNG")


def without_test(histories: dict[int, History]) -> dict[int, Any]:
    for history in histories.values():
        history.test = {}
    return histories


def test_runs_without_a_test_split_are_compared_by_validation_alone(tmp_path: Path) -> None:
    alone: dict[str, dict[int, History]] = {}
    for arm, strategy in list(ARMS.items())[:2]:
        run = new_run(tmp_path / arm, config_of(search__strategy=strategy))
        alone[arm] = without_test({0: carry_out(run, FakeCaller())})
    reached, over = tables(alone["original"][0].config, results_of(alone))
    assert reached[0] == ["arm", "validation loss", "member-epochs", "worker seconds"]
    assert over[0] == ["improvement over original", "in validation loss"]


def test_a_generation_without_a_fom_is_a_gap(histories: dict[str, dict[int, History]]) -> None:
    own: Sequence[Any] = histories["original"][0].generations[1]
    kept = [life.outcome for life in own]
    for life in own:
        life.outcome = None
    try:
        found = curves({0: histories["original"][0]})
    finally:
        for life, outcome in zip(own, kept, strict=True):
            life.outcome = outcome
    assert math.isnan(found[0, 1])
    assert not np.isnan(found[0, [0, 2, 3]]).any()


def test_no_two_arms_are_drawn_alike() -> None:
    assert len(set(_styles(32))) == 32
