"""A controller that is killed at any moment, and the one that comes after it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evodevo.config import RunConfig
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.history import History
from evodevo.run.journal import JournalError
from evodevo.run.retention import needed_checkpoints
from evodevo.run.setup import JOURNAL
from tests.run.fakes import (
    EXAMINE,
    RENDER,
    STRATEGIES,
    FakeCaller,
    Fate,
    carry_out,
    config_of,
    finished,
    history_of,
    new_run,
    story,
)
from tests.run.moments import moments_of

ACCIDENTS: dict[tuple[str, int], Fate] = {
    ("g000s002", 1): "diverged",
    ("g001s001", 1): "lost_late",
    ("g001s001", 2): "lost",
    ("g001s003", 1): "failed",
    ("g001s003", 2): "failed",
}


def accident_prone() -> FakeCaller:
    """A member diverges, one fails, and one needs three attempts."""
    return FakeCaller(lambda a: ACCIDENTS.get((a.member, a.attempt), "done"))


def hopeless() -> FakeCaller:
    """Too many of generation 1 fail."""
    return FakeCaller(lambda a: "failed" if a.member > "g001s000" and a.epoch == 1 else "done")


def resumed_everywhere(
    directory: Path, config: RunConfig, caller: Callable[[], FakeCaller]
) -> Iterator[tuple[Path, History, FakeCaller]]:
    """Kill a run at every moment and resume it; yield its directory, history at the kill, and caller."""
    undisturbed = new_run(directory / "undisturbed", config)
    for number, moment in enumerate(moments_of(undisturbed, lambda: carry_out(undisturbed, caller()))):
        run, answering = moment.restore(directory / str(number)), caller()
        then = history_of(run)
        carry_out(run, answering)
        yield run, then, answering


def soup_of(history: History) -> tuple[Any, ...] | None:
    """All that must be the same in equal histories; a checkpoint's name is its own each time."""
    soup = history.soup
    return soup and (soup.of, soup.fom, soup.metrics, soup.test, soup.checkpoint.sha256)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return new_run(tmp_path / "run")


@pytest.mark.parametrize(
    "search",
    [
        *({"search__strategy": strategy} for strategy in STRATEGIES),
        {"search__pace": "pools", "search__pool": 2},
        {"search__strategy": "truncation_pbt", "search__pace": "pools", "search__pool": 3},
        {"search__recombine": {"last": 0.7}},
        {
            "search__generations": None,
            "search__epochs": 7,
            "search__epochs_per_generation": 5,
            "search__recombine": {"last": 0.3},
            "search__judge": "averaged",
            "search__soup": True,
        },
        {"search__recombine": {"last": 1.0}, "search__initialisation": "shared"},
        {"search__recombine": {"last": 0.4}, "search__pace": "pools", "search__pool": 2},
    ],
    ids=lambda search: "-".join(map(str, search.values())),
)
def test_a_run_killed_at_any_record_has_the_history_of_one_that_was_never_killed(
    search: dict[str, Any], tmp_path: Path
) -> None:
    config = config_of(**{"search__generations": 3, **search})
    whole = finished(tmp_path / "never killed", config, accident_prone())
    expected = story(whole)
    assert (whole.soup is not None) == config.search.soup
    kills = 0
    for kills, (run, then, caller) in enumerate(resumed_everywhere(tmp_path, config, accident_prone), 1):  # noqa: B007
        history = history_of(run)
        assert (history.end, story(history)) == ("done", expected)
        assert soup_of(history) == soup_of(whole)
        told = {life.id for life in then.by_id.values() if life.outcome}
        assert {assignment.member for assignment in caller.assignments} == set(history.by_id) - told
        kept = set(CheckpointStore(str(run / "params")).names())
        assert kept >= needed_checkpoints(history)
        assert kept == needed_checkpoints(history) or then.completed() == 3
    records = 1 + 3 * (1 + 4) + 2 + 1
    assert kills >= 2 * records


def test_a_run_that_fails_fails_as_well_when_it_was_killed_at_any_record(tmp_path: Path) -> None:
    failed = finished(tmp_path / "never killed", config_of(), hopeless())
    assert failed.end == "failed"
    for run, _, _ in resumed_everywhere(tmp_path, config_of(), hopeless):
        history = history_of(run)
        assert (history.end, history.reason) == ("failed", failed.reason)
        assert story(history) == story(failed)


def test_a_failed_run_that_is_resumed_without_a_retry_fails_again(run: Path) -> None:
    failed = carry_out(run, hopeless())
    caller = hopeless()
    history = carry_out(run, caller)
    assert (history.end, history.reason, len(history.generations)) == ("failed", failed.reason, 2)
    assert caller.assignments == []


def test_a_retry_of_a_generation_that_diverged_as_a_whole_fails_again(run: Path) -> None:
    failed = carry_out(run, FakeCaller(lambda a: "diverged"))
    assert failed.end == "failed"
    history = carry_out(run, FakeCaller(), retry=True)
    assert (history.end, history.reason) == ("failed", failed.reason)


def test_a_run_killed_before_its_first_record_is_refused_with_a_reason(run: Path) -> None:
    (run / JOURNAL).write_bytes(b"")
    with pytest.raises(JournalError):
        carry_out(run, FakeCaller())


def test_what_a_controller_killed_before_the_end_left_behind_is_deleted_by_the_next(run: Path) -> None:
    carry_out(run, FakeCaller())
    *before, _ = (run / JOURNAL).read_bytes().splitlines(keepends=True)
    (run / JOURNAL).write_bytes(b"".join(before))
    store = CheckpointStore(str(run / "params"))
    store.publish("g003s000-a1", b"of an attempt that was lost")
    history = carry_out(run, FakeCaller())
    assert set(store.names()) == needed_checkpoints(history)


def test_a_done_run_that_is_resumed_is_done_again_without_an_epoch(run: Path) -> None:
    first = carry_out(run, FakeCaller())
    caller = FakeCaller()
    again = carry_out(run, caller)
    assert (again.end, again.test, story(again)) == ("done", first.test, story(first))
    assert [function for function, _ in caller.calls] == [EXAMINE, RENDER]
