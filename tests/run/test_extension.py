"""A run that is carried on to another number of generations."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from run.fakes import (
    FakeCaller,
    FakeClock,
    carry_out,
    config_of,
    finished,
    history_of,
    new_run,
    story,
)
from run.moments import moments_of
from run.test_controller_resumed import accident_prone, hopeless

from evodevo.cli_common import refuse_another
from evodevo.report.products import write_products
from evodevo.run import retention
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.codec import decode
from evodevo.run.events import Ended, Extended, TakenOver
from evodevo.run.extension import extension_of
from evodevo.run.journal import JournalError, Tail
from evodevo.run.setup import CONFIG, JOURNAL
from evodevo.run.view import FileSource, View
from evodevo.service.run_handle import open_run
from tests.configs import complaint
from tests.golden import assert_golden, raises_golden

SEARCHES: list[dict[str, Any]] = [
    {},
    {"search__strategy": "truncation_pbt"},
    {"search__strategy": "random_search"},
    {"search__strategy": "scheduled", "search__options": {"epochs": 3}},
    {"search__pace": "pools", "search__pool": 2},
]


def judged(directory: Path, generations: int) -> int | None:
    """What a service would have journaled."""
    return extension_of(directory, history_of(directory), generations)


def refused(directory: Path, generations: int) -> str:
    return complaint(lambda: judged(directory, generations))


def events_of(directory: Path) -> list[Any]:
    return [decode(record) for record in Tail(directory / JOURNAL).read()]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that is done, with 4 generations."""
    finished(tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: "-".join(map(str, search.values())))
def test_a_run_that_is_extended_has_the_history_of_one_that_was_begun_so_even_if_it_is_killed(
    search: dict[str, Any], tmp_path: Path
) -> None:
    longer = config_of(search__generations=5, **search)
    expected = story(finished(tmp_path / "begun with 5", longer, accident_prone()))
    config = config_of(search__generations=3, **search)
    undisturbed = new_run(tmp_path / "undisturbed", config)
    assert carry_out(undisturbed, accident_prone()).end == "done"
    assert judged(undisturbed, 5) == 5
    moments = moments_of(undisturbed, lambda: carry_out(undisturbed, accident_prone(), generations=5))
    assert story(history_of(undisturbed)) == expected
    assert (undisturbed / CONFIG).read_text() == longer.complete().to_yaml()
    kills = 0
    for number, moment in enumerate(moments):
        run = moment.restore(tmp_path / str(number))
        then = history_of(run)
        if then.end == "done" or then.config.search.generations == 3:
            continue  # the user has not been told that it goes on
        kills += 1
        assert judged(run, 5) is None, "the same command carries it on"
        history = carry_out(run, accident_prone())
        assert (history.end, story(history)) == ("done", expected)
        assert (run / CONFIG).read_text() == longer.complete().to_yaml()
    assert kills >= 2 * 2 * (1 + 4)


def test_the_journal_says_that_a_run_goes_on_and_every_reader_sees_the_new_number(run: Path) -> None:
    watching = View("run", FileSource(run))
    assert (watching.refresh().state, watching.status().generations) == ("done", 4)
    carry_out(run, FakeCaller(), generations=6)
    events = events_of(run)
    ends = [at for at, event in enumerate(events) if isinstance(event, Ended)]
    assert isinstance(events[ends[0] + 1], TakenOver)
    assert events[ends[0] + 2] == Extended(6)
    status = watching.refresh()
    assert (status.state, status.generation, status.generations) == ("done", 6, 6)
    write_products(run)
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["generations"], summary["members"]) == (6, 24)
    assert "generations: 6" in (run / "report" / "index.html").read_text()


def test_workers_are_told_how_long_the_whole_run_is_now(run: Path) -> None:
    caller = FakeCaller()
    carry_out(run, caller, generations=6)
    assert {unit.job.total_epochs for unit in caller.units} == {6}


def test_what_the_first_end_said_is_gone_while_the_run_goes_on(run: Path) -> None:
    history = history_of(run)
    assert history.test
    history.take(TakenOver({}), history.last_at)
    history.take(Extended(5), history.last_at)
    assert (history.end, history.test, history.config.search.generations) == (None, {}, 5)


