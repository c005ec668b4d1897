"""A controller carries out a run to its end: births, calls, the test split and the report.

See also test_controller_failures.py, test_controller_resumed.py (killed), test_controller_stopped.py
(cancelled, superseded) and test_controller_files.py (checkpoints, threads).
"""

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from evodevo.config_file import load
from evodevo.errors import UsageError
from evodevo.evolution.fitness import DEFAULT_SIGMA
from evodevo.evolution.rng import training_seed
from evodevo.run import files
from evodevo.run.controller import Controller
from evodevo.run.crew import AttemptLost
from evodevo.run.journal import Journal, Record, Tail
from evodevo.run.records import Assignment
from evodevo.run.setup import create_run
from evodevo.run.view import runs_in
from tests.run.fakes import (
    EXAMINE,
    RENDER,
    STRATEGIES,
    FakeCaller,
    config_of,
    finished,
    history_of,
    new_run,
    story,
)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_run_goes_to_its_end(strategy: str, tmp_path: Path) -> None:
    caller = FakeCaller()
    history = finished(tmp_path / "run", config_of(search__strategy=strategy), caller)
    assert (history.end, history.reason) == ("done", None)
    assert [[life.status for life in lives] for lives in history.generations] == [["done"] * 4] * 4
    assert Counter(assignment.member for assignment in caller.assignments) == Counter(history.by_id.keys())
    assert [function for function, _ in caller.calls] == [EXAMINE, RENDER]
    assert history.best is not None
    assert history.best.fom == min(life.fom for life in history.lives() if life.fom is not None)


def test_the_test_split_is_asked_for_once_after_the_last_generation_and_of_the_best(tmp_path: Path) -> None:
    caller = FakeCaller()
    history = finished(tmp_path / "run", caller=caller)
    ((_, arguments),) = [call for call in caller.calls if call[0] == EXAMINE]
    best = history.best
    assert best is not None
    assert best.outcome is not None
    hyperparameters = history.config.space().express(best.birth.genome)
    assert arguments[1:] == (best.outcome.checkpoint, hyperparameters, str(tmp_path / "run" / "exhibits"))
    assert history.test == {"test_loss": best.fom + 0.5}
    assert not any(life.outcome and "test_loss" in life.outcome.metrics for life in history.lives())


def test_the_report_is_drawn_of_the_runs_directory_when_the_end_is_journaled(tmp_path: Path) -> None:
    ends = []

    class Looking(FakeCaller):
        async def call(self, run: str, function: str, *arguments: object, **more: object) -> object:
            if function == RENDER:
                ends.append((arguments, history_of(tmp_path / "run").end))
            return await super().call(run, function, *arguments, **more)  # type: ignore[arg-type]

    finished(tmp_path / "run", caller=Looking())
    assert ends == [((str(tmp_path / "run"),), "done")]


