"""The runs of a comparison: the product of each, generations of different lengths, the file for programs."""

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from evodevo.evolution.fitness import Mode
from evodevo.report.comparison import curves, paired_difference, product_of, results_of, schedules
from evodevo.report.comparison_page import arms_of, results_csv, tables, write_comparison
from evodevo.report.comparison_plots import fom_picture, schedules_picture
from evodevo.run.events import Ended, Soup, member_id
from evodevo.run.history import History
from tests.run.fakes import config_of
from tests.run.handmade import Pen, checkpoint

SEEDS = (0, 1, 2)


def ended_with(
    soup_fom: float, of: Sequence[str] = ("g000s000", "g000s001"), mode: str = "min", **changes: Any
) -> History:
    """A run whose best member has fom 1 and test loss 9; its soup has that fom and test loss 5."""
    pen = Pen(config_of(objective__mode=mode, **changes))
    pen.births(None, None)
    pen.done(g000s000=1.0, g000s001=2.0 if mode == "min" else 0.5)
    metrics, test = {"validation_loss": soup_fom}, {"test_loss": 5.0}
    pen.write(Ended("done", None, {"test_loss": 9.0}, Soup(of, soup_fom, metrics, test, checkpoint("soup"))))
    return pen.history


@pytest.mark.parametrize(
    ("mode", "soup_fom", "of", "kind"),
    [
        ("min", 0.9, ("g000s000", "g000s001"), "soup"),
        ("min", 1.1, ("g000s000", "g000s001"), "member"),
        ("min", 1.0, ("g000s000", "g000s001"), "member"),
        ("min", 0.9, ("g000s000",), "member"),
        ("min", math.nan, ("g000s000", "g000s001"), "member"),
        ("max", 0.9, ("g000s000", "g000s001"), "member"),
        ("max", 1.1, ("g000s000", "g000s001"), "soup"),
    ],
)
def test_the_product_is_the_soup_where_it_is_better_by_validation_and_of_several_members(
    mode: Mode, soup_fom: float, of: Sequence[str], kind: str
) -> None:
    found = product_of(ended_with(soup_fom, of, mode))
    expected = {"soup": {"validation_loss": soup_fom, "test_loss": 5.0}}.get(
        kind, {"validation_loss": 1.0, "test_loss": 9.0}
    )
    assert (found.kind, found.metrics, found.soup_made) == (kind, expected, True)


def test_the_tables_have_the_products_figures_and_say_in_how_many_seeds_that_is_the_soup() -> None:
    souped = {seed: ended_with(fom) for seed, fom in enumerate((0.8, 1.2, 0.8))}
    pen = Pen()
    pen.births(None, None)
    pen.done(g000s000=1.0, g000s001=2.0)
    pen.end("done", test_loss=9.0)
    found: dict[str, dict[int, History]] = {
        "original": dict.fromkeys(SEEDS, pen.history),
        "tri_parent": souped,
    }
    results = results_of(found)
    (headings, rows), over = tables(pen.config, results)
    at = headings.index("soup chosen in")
    assert [row[at] for row in rows] == ["", "2 of 3 seeds"]
    assert results[1].metrics == {"validation_loss": [0.8, 1.0, 0.8], "test_loss": [5.0, 9.0, 5.0]}
    assert over[1][0][2].startswith("+29.6 %")  # (4 + 0 + 4) / 27
    read = list(csv.DictReader(io.StringIO(results_csv(results, SEEDS))))
    assert [row["product"] for row in read] == ["member"] * 3 + ["soup", "member", "soup"]


def test_the_file_for_programs_has_each_runs_product_and_every_difference(
    tmp_path: Path,
) -> None:
    own = {
        "long": {seed: run_of(2, [2.0, 1.0 + seed]) for seed in SEEDS},
        "short": {seed: run_of(1, [2.0, 1.5, 1.25, 1.5]) for seed in SEEDS},
        "souped": {seed: ended_with(0.8) for seed in SEEDS},
    }
    config = own["long"][0].config
    write_comparison(tmp_path, config, own)
    data = json.loads((tmp_path / "comparison.json").read_text())
    assert (data["metric"], data["mode"], data["seeds"]) == ("validation_loss", "min", list(SEEDS))
    assert list(data["arms"]) == list(own)
    assert data["arms"]["long"]["search"]["epochs_per_generation"] == 2
    run = data["arms"]["souped"]["runs"][1]
    assert (run["seed"], run["product"], run["metrics"]) == (
        1,
        "soup",
        {"validation_loss": 0.8, "test_loss": 5.0},
    )
    assert run["member"] == {"validation_loss": 1.0, "test_loss": 9.0}
    assert "soup" not in data["arms"]["short"]["runs"][0]
    pairs = {(one["arm"], one["reference"], one["metric"]): one for one in data["differences"]}
    assert len(pairs) == len(data["differences"]) == 3 * 2 * 2
    results = {one.arm: one for one in results_of(own)}
    for (arm, reference, name), one in pairs.items():
        expected = paired_difference(results[arm].metrics[name], results[reference].metrics[name], "min")
        assert (one["relative"], one["low"], one["high"]) == (expected.relative, expected.low, expected.high)
        assert one["separated"] == expected.separated


def run_of(epochs: int | list[int], foms: Sequence[float]) -> History:
    """Return a run with `epochs` per generation, each from the best before; its rate is its number."""
    rate = {"type": "float", "low": 0.0, "high": 9.0, "initial": 1.0}
    changes = {"search__generations": len(foms), "search__epochs_per_generation": epochs}
    pen = Pen(config_of(search__loci={"rate": rate}, **changes))
    alpha: str | None = None
    for at, fom in enumerate(foms):
        pen.births(alpha, alpha, genomes=[{"rate": float(at)}, {"rate": 9.0}])
        alpha = member_id(at, 0)
        pen.done(**{alpha: fom, member_id(at, 1): fom + 1})
    pen.end("done", test_loss=2 * foms[-1])
    return pen.history


def test_generations_of_different_lengths_are_drawn_over_the_epochs_that_they_have_in_common() -> None:
    short, long = run_of(1, [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]), run_of(3, [2.0, 1.0])
    assert curves({0: short}).tolist() == [[6.0, 5.0, 4.0, 3.0, 2.0, 1.0]]
    gap = math.nan
    np.testing.assert_equal(curves({0: long}), [[gap, gap, 2.0, gap, gap, 1.0]])
    assert schedules({0: short}, "rate").tolist() == [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]]
    assert schedules({0: long}, "rate").tolist() == [[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]]
    growing = run_of([1, 2, 3], [3.0, 2.0, 1.0])
    np.testing.assert_equal(curves({0: growing}), [[3.0, gap, 2.0, gap, gap, 1.0]])
    assert schedules({0: growing}, "rate").tolist() == [[0.0, 1.0, 1.0, 2.0, 2.0, 2.0]]
    for picture in (fom_picture, schedules_picture):
        assert picture(short.config, {"short": {0: short}, "long": {0: long}}).startswith(b"\x89PNG")


def test_the_page_says_of_each_arm_its_strategy_and_what_else_the_arms_do_not_share() -> None:
    runs = {"short": {0: run_of(1, [2.0, 1.0])}, "long": {0: run_of(2, [1.0])}}
    options = {"initial": "spread"}
    assert yaml.safe_load(arms_of(runs)) == {
        arm: {
            "strategy": "tri_parent",
            "options": options,
            "generations": count,
            "epochs_per_generation": each,
        }
        for arm, count, each in (("short", 2, 1), ("long", 1, 2))
    }
