"""Plots of runs in which genomes grow."""

from pathlib import Path

import numpy as np
import pytest

from evodevo.report import growth
from evodevo.report.comparison import curves_of_all, results_of
from evodevo.report.products import write_products
from evodevo.run.stopping import member_epochs
from tests.run.fakes import finished
from tests.run.growing import growing


def test_the_plot_has_the_mean_and_the_best_and_a_line_before_each_phase_but_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = finished(tmp_path / "run", growing())
    figures = []
    monkeypatch.setattr(growth, "png", lambda figure: figures.append(figure) or b"")
    growth.progress_plot(history)
    (axes,) = figures[0].axes
    lines = {line.get_label(): line for line in axes.lines}
    foms = [[life.fom for life in lives if life.fom is not None] for lives in history.generations]
    np.testing.assert_allclose(lines["mean"].get_ydata(), [np.mean(own) for own in foms])
    np.testing.assert_allclose(lines["best"].get_ydata(), [min(own) for own in foms])
    marks = [line.get_xdata()[0] for line in axes.lines if str(line.get_label()).startswith("_")]
    assert marks == [1.5, 3.5]
    assert [text.get_text().strip() for text in axes.texts] == ["blocks 1", "blocks 2", "blocks 3"]


def test_the_report_of_such_a_run_has_no_picture_of_a_schedule(tmp_path: Path) -> None:
    finished(tmp_path / "run", growing())
    written = {path.relative_to(tmp_path / "run").as_posix() for path in write_products(tmp_path / "run")}
    assert "report/fom.png" in written
    assert "report/schedule.png" not in written
    assert {"schedule.yaml", "history.csv", "report/index.html"} <= written


def test_curves_over_the_epochs_of_all_members_have_the_best_so_far(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", growing())
    shorter = finished(tmp_path / "shorter", growing(limits__member_epochs=16))
    row, ended = curves_of_all({0: history, 1: shorter})
    assert shorter.best is not None
    assert set(ended[member_epochs(shorter) - 1 :]) == {shorter.best.fom}
    assert len(row) == member_epochs(history) == results_of({"one": {0: history}})[0].member_epochs
    spent, best = 0, np.inf
    for lives in history.generations:
        spent += 3 * sum(not life.same_as for life in lives)
        best = min([best, *(life.fom for life in lives if life.fom is not None)])
        assert row[spent - 1] == best
    first = 3 * len(history.generations[0]) - 1
    assert np.isnan(row[:first]).all()
    assert np.isfinite(row[first:]).all()
    assert (np.diff(row[first:]) <= 0).all()