def test_a_new_run_holds_its_config_and_an_older_one_is_not_begun_again(tmp_path: Path) -> None:
    config = config_of(run__seed=11)
    new_run(tmp_path / "run", config)
    assert load(tmp_path / "run" / "config.yaml") == history_of(tmp_path / "run").config == config.complete()
    assert config.complete().search.options["sigma"] == DEFAULT_SIGMA
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(FileExistsError):
        create_run(tmp_path / "run", config_of(run__seed=12))
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_of_two_who_begin_a_run_at_the_same_moment_one_is_told_that_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other run is created after the check whether one exists, and before this one is written."""
    write_new, theirs = files.write_new, config_of(run__seed=12)

    def meanwhile(path: Path, data: bytes) -> None:
        monkeypatch.undo()
        new_run(tmp_path / "run", theirs)
        write_new(path, data)

    monkeypatch.setattr(files, "write_new", meanwhile)
    with pytest.raises(FileExistsError):
        create_run(tmp_path / "run", config_of(run__seed=11))
    assert history_of(tmp_path / "run").config == theirs.complete()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_run_is_there_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(journal: Journal, record: Record) -> Record:
        raise OSError("the disk is full")

    with monkeypatch.context() as broken, pytest.raises(OSError, match="full"):
        broken.setattr(Journal, "append", full)
        new_run(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert runs_in(tmp_path) == []
    new_run(tmp_path / "run")
    assert runs_in(tmp_path) == ["run"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_history_is_the_same_whatever_the_order_of_answers_and_the_attempts_lost(
    strategy: str, tmp_path: Path
) -> None:
    config = config_of(search__strategy=strategy)
    expected = story(finished(tmp_path / "undisturbed", config))
    orders = set()
    for seed in range(6):
        draw = random.Random(seed)

        def fate(assignment: Assignment, draw: random.Random = draw) -> str:
            return "done" if assignment.attempt == 3 else draw.choice(["lost", "lost_late", "done"])

        caller = FakeCaller(fate, shuffle=draw)  # type: ignore[arg-type]
        history = finished(tmp_path / str(seed), config, caller)
        assert story(history) == expected
        assert sum(len(life.lost) for life in history.lives()) == len(caller.assignments) - 16 > 0
        orders.add(tuple(assignment.member for assignment in caller.assignments))
    assert len(orders) == 6


def test_another_seed_gives_another_history(tmp_path: Path) -> None:
    one, other = (finished(tmp_path / str(seed), config_of(run__seed=seed)) for seed in (1, 2))
    assert story(one) != story(other)


def test_an_assignment_comes_after_its_birth_is_on_disk_and_says_what_the_birth_says(tmp_path: Path) -> None:
    run = tmp_path / "run"
    waited = []

    def watch(assignment: Assignment) -> None:
        history = history_of(run)
        life = history.by_id[assignment.member]
        assert life.outcome is None
        assert len(history.generations) == life.generation + 1
        assert history.completed() == life.generation
        assert assignment.hyperparameters == history.config.space().express(life.birth.genome)
        assert (assignment.epoch, assignment.training_seed) == (life.epoch, life.training_seed)
        assert life.training_seed == training_seed(history.config.run.seed, life.generation, life.slot)
        assert assignment.parent == history.parent_checkpoint(life)
        assert (assignment.parent is None) == (life.generation == 0)
        waited.append(assignment.member)

    caller = FakeCaller(watch=watch)
    history = finished(run, caller=caller)
    assert len(waited) == 16
    jobs = [unit.job for unit in caller.units]
    assert {(job.run, job.metric, job.checkpoints_url) for job in jobs} == {
        ("small", "validation_loss", str(run / "params"))
    }
    assert jobs[0].workload["options"] == history.config.workload.options


def test_a_child_prefers_the_worker_that_trained_its_alpha(tmp_path: Path) -> None:
    """As far as it is free: of the children of one α, one at least goes to its worker."""
    caller = FakeCaller()
    history = finished(tmp_path / "run", caller=caller)
    placed = dict(caller.placed)
    for generation in history.generations[1:]:
        children: dict[str, set[str]] = {}
        for life in generation:
            assert life.birth.parent_params
            children.setdefault(life.birth.parent_params, set()).add(placed[life.id])
        for alpha, workers in children.items():
            assert placed[alpha] in workers


@pytest.mark.parametrize("function", [RENDER, EXAMINE])
@pytest.mark.parametrize(
    "why",
    [
        AttemptLost("no luck"),
        UsageError("no such split"),
    ],
    ids=lambda why: type(why).__name__,
)
def test_a_report_or_a_test_evaluation_that_fails_does_not_fail_the_run(
    why: Exception, function: str, tmp_path: Path
) -> None:
    history = finished(tmp_path / "run", caller=FakeCaller(trouble={function: why}))
    assert (history.end, history.reason, history.completed()) == ("done", None, 4)
    assert bool(history.test) == (function != EXAMINE)


def test_a_test_evaluation_is_tried_as_often_as_an_epoch(tmp_path: Path) -> None:
    caller = FakeCaller(trouble={EXAMINE: AttemptLost("no luck")})
    finished(tmp_path / "run", config_of(limits__max_attempts=2), caller)
    assert [function for function, _ in caller.calls] == [EXAMINE, EXAMINE, RENDER]


def test_the_controllers_record_says_where_it_is_before_anything_is_born(tmp_path: Path) -> None:
    finished(tmp_path / "run")
    records = Tail(tmp_path / "run" / "journal.jsonl").read()
    assert [record["kind"] for record in records[:3]] == ["run", "controller", "births"]
    assert (records[1]["host"], records[1]["retry"]) == ("here", [])
    assert json.dumps(records[0]["config"]) == json.dumps(config_of().complete().to_json())


@pytest.mark.parametrize(("at_once", "workers"), [(1, 10), (4, 3), (99, 1)])
def test_fewer_workers_are_wanted_if_each_trains_several_members(
    tmp_path: Path, at_once: int, workers: int
) -> None:
    run = new_run(tmp_path / "run", config_of(search__population=10, cluster__members_per_device=at_once))
    controller = Controller(run, FakeCaller(), {})
    assert controller.wanted_workers() == 1
    controller.history = history_of(run)
    assert controller.wanted_workers() == workers
