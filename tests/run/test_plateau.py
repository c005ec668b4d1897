"""`search.plateau` ends a run whose best fom no longer improves; the best of the last generation is told."""

import random
from pathlib import Path
from typing import Any

import pytest

from evodevo.config import RunConfig
from evodevo.report.last_generation import best_of_last
from evodevo.report.summary import summary_lines, summary_of
from evodevo.run.extension import extension_of
from evodevo.run.records import Assignment, Job, Outcome
from tests.configs import complaint
from tests.run.fakes import WORKERS, FakeCaller, carry_out, config_of, finished, story
from tests.run.test_controller_resumed import resumed_everywhere

MUTANTS = {"elites": 0.0, "mutation_rate": 1.0, "gene_mutation_rate": 1.0}
"""Options of natural_selection: every member differs from the previous ones."""


class ByGeneration(FakeCaller):
    """The fom of all members of generations 0, 1, ... is 5, 3, 4, 3, 2, ..."""

    def _leg(self, job: Job, assignment: Assignment, fate: Any) -> tuple[Outcome | None, str]:
        foms = [5.0, 3.0, 4.0, 3.0, 2.0, 2.0, 2.0]
        return Outcome("done", foms[int(assignment.member[1:4])]), ""


def plateau(count: int, **changes: Any) -> RunConfig:
    given = {"search__strategy": "truncation_ga", "search__options": {"mutation_rate": 1.0}}
    return config_of(search__generations=7, search__plateau=count, **{**given, **changes})


def test_a_run_ends_after_some_generations_without_a_better_fom(tmp_path: Path) -> None:
    for count, generations in [(1, 3), (2, 4)]:
        history = finished(tmp_path / str(count), plateau(count), ByGeneration())
        assert (history.end, len(history.generations), history.completed()) == ("done", *[generations] * 2)
        assert history.reason is not None
        assert f"search.plateau = {count}" in history.reason


def test_a_run_that_gets_better_in_time_continues(tmp_path: Path) -> None:
    """Generations 2 and 3 are no better, and 4 is; 5 and 6 are the last."""
    history = finished(tmp_path / "run", plateau(3), ByGeneration())
    assert (history.completed(), history.reason) == (7, None)


def test_the_history_is_the_same_whatever_the_workers_do_and_wherever_it_was_killed(tmp_path: Path) -> None:
    config = plateau(1, search__population=5, search__options={})
    expected = finished(tmp_path / "run", config)
    for number in range(3):
        caller = FakeCaller(workers=WORKERS[: 1 + number], shuffle=random.Random(number))
        assert story(finished(tmp_path / str(number), config, caller)) == story(expected)
    for run, _, _ in resumed_everywhere(tmp_path / "killed", config, FakeCaller):
        history = carry_out(run, FakeCaller())
        assert (story(history), history.reason) == (story(expected), expected.reason)


def test_a_run_on_its_plateau_is_not_extended(tmp_path: Path) -> None:
    run = tmp_path / "run"
    history = finished(run, plateau(1), ByGeneration())
    assert "search.plateau = 1" in complaint(lambda: extension_of(run, history, 20))


@pytest.mark.parametrize(
    "changes", [{"search__pace": "steady"}, {"search__strategy": "mutate_best", "search__options": {}}]
)
def test_the_steady_pace_has_no_plateau(changes: dict[str, Any]) -> None:
    assert "search.plateau" in complaint(lambda: config_of(search__plateau=1, **changes))


def test_the_best_of_the_last_generation_is_told_beside_the_best_ever(tmp_path: Path) -> None:
    bred_anew = {"search__strategy": "natural_selection", "search__options": MUTANTS}
    history = finished(tmp_path / "run", plateau(1, **bred_anew), ByGeneration())
    last = best_of_last(history)
    assert history.best and last
    assert (history.best.generation, history.best.fom, last.generation, last.fom) == (1, 3.0, 2, 4.0)
    assert summary_of(history)["best_of_last_generation"] == {"member": last.id, "fom": 4.0}
    assert dict(summary_lines(history))["  in the last generation"] == f"4 (member {last.id})"


def test_what_is_kept_has_its_outcome_so_that_the_best_of_the_last_is_the_best_ever(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", plateau(1), ByGeneration())
    last = best_of_last(history)
    assert history.best and last
    assert (history.best.generation, last.generation) == (1, 2)
    assert last.same_as == history.best.id


@pytest.mark.parametrize("strategy", ["tri_parent", "mutate_best"])
def test_where_members_inherit_or_are_born_one_by_one_there_is_no_best_of_the_last(
    tmp_path: Path, strategy: str
) -> None:
    size = {"search__population": 1} if strategy == "mutate_best" else {}
    history = finished(tmp_path / "run", config_of(search__strategy=strategy, search__options={}, **size))
    assert best_of_last(history) is None
    assert "best_of_last_generation" not in summary_of(history)
