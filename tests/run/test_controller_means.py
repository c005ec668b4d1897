"""Generations that begin from the mean of all members of the one before."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evodevo.config import RunConfig
from evodevo.errors import UsageError
from evodevo.report.schedule import Schedule
from evodevo.report.tables import history_rows
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.events import mean_id
from evodevo.run.life import Life
from evodevo.run.means import Means
from evodevo.run.retention import needed_checkpoints
from evodevo.run.view import FileSource, View
from evodevo.service.replay import Comparison
from tests.run.fakes import (
    FakeCaller,
    Fate,
    befall,
    carry_out,
    config_of,
    finished,
    history_of,
    new_run,
    stop,
)


def config(**changes: Any) -> RunConfig:
    return config_of(search__generations=4, search__recombine={"last": 0.5}, **changes)


def test_members_of_the_last_generations_keep_their_genomes_and_begin_from_one_mean(tmp_path: Path) -> None:
    caller = FakeCaller()
    history = finished(tmp_path / "run", config(), caller)
    assert history.end == "done"
    assert list(history.means) == [mean_id(1), mean_id(2)]
    for generation in (2, 3):
        mean = history.means[mean_id(generation - 1)]
        foms = [life.fom for life in mean.of]
        assert foms == sorted(foms)  # best first: the order of the sums
        assert {history.line(life)[0].id for life in mean.of} == {history.line(mean.of[0])[0].id}
        born, done = history.generations[generation], history.generations[generation - 1]
        for life, before in zip(born, done, strict=True):
            assert life.birth.genome == before.birth.genome
            assert (life.birth.parent_a, life.birth.parent_params) == (before.id, mean.id)
            assert life.epoch == generation
    means = [assignment for assignment in caller.assignments if assignment.mean_of]
    assert [assignment.member for assignment in means] == list(history.means)
    assert all(len(assignment.mean_of) > 1 for assignment in means)


def test_a_mean_is_not_a_member(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config())
    assert len(history.births) == len(history.over) == len(history_rows(history)) == 16
    status = View("run", FileSource(tmp_path / "run")).refresh()
    assert (status.generation, status.members_done, status.failed) == (4, 0, 0)
    assert history.completed() == 4


def test_a_failed_member_is_not_in_the_mean_and_its_successor_has_the_best_genome(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config(), befall("failed", "g001s002"))
    mean = history.means[mean_id(1)]
    assert [life.id for life in mean.of if life.slot == 2] == []
    assert history.generations[2][2].birth.genome == mean.of[0].birth.genome
    assert history.generations[2][2].birth.parent_params == mean.id


@pytest.mark.parametrize("fate", ["failed", "lost"])
def test_without_a_mean_children_are_born_as_in_other_generations(fate: Fate, tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config(), befall(fate, mean_id(2)))
    assert history.means[mean_id(2)].status == "failed"
    assert history.end == "done"
    parents = {life.birth.parent_params for life in history.generations[3]}
    assert parents <= {life.id for life in history.generations[2]}


def test_of_a_single_survivor_there_is_no_mean(tmp_path: Path) -> None:
    caller = befall("diverged", "g001s000", "g001s001", "g001s003")
    history = finished(tmp_path / "run", config(), caller)
    assert list(history.means) == [mean_id(2)]
    assert {life.birth.parent_params for life in history.generations[2]} == {"g001s002"}


def test_a_line_continues_through_a_mean_by_its_best_member(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config())
    assert history.best is not None
    schedule = Schedule.of(history, history.best)
    assert schedule.epochs == history.epochs_trained(history.best)
    for entry, following in zip(schedule.entries, schedule.entries[1:], strict=False):
        life = history.by_id[following.member]
        if life.birth.parent_params in history.means:
            assert entry.member == history.means[life.birth.parent_params].of[0].id


def test_means_are_deleted_when_their_children_are_there(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config())
    names = set(CheckpointStore(str(tmp_path / "run" / "params")).names())
    assert names == needed_checkpoints(history)
    assert not [name for name in names if "mean" in name]


def test_a_run_cancelled_while_a_mean_is_made_resumes_with_it(tmp_path: Path) -> None:
    expected = [life.fom for life in finished(tmp_path / "whole", config()).lives()]
    run = new_run(tmp_path / "run", config())
    hanging = FakeCaller(lambda a: "hang" if a.member == mean_id(1) else "done")
    stop(run, hanging)
    assert history_of(run).pending.keys() == {mean_id(1)}
    assert [life.fom for life in carry_out(run, FakeCaller()).lives()] == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"search__pace": "steady"}, "search.recombine: search.pace steady has no generations"),
        ({"workload__use": None, "workload__command": "true"}, "search.recombine: parameters of a program"),
        ({"search__strategy": "random_search"}, "search.recombine: lineages of random_search never mix"),
        ({"search__average_half_life": 2.0}, "search.average_half_life: has no effect"),
        (
            {"workload__use": None, "workload__command": "true", "search__judge": "averaged"},
            "search.judge: .*a program.*use raw",
        ),
    ],
)
def test_what_has_no_mean_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        config(**changes)


def test_a_mean_that_is_worse_than_its_median_member_is_left_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leg = FakeCaller._mean

    def bad(self: FakeCaller, *arguments: Any) -> Any:
        outcome, why = leg(self, *arguments)
        return outcome and replace(outcome, fom=100.0), why

    monkeypatch.setattr(FakeCaller, "_mean", bad)
    history = finished(tmp_path / "run", config())
    assert [mean.fom for mean in history.means.values()] == [100.0, 100.0]
    assert not {life.birth.parent_params for life in history.lives()} & set(history.means)


def test_outliers_and_members_of_other_founders_are_not_in_a_mean() -> None:
    means = Means(1, "min")
    founder = config().strategy().founder(0, 0)
    lives = [Life(f"f{at}", 0, at, founder, 0, 0, 0.0) for at in range(2)]
    lives += [
        Life(f"m{at}", 1, at, replace(founder, parent_params="f1" if at == 2 else "f0"), 0, 1, 0.0)
        for at in range(6)
    ]
    for life in lives:
        means.born(life)
    foms = [0.3, 0.1, 0.15, None, 9.0, 0.2]
    members = [replace(life.as_member(), fom=fom) for life, fom in zip(lives[2:], foms, strict=True)]
    population = config().strategy().evaluated(members)
    assert means.related(population) == ["m1", "m5", "m0"]


def test_a_line_through_a_mean_says_so_in_its_schedule_and_survives_a_file(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config())
    last = history.generations[-1][0]
    schedule = Schedule.of(history, last)
    assert [entry.mean_of > 1 for entry in schedule.entries] == [False, False, True, True]
    (tmp_path / "schedule.yaml").write_text(schedule.to_yaml())
    assert Schedule.load(tmp_path / "schedule.yaml") == schedule
    assert "2 of 4 lives started from a mean" in Comparison(1.0, 1.5, False).text(schedule)
