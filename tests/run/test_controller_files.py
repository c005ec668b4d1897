"""What a controller does to checkpoints, and from which thread it touches files."""

import asyncio
import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evodevo.run import controller
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.controller import Controller
from evodevo.run.journal import Journal, JournalError, JournalInUse
from evodevo.run.records import Assignment
from evodevo.run.retention import needed_checkpoints
from evodevo.run.setup import JOURNAL, job_of
from tests.run.fakes import (
    STRATEGIES,
    FakeCaller,
    Fate,
    carry_out,
    config_of,
    finished,
    history_of,
    new_run,
    stop,
)


def names_in(run: Path) -> set[str]:
    return {path.name for path in (run / "params").glob("*")}


def unlucky(assignment: Assignment) -> Fate:
    """Every first attempt publishes and is lost."""
    return "lost_late" if assignment.attempt == 1 else "done"


def test_ten_children_of_one_alpha_are_ten_references_to_one_file(tmp_path: Path) -> None:
    run = new_run(
        tmp_path / "run",
        config_of(
            search__population=10, search__generations=2, search__options={"sigma": 700.0, "survivors": 0.0}
        ),
    )
    there = []

    def watch(assignment: Assignment) -> None:
        if assignment.member == "g001s000":
            there.append(names_in(run))

    caller = FakeCaller(watch=watch)
    history = carry_out(run, caller)
    best = min(history.generations[0], key=lambda life: life.fom or 0.0)
    assert best.outcome is not None
    assert {assignment.parent for assignment in caller.assignments[10:]} == {best.outcome.checkpoint}
    assert best.outcome.checkpoint is not None
    assert there == [{best.outcome.checkpoint.name}]