def test_the_config_that_is_written_anew_keeps_the_time_at_which_the_run_was_made(run: Path) -> None:
    os.utime(run / CONFIG, (1000.0, 1000.0))
    carry_out(run, FakeCaller(), generations=5)
    assert "generations: 5" in (run / CONFIG).read_text()
    assert (run / CONFIG).stat().st_mtime == 1000.0


def test_a_version_that_does_not_know_the_event_refuses_the_run() -> None:
    with raises_golden("extension/newer-journal", JournalError):
        decode({"n": 7, "time": 1.0, "kind": "extended again", "generations": 6})


@pytest.mark.parametrize("generations", [1, 3, 4])
def test_no_more_than_there_are_is_refused_and_changes_nothing(generations: int, run: Path) -> None:
    assert_golden("extension/no-more-generations", refused(run, generations))
    assert not any(isinstance(event, Extended) for event in events_of(run))


def test_a_failed_run_is_tried_again_with_the_new_number(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    assert carry_out(run, hopeless()).end == "failed"
    assert_golden("extension/no-more-generations-of-a-failed-run", refused(run, 2))
    assert judged(run, 3) == 3, "less than it was begun with, and more than are born"
    history = carry_out(run, FakeCaller(), retry=True, generations=3)
    assert (history.end, len(history.generations), len(history.over)) == ("done", 3, 12)
    assert story(history) == story(finished(tmp_path / "3", config_of(search__generations=3)))


def test_where_the_checkpoints_of_the_last_generation_are_gone_another_run_is_offered(run: Path) -> None:
    history = history_of(run)
    assert history.best is not None
    assert history.best.outcome is not None
    store = CheckpointStore(str(run / "params"))
    best = history.best.outcome.checkpoint
    assert best is not None
    needed = retention.needed_checkpoints(history)
    store.delete(needed - {best.name})
    told = refused(run, 6)
    assert f"{len(needed) - 1} of the {len(needed)} checkpoints" in told
    assert_golden("extension/checkpoints-gone", told)


def test_a_run_whose_time_is_used_up_is_not_carried_on_to_end_at_once(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", config_of(limits__wall_time_s=1.0))
    clock = FakeClock()
    assert len(carry_out(run, FakeCaller(clock=clock), clock=clock).generations) < 4
    assert_golden("extension/time-used-up", refused(run, 9))


def test_a_replay_has_no_more_generations_than_its_schedule(tmp_path: Path) -> None:
    options = {"genomes": [config_of().space().given()] * 2, "training_seeds": [1, 2]}
    config = config_of(
        search__strategy="replay", search__population=1, search__generations=2, search__options=options
    )
    finished(tmp_path / "run", config)
    assert_golden("extension/replay", refused(tmp_path / "run", 3))


def test_hyperparameter_evolution_goes_on_even_after_a_prune(tmp_path: Path) -> None:
    config = config_of(
        search__strategy="mutate_best", search__population=1, search__generations=5, search__options={}
    )
    history = finished(tmp_path / "run", config)
    assert history.best is not None
    assert judged(tmp_path / "run", 8) == 8
    assert len(carry_out(tmp_path / "run", FakeCaller(), generations=8).over) == 8


def test_a_config_that_differs_in_its_length_alone_is_offered_as_an_extension(run: Path) -> None:
    def offered(**changes: Any) -> str:
        return complaint(lambda: refuse_another(open_run(run), config_of(**changes)))

    longer = offered(search__generations=9)
    assert "`evodevo resume run --generations 9`" in longer
    assert_golden("extension/longer-config", longer)
    larger = offered(search__generations=9, search__population=5)
    assert "`evodevo resume run`" in larger
    assert_golden("extension/longer-and-larger-config", larger)
    shorter = offered(search__generations=3)
    assert "`evodevo resume run`" in shorter
    assert_golden("extension/shorter-config", shorter)
    carry_out(run, FakeCaller(), generations=9)
    refuse_another(open_run(run), config_of(search__generations=9))


@pytest.mark.parametrize("search", [{"search__pace": "steady"}, {"search__legs": 2}], ids=str)
def test_a_steady_run_and_one_of_several_legs_go_on_to_their_new_number_of_births(
    search: dict[str, Any], tmp_path: Path
) -> None:
    finished(tmp_path / "run", config_of(search__generations=3, **search))
    assert judged(tmp_path / "run", 5) == 5
    history = carry_out(tmp_path / "run", FakeCaller(), generations=5)
    assert (history.end, len(history.over), history.completed()) == ("done", 20, 5)
