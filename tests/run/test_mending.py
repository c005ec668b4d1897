"""Checkpoints that are missing or altered are made again, and the history stays as it is."""

import asyncio
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run.fakes import (
    FakeCaller,
    befall,
    carry_out,
    config_of,
    finished,
    history_of,
    new_run,
    stop,
    story,
)

from evodevo.config import RunConfig
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.codec import decode
from evodevo.run.events import Replaced
from evodevo.run.history import History
from evodevo.run.journal import Removed, Tail
from evodevo.run.keeper import Keeper
from evodevo.run.pacing import pacing_of
from evodevo.run.records import Assignment
from evodevo.run.retention import needed_checkpoints
from evodevo.run.setup import JOURNAL
from tests.golden import raises_golden

PACES: dict[str, dict[str, Any]] = {
    "generations": {},
    "pools": {"search__pace": "pools", "search__pool": 2},
    "legs": {"search__generations": 3, "search__legs": 2},
    "epochs": {"search__epochs_per_generation": 2},
    "means": {"search__recombine": {"last": 0.5}},
    "command": {},
}


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5])


def _alter(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "somebody's").touch()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "missing": Path.unlink,
    "cut": _cut,
    "empty": lambda path: path.write_bytes(b"") and None,
    "altered": _alter,
    "directory": _directory,
}


def config(pace: str, **changes: Any) -> RunConfig:
    return config_of(**{**PACES[pace], **changes})


def files(run: Path) -> list[Path]:
    return sorted(path for path in (run / "params").glob("*") if path.is_file())


def whole(run: Path, history: History) -> bool:
    """Whether all that the run keeps is as it was published."""
    store = CheckpointStore(str(run / "params"))
    found = {
        outcome.checkpoint.name: outcome.checkpoint
        for life in [*history.births, *history.means.values()]
        for outcome in life.outcomes()
        if outcome.checkpoint
    }
    kept = {path.name for path in files(run)}
    return all(store.damage(found[name]) is None for name in kept & found.keys())


@pytest.mark.parametrize("pace", ["generations", "pools", "legs", "epochs", "means"])
def test_each_checkpoint_that_is_lost_while_a_run_goes_on_is_made_again_with_the_same_history(
    pace: str, tmp_path: Path
) -> None:
    """At each assignment all that is in the store goes: what is needed comes back, from founders on."""
    plain = FakeCaller()
    expected = story(finished(tmp_path / "plain", config(pace), plain))
    count = len(plain.assignments)
    for at in range(1, count, 2):
        run = new_run(tmp_path / f"{at}", config(pace))
        seen: list[Assignment] = []

        def lose(
            assignment: Assignment, run: Path = run, at: int = at, seen: list[Assignment] = seen
        ) -> None:
            seen.append(assignment)
            if len(seen) == at:
                for path in files(run):
                    path.unlink()

        history = carry_out(run, FakeCaller(watch=lose))
        assert (history.end, story(history)) == ("done", expected), at
        assert not any(life.lost for life in history.lives())
        assert whole(run, history)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("pace", ["generations", "means"])
def test_each_checkpoint_of_a_stopped_run_may_be_damaged_in_any_way(
    pace: str, damage: str, tmp_path: Path
) -> None:
    expected = story(finished(tmp_path / "plain", config(pace)))
    stop(new_run(tmp_path / "stopped", config(pace)), befall("hang", "g002s001"))
    for path in files(tmp_path / "stopped"):
        run = tmp_path / path.name
        shutil.copytree(tmp_path / "stopped", run)
        DAMAGES[damage](run / "params" / path.name)
        history = carry_out(run, FakeCaller())
        assert (history.end, story(history)) == ("done", expected)