@pytest.mark.parametrize("fate", [lambda a: "done", unlucky], ids=["no accidents", "attempts lost"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_there_are_never_more_checkpoints_than_two_generations_the_best_and_those_in_flight(
    strategy: str, fate: Callable[[Assignment], Fate], tmp_path: Path
) -> None:
    """Of three generations where slots do not wait for each other.

    Each child reads its α from the store when it is called, so that none was deleted too early.
    """
    generations = 3 if strategy == "random_search" else 2
    run = new_run(tmp_path / "run", config_of(search__strategy=strategy, search__generations=6))
    counts = []

    def watch(assignment: Assignment) -> None:
        lost = sum(len(life.lost) for lives in history_of(run).generations[-2:] for life in lives)
        counts.append(len(names_in(run)))
        assert counts[-1] <= 4 * generations + 1 + lost

    history = carry_out(run, FakeCaller(fate, watch=watch))
    assert history.end == "done"
    assert max(counts) > 4
    assert names_in(run) == needed_checkpoints(history)
    assert len(names_in(run)) <= 5


def test_when_a_generation_begins_only_its_alphas_and_the_best_are_there(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", config_of(search__population=6, search__generations=5))
    begun = []

    def watch(assignment: Assignment) -> None:
        if assignment.member.endswith("s000") and assignment.epoch:
            history = history_of(run)
            needed = {history.parent_checkpoint(life) for life in history.generations[-1]}
            assert history.best is not None
            assert history.best.outcome is not None
            needed.add(history.best.outcome.checkpoint)
            assert names_in(run) == {ref.name for ref in needed if ref}
            begun.append(assignment.member)

    carry_out(run, FakeCaller(watch=watch))
    assert begun == ["g001s000", "g002s000", "g003s000", "g004s000"]


def test_what_an_attempt_in_flight_has_published_is_kept_until_its_member_has_an_outcome(
    tmp_path: Path,
) -> None:
    """A worker of the previous controller still trains a member when the next controller begins."""
    run = new_run(tmp_path / "run")
    caller = FakeCaller(lambda a: "hang" if a.epoch else "done")
    stop(run, caller)
    late = CheckpointStore(str(run / "params")).publish("g001s002-a1", b"late").name
    there = []
    history = carry_out(run, FakeCaller(watch=lambda a: there.append((a.epoch, late in names_in(run)))))
    assert set(there) == {(1, True), (2, False), (3, False)}
    assert names_in(run) == needed_checkpoints(history)


def test_the_best_checkpoint_is_kept_while_worse_generations_follow(tmp_path: Path) -> None:
    """Without selection the fake's foms fall from generation to generation, which is bad here."""
    config = config_of(
        objective__mode="max", search__generations=6, search__strategy="random_search", run__seed=0
    )
    history = finished(tmp_path / "run", config)
    best = history.best
    assert best is not None
    assert best.generation < 2
    assert best.outcome is not None
    assert best.outcome.checkpoint is not None
    assert CheckpointStore(str(tmp_path / "run" / "params")).read(best.outcome.checkpoint)


def test_files_are_never_touched_from_the_event_loops_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched: list[tuple[str, int]] = []

    def record(owner: type, name: str) -> None:
        method = getattr(owner, name)

        def recorded(*arguments: Any) -> Any:
            touched.append((f"{owner.__name__}.{name}", threading.get_ident()))
            return method(*arguments)

        monkeypatch.setattr(owner, name, recorded)

    class Store(CheckpointStore):
        """The controller's, told from those of the fake's."""

    run = new_run(tmp_path / "run")
    monkeypatch.setattr(controller, "CheckpointStore", Store)
    operations = [(Journal, name) for name in ("__init__", "append", "close")]
    for owner, name in [*operations, (Store, "__init__"), (Store, "names"), (Store, "delete")]:
        record(owner, name)
    carry_out(run, FakeCaller())
    assert threading.get_ident() not in {thread for _, thread in touched}
    assert {name for name, _ in touched} == {
        "Journal.__init__",
        "Journal.append",
        "Journal.close",
        "Store.__init__",
        "Store.names",
        "Store.delete",
    }


def test_a_store_that_cannot_delete_does_not_fail_the_run_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete, tries = CheckpointStore.delete, []

    def failing(*arguments: Any) -> None:
        tries.append(arguments)
        if len(tries) < 6:
            raise OSError("the store is away")
        delete(*arguments)

    monkeypatch.setattr(CheckpointStore, "delete", failing)
    history = finished(tmp_path / "run")
    assert (history.end, history.completed()) == ("done", 4)
    assert names_in(tmp_path / "run") == needed_checkpoints(history)


@pytest.mark.parametrize("name", ["another", "small"])
def test_a_run_leaves_the_checkpoints_of_another_run_at_the_same_url_alone(name: str, tmp_path: Path) -> None:
    url = str(tmp_path / "everybody's")
    one = finished(tmp_path / "one", config_of(checkpoints__url=url))
    finished(tmp_path / "two", config_of(checkpoints__url=url, run__name=name, run__seed=8))
    assert one.best is not None
    assert one.best.outcome is not None
    assert one.best.outcome.checkpoint is not None
    assert CheckpointStore(job_of(one.config, tmp_path / "one", one.run_id).checkpoints_url).read(
        one.best.outcome.checkpoint
    )


def test_checkpoints_go_to_the_url_and_not_to_the_runs_directory(tmp_path: Path) -> None:
    url = str(tmp_path / "elsewhere")
    history = finished(tmp_path / "run", config_of(checkpoints__url=url))
    own = job_of(history.config, tmp_path / "run", history.run_id).checkpoints_url
    assert own.startswith(f"{url}/small")
    assert set(CheckpointStore(own).names()) == needed_checkpoints(history)
    assert names_in(tmp_path / "run") == set()


def refused(run: Path, error: type[Exception]) -> None:
    try:
        asyncio.run(Controller(run, FakeCaller(), {}).carry_out())
    except error:
        return
    pytest.fail(f"the controller did not raise {error.__name__}")


def test_no_thread_is_left_behind_by_a_controller_that_is_refused(tmp_path: Path) -> None:
    """For other ways to end see `run.fakes.small_machine`, which looks after every controller's threads."""
    before = set(threading.enumerate())
    run = new_run(tmp_path / "run")
    with Journal(run / JOURNAL):
        refused(run, JournalInUse)
    (run / JOURNAL).write_bytes(b"no journal\n")
    refused(run, JournalError)
    gc.collect()
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    assert set(threading.enumerate()) <= before


def test_what_a_crash_left_of_a_run_that_was_never_begun_is_removed_by_the_next_one(tmp_path: Path) -> None:
    old, new, other = (tmp_path / name for name in (".run.0123abcd", ".run.89abcdef", ".run.x.0123abcd"))
    for directory in (old, new, other):
        directory.mkdir()
        (directory / "config.yaml").touch()
        if directory is not new:
            os.utime(directory, (0, 0))
    new_run(tmp_path / "run")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".run.89abcdef", ".run.x.0123abcd", "run"]
