"""The picture of foms against numbers of parameters, and the members that none surpasses in both."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evodevo.report.pareto import Point, differ_in_size, front_of, pareto_plot, points_of
from evodevo.report.products import write_products
from evodevo.run.records import Assignment, Job, Outcome
from tests.run.fakes import FakeCaller, config_of, finished

PNG = b"\x89PNG"


class Sized(FakeCaller):
    """Networks are larger the more layers they have, or all alike."""

    varied = True

    def _leg(self, job: Job, assignment: Assignment, fate: str) -> tuple[Outcome | None, str]:  # type: ignore[override]
        outcome, why = super()._leg(job, assignment, fate)  # type: ignore[arg-type]
        assert outcome
        layers = int(assignment.hyperparameters["layers"]) if self.varied else 3
        return replace(outcome, metrics={**outcome.metrics, "parameters": 1000.0 * 4**layers}), why


class Alike(Sized):
    varied = False


def config() -> object:
    return config_of(search__inherit="none", search__population=8, search__options={"initial": "spread"})


def test_the_front_is_who_is_better_than_all_that_are_not_larger() -> None:
    points = [
        Point("a", 10, 3.0),
        Point("b", 20, 2.0),
        Point("c", 20, 1.5),
        Point("d", 30, 1.5),
        Point("e", 5, 9.0),
    ]
    assert [point.member for point in front_of(points, "min")] == ["e", "a", "c"]
    assert [point.member for point in front_of(points, "max")] == ["e"]
    assert front_of([], "min") == []


sizes = st.tuples(st.integers(1, 5), st.integers(-5, 5))


@given(st.lists(sizes), st.sampled_from(["min", "max"]))
def test_nobody_on_the_front_is_surpassed_and_everybody_else_is(
    pairs: list[tuple[int, int]], mode: str
) -> None:
    points = [Point(str(at), size, fom) for at, (size, fom) in enumerate(pairs)]
    front, sign = front_of(points, mode), 1 if mode == "min" else -1

    def surpasses(one: Point, other: Point) -> bool:
        no_worse = one.parameters <= other.parameters and sign * one.fom <= sign * other.fom
        return no_worse and (one.parameters, one.fom) != (other.parameters, other.fom)

    for point in points:
        surpassed = any(surpasses(other, point) for other in points)
        assert ((point.parameters, point.fom) in {(one.parameters, one.fom) for one in front}) != surpassed


@pytest.mark.parametrize("caller", [Sized, Alike, FakeCaller])
def test_a_report_has_the_picture_if_members_differ_in_size(caller: type[FakeCaller], tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config(), caller())  # type: ignore[arg-type]
    assert differ_in_size(history) == (caller is Sized)
    assert len(points_of(history)) == (0 if caller is FakeCaller else len(history.births))
    paths = write_products(tmp_path / "run")
    assert (tmp_path / "run" / "report" / "pareto.png" in paths) == (caller is Sized)
    page = (tmp_path / "run" / "report" / "index.html").read_text()
    assert ('alt="pareto"' in page) == (caller is Sized)
    if caller is Sized:
        assert pareto_plot(history).startswith(PNG)
        rows = (tmp_path / "run" / "history.csv").read_text()
        assert "metric.parameters" in rows