def test_what_a_directory_took_the_place_of_is_kept_under_another_name(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", config("generations"))
    stop(run, befall("hang", "g002s001"))
    needed = history_of(run).pending["g002s001"]
    parent = history_of(run).parent_checkpoint(needed)
    assert parent is not None
    _directory(run / "params" / parent.name)
    carry_out(run, FakeCaller())
    (aside,) = (run / "params").glob("*.aside")
    assert [path.name for path in aside.iterdir()] == ["somebody's"]


def test_only_the_missing_part_of_a_line_is_trained_again_each_once_and_nothing_of_it_is_left(
    tmp_path: Path,
) -> None:
    run = new_run(tmp_path / "run", config("generations"))
    stop(run, befall("hang", "g003s001"))
    history = history_of(run)
    line = history.line(history.pending["g003s001"])[:-1]
    parent = line[-1].outcome
    assert parent is not None
    assert parent.checkpoint is not None
    (run / "params" / parent.checkpoint.name).unlink()
    caller = FakeCaller()
    done = carry_out(run, caller)
    assert [one.member for one in caller.assignments if one.remakes] == [life.id for life in line]
    assert {path.name for path in files(run)} <= needed_checkpoints(done)


def test_a_loss_on_the_way_is_tried_again(tmp_path: Path) -> None:
    expected = story(finished(tmp_path / "plain", config("generations")))
    run = new_run(tmp_path / "run", config("generations"))
    stop(run, befall("hang", "g002s001"))
    for path in files(run):
        path.unlink()
    lost: set[str] = set()

    def fate(assignment: Assignment) -> Any:
        if assignment.remakes is None or assignment.member in lost:
            return "done"
        lost.add(assignment.member)
        return "lost_late" if len(lost) % 2 else "lost"

    history = carry_out(run, FakeCaller(fate))
    assert lost
    assert (history.end, story(history)) == ("done", expected)


def drifting(run: Path, caller: FakeCaller | None = None) -> History:
    """The run goes on where training gives other numbers than before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("run.fakes.quality_of", lambda inherited, hp, seed: 0.6 * inherited + 0.4)
        return carry_out(run, caller or FakeCaller())


def test_other_bytes_stop_the_run_with_a_message_and_change_nothing(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", config("generations"))
    stop(run, befall("hang", "g002s001"))
    before = story(history_of(run))
    for path in files(run):
        path.unlink()
    history = drifting(run)
    assert history.end == "failed"
    assert history.reason is not None
    assert "it has other bytes than at first" in history.reason
    assert "`evodevo verify small --repair --accept`" in history.reason
    after = story(history)
    assert all(row in after for row in before if row[5] is not None)


def test_other_bytes_are_gone_on_from_if_the_config_says_so_and_the_journal_tells(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", config("generations", checkpoints__on_mismatch="accept"))
    stop(run, befall("hang", "g002s001"))
    lost = {path.name for path in files(run)}
    for path in files(run):
        path.unlink()
    history = drifting(run)
    assert history.end == "done"
    assert whole(run, history)
    events = [decode(record) for record in Tail(run / JOURNAL).read()]
    replaced = [event for event in events if isinstance(event, Replaced)]
    assert replaced
    for event in replaced:
        outcome = history.by_id[event.member].outcome
        assert outcome is not None
        assert outcome.checkpoint == event.checkpoint
        assert event.checkpoint.name not in lost


def test_the_best_is_made_again_for_the_final_test_and_the_soup_from_its_members(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"search__soup": True}
    expected = finished(tmp_path / "plain", config("generations", **settings))
    run = new_run(tmp_path / "run", config("generations", **settings))
    stop(run, FakeCaller(trouble={"workers.soup:make_soup": None}))
    for path in files(run):
        path.unlink()
    history = carry_out(run, FakeCaller())
    assert history.soup is not None
    assert expected.soup is not None
    assert (history.test, history.soup.fom) == (expected.test, expected.soup.fom)


def test_what_is_made_again_stays_while_a_sweep_deletes_what_nobody_needs(tmp_path: Path) -> None:
    """Other members are born and done meanwhile: ancestors that are on the way are no strays."""
    setting = config("pools", search__population=6, search__generations=6)
    expected = story(finished(tmp_path / "plain", setting))
    run = new_run(tmp_path / "run", setting)
    seen: list[str] = []

    def watch(assignment: Assignment) -> None:
        if assignment.remakes is None:
            seen.append(assignment.member)
            if len(seen) in (12, 20):
                for path in files(run):
                    path.unlink()

    history = carry_out(run, FakeCaller(watch=watch))
    assert (history.end, story(history)) == ("done", expected)


def test_members_that_were_trained_before_an_extension_are_trained_again_for_the_length_of_then(
    tmp_path: Path,
) -> None:
    run = new_run(tmp_path / "run", config("generations"))
    carry_out(run, FakeCaller())
    for path in files(run):
        path.unlink()
    caller = FakeCaller()
    carry_out(run, caller, generations=6)
    again = [unit for unit in caller.units if unit.assignments[0].remakes]
    old = [unit for unit in again if unit.assignments[0].member < "g004"]
    assert {unit.job.total_epochs for unit in old} == {4}
    first = [unit for unit in caller.units if not unit.assignments[0].remakes]
    assert {unit.job.total_epochs for unit in first} == {6}
    assert story(history_of(run))[:16] == story(finished(tmp_path / "plain", config("generations")))


def test_what_is_held_is_not_swept(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", config("generations"))
    history = carry_out(run, FakeCaller())
    store = CheckpointStore(str(run / "params"))
    held, stray = (store.publish("g000s000-a1", data).name for data in (b"held", b"stray"))

    async def on_disk(function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    keeper = Keeper(store, history, pacing_of(history.config.strategy(), history), on_disk)
    keeper.held = {held}
    asyncio.run(keeper.collect())
    assert held in store.names()
    assert stray not in store.names()


def test_a_disk_that_fails_often_while_a_checkpoint_is_made_again_fails_no_run(tmp_path: Path) -> None:
    expected = story(finished(tmp_path / "plain", config("generations")))
    run = new_run(tmp_path / "run", config("generations"))
    stop(run, befall("hang", "g002s001"))
    for path in files(run):
        path.unlink()
    tries: Counter[str] = Counter()

    def fate(assignment: Assignment) -> Any:
        tries[assignment.member] += assignment.remakes is not None
        return "disk" if 0 < tries[assignment.member] < 9 and assignment.remakes else "done"

    history = carry_out(run, FakeCaller(fate))
    assert min(count for count in tries.values() if count) == 9
    assert (history.end, story(history)) == ("done", expected)


def test_a_directory_that_is_removed_while_a_checkpoint_is_made_again_ends_the_attempts(
    tmp_path: Path,
) -> None:
    run = new_run(tmp_path / "run", config("generations"))
    stop(run, befall("hang", "g002s001"))
    for path in files(run):
        path.unlink()

    def fate(assignment: Assignment) -> Any:
        if assignment.remakes is None:
            return "done"
        shutil.rmtree(run, ignore_errors=True)
        return "disk"

    with raises_golden("mending/run-removed", Removed, tmp_path):
        carry_out(run, FakeCaller(fate))
