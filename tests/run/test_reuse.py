"""A run that takes outcomes of another one for the same hyperparameters."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from evodevo.errors import UsageError
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.origin import find_origin
from evodevo.run.setup import create_run
from evodevo.run.verify import verify
from tests.golden import raises_golden
from tests.run.fakes import FakeCaller, carry_out, finished, new_run, story
from tests.run.test_controller_resumed import resumed_everywhere
from tests.run.test_twins import config, networks, trainings


def test_nothing_is_trained_that_the_other_run_trained(tmp_path: Path) -> None:
    first = finished(tmp_path / "first", config())
    caller = FakeCaller()
    history = finished(tmp_path / "second", config(search__reuse="first", run__seed=7), caller)
    assert not set(trainings(caller)) & networks(first)
    taken = [life for life in history.lives() if "/" in (life.same_as or "")]
    assert taken
    foms = {life.birth.genome["layers"]: life.fom for life in first.lives()}
    assert all(life.fom == foms[life.birth.genome["layers"]] for life in taken)


def test_the_other_run_can_be_deleted_and_the_best_parameters_are_there(tmp_path: Path) -> None:
    first = finished(tmp_path / "first", config())
    run = new_run(tmp_path / "second", config(search__reuse="first"))
    shutil.rmtree(tmp_path / "first")
    history = carry_out(run, FakeCaller())
    assert first.best is not None
    assert history.best is not None
    assert history.best.fom == first.best.fom
    assert history.best.outcome is not None
    assert first.best.outcome is not None
    ref, theirs = history.best.outcome.checkpoint, first.best.outcome.checkpoint
    assert ref is not None
    assert theirs is not None
    assert ref.sha256 == theirs.sha256
    CheckpointStore(str(run / "params")).read(ref)


def test_the_copied_checkpoint_is_verified_before_a_member_is_the_best_with_it(tmp_path: Path) -> None:
    finished(tmp_path / "first", config())
    run = new_run(tmp_path / "second", config(search__reuse="first"))
    (copy,) = (run / "params").iterdir()
    found = verify(run)
    assert (found.problems, found.checkpoints) == ([], 1)
    copy.write_bytes(b"something")
    assert [ref.name for ref in verify(run).damaged] == [copy.name]


def test_what_the_other_run_had_taken_from_a_third_one_is_not_trained_again_either(tmp_path: Path) -> None:
    finished(tmp_path / "first", config())
    second = finished(tmp_path / "second", config(search__reuse="first"))
    assert any("/" in (life.same_as or "") for life in second.lives())
    caller = FakeCaller()
    third = finished(tmp_path / "third", config(search__reuse="second"), caller)
    assert not caller.assignments
    assert [life.fom for life in third.lives()] == [life.fom for life in second.lives()]
    assert third.best is not None
    assert third.best.outcome is not None
    assert third.best.outcome.checkpoint is not None
    CheckpointStore(str(tmp_path / "third" / "params")).read(third.best.outcome.checkpoint)


def test_it_has_the_same_history_wherever_it_is_killed(tmp_path: Path) -> None:
    finished(tmp_path / "first", config(search__generations=1))
    one = config(search__reuse=str(tmp_path / "first"), search__generations=2, run__seed=3)
    expected = story(finished(tmp_path / "quiet", one))
    for run, _, _ in resumed_everywhere(tmp_path, one, FakeCaller):
        assert story(carry_out(run, FakeCaller())) == expected


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [
        ({}, {"search__reuse": "nobody"}, "no run found in .*nobody"),
        ({}, {"search__reuse": "x" * 5000}, "no run found in .*xxx"),
        ({}, {"search__initialisation": "shared"}, "search.initialisation of run 'first' differ"),
        ({}, {"search__epochs_per_generation": 2}, "search.epochs_per_generation of run 'first' differ"),
        ({}, {"cluster__workers_per_member": 2}, "cluster.workers_per_member of run 'first' differ"),
        (
            {"search__judge": "averaged"},
            {"search__judge": "averaged", "search__average_half_life": 3.0},
            "search.average_half_life of run 'first' differ",
        ),
        ({"search__inherit": "parameters"}, {}, "members of run 'first' inherit parameters"),
        ({"search__legs": 2}, {}, "search.legs of run 'first' differ"),
        ({"objective__metric": "validation_accuracy"}, {}, "objective of run 'first' differ"),
    ],
)
def test_outcomes_of_another_training_are_refused_and_nothing_is_made(
    before: dict[str, Any], now: dict[str, Any], message: str, tmp_path: Path
) -> None:
    finished(tmp_path / "first", config(**before))
    with pytest.raises(UsageError, match=f"search.reuse: {message}"):
        new_run(tmp_path / "second", config(**{"search__reuse": "first", **now}))
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


def test_outcomes_of_members_that_began_with_other_parameters_are_refused(tmp_path: Path) -> None:
    finished(tmp_path / "first", config())
    started = config(search__start={"run": "first"}, search__reuse="first")
    found = find_origin(started, tmp_path)
    assert found is not None
    with raises_golden("reuse/another-start", UsageError):
        create_run(tmp_path / "second", found.config, start=(found.origin, found.data))
