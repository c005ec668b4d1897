"""A run as it is seen from outside, through its journal."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from evodevo import display
from evodevo.errors import UsageError
from evodevo.report.inline import status_rows
from evodevo.run.events import Lost
from evodevo.run.journal import Journal
from evodevo.run.setup import JOURNAL
from evodevo.run.view import FileSource, Reading, State, Status, View, brief, refuse_live, runs_in, troubles
from tests.golden import assert_golden
from tests.run.fakes import FakeCaller, carry_out, config_of, new_run
from tests.run.handmade import Pen


class Window:
    """A source that shows what a pen has written, and asks that nothing is read twice."""

    def __init__(
        self, pen: Pen, live: bool = True, workers: int | None = 2, problems: Sequence[str] = ()
    ) -> None:
        self.pen, self.live, self.workers, self.problems = pen, live, workers, problems
        self.shown = 0
        self.waits = ""

    def read(self, since: int) -> Reading:
        assert since == self.shown
        self.shown = len(self.pen.records)
        return Reading(self.pen.records[since:], self.live, self.workers, self.problems, waits=self.waits)


def seen(pen: Pen, live: bool = True, workers: int | None = 2, problems: Sequence[str] = ()) -> Status:
    return View("small", Window(pen, live, workers, problems)).refresh()


@pytest.fixture
def pen() -> Pen:
    return Pen()


def test_a_run_that_waits_for_its_disk_says_so_whatever_workers_there_are(pen: Pen) -> None:
    pen.founders()
    window = Window(pen, True, 2)
    window.waits = "No space left on device: /runs/small"
    status = View("small", window).refresh()
    assert (status.state, status.message) == ("waiting", "waiting: No space left on device: /runs/small")


def test_a_run_that_waits_for_workers_says_that_none_is_connected(pen: Pen) -> None:
    pen.founders()
    assert_golden("view/no-worker", seen(pen, workers=0).message or "")
    assert seen(pen, live=False, workers=0).message is None
    assert seen(pen, workers=0, problems=["worker a: too old"]).message == "worker a: too old"


def test_a_run_whose_attempts_are_lost_again_and_again_waits_as_its_journal_says(pen: Pen) -> None:
    pen.founders()
    for _ in range(3):
        pen.write(Lost("g000s000", "CheckpointError: read-only", blame="disk"))
    status = seen(pen)
    assert status.state == "waiting"
    assert status.message == "waiting: CheckpointError: read-only (g000s000 has lost 3 attempts in a row)"
    assert seen(pen, live=False).message is None
    pen.done(g000s001=1.0)
    assert (seen(pen).state, seen(pen).message) == ("running", None)


@pytest.mark.parametrize(
    ("end", "live", "workers", "state"),
    [
        (None, True, 2, "running"),
        (None, True, None, "running"),
        (None, True, 0, "waiting"),
        (None, False, 2, "interrupted"),
        (None, False, 0, "interrupted"),
        ("done", True, 2, "done"),
        ("done", False, 0, "done"),
        ("failed", False, None, "failed"),
        ("cancelled", True, 0, "cancelled"),
    ],
)
def test_the_state_follows_from_the_end_the_controller_and_the_workers(
    end: State | None, live: bool, workers: int | None, state: State, pen: Pen
) -> None:
    pen.founders()
    if end:
        pen.end(end)
    window = Window(pen, live, workers)
    view = View("small", window)
    assert view.refresh().state == state
    assert view.over != live


@pytest.mark.parametrize(
    ("workers", "state", "message"),
    [
        (3, "running", None),
        (2, "waiting", "waits for 3 workers (cluster.workers_per_member); 2 are connected"),
        (1, "waiting", "waits for 3 workers (cluster.workers_per_member); 1 is connected"),
        (0, "waiting", "why no worker fits"),
        (None, "running", None),
    ],
)
def test_a_run_with_fewer_workers_than_a_member_needs_waits_and_says_so(
    workers: int | None, state: State, message: str | None
) -> None:
    pen = Pen(config_of(cluster__workers_per_member=3))
    pen.founders()
    status = seen(pen, True, workers, ["why no worker fits"] if workers == 0 else [])
    assert (status.state, status.message) == (state, message)


def test_a_run_that_is_resumed_is_running_again(pen: Pen) -> None:
    pen.end("failed", "too many")
    view = View("small", Window(pen))
    assert (view.refresh().state, view.status().message) == ("failed", "too many")
    pen.controller()
    assert (view.refresh().state, view.status().message) == ("running", None)


def test_complete_generations_and_the_members_of_the_one_at_work_are_counted(pen: Pen) -> None:
    view = View("small", Window(pen))

    def counts() -> tuple[int, int]:
        status = view.refresh()
        assert (status.generations, status.population) == (4, 4)
        return status.generation, status.members_done

    assert counts() == (0, 0)
    pen.founders()
    assert counts() == (0, 0)
    pen.done(g000s002=1.0)
    pen.failed("g000s000")
    assert counts() == (0, 2)
    pen.diverged("g000s001")
    pen.done(g000s003=2.0)
    assert counts() == (1, 0)
    pen.generation(*["g000s002"] * 4)
    assert counts() == (2, 0)


def test_the_median_is_of_the_usable_foms_of_the_last_generation_with_outcomes(pen: Pen) -> None:
    view = View("small", Window(pen))
    assert view.refresh().median_fom is None
    pen.founders()
    pen.done(g000s000=4.0, g000s001=1.0)
    assert view.refresh().median_fom == 2.5
    pen.diverged("g000s002")
    pen.done(g000s003=2.0)
    assert view.refresh().median_fom == 2.0
    pen.births(*["g000s001"] * 4)
    assert view.refresh().median_fom == 2.0
    pen.done(g001s003=9.0)
    assert view.refresh().median_fom == 9.0
    pen.failed("g001s000", "g001s001", "g001s002")
    pen.births(*["g001s003"] * 4)
    assert view.refresh().median_fom == 9.0


def test_the_best_is_of_the_whole_run(pen: Pen) -> None:
    pen.generation(*[None] * 4, foms=(3.0, 0.5, 2.0, 1.0))
    pen.generation(*["g000s001"] * 4, foms=(3.0, 2.0, 0.75, 1.0))
    status = seen(pen)
    assert (status.best_fom, status.best_member, status.median_fom) == (0.5, "g000s001", 1.5)
    assert (status.metric, status.mode) == ("validation_loss", "min")


def test_troubles_are_counted(pen: Pen) -> None:
    pen.founders()
    pen.lost("g000s000")
    pen.lost("g000s000")
    pen.failed("g000s000")
    pen.diverged("g000s001", "g000s002")
    pen.lost("g000s003")
    status = seen(pen)
    assert (status.failed, status.diverged, status.lost_attempts) == (1, 2, 3)
    assert troubles(status) == ["1 failed", "2 diverged", "3 attempts lost"]
    assert "1 failed, 2 diverged, 3 attempts lost" in display.line(status)
    assert ("trouble", "1 failed, 2 diverged, 3 attempts lost") in status_rows(status)
    assert troubles(replace(status, failed=0, lost_attempts=0)) == ["2 diverged"]


def test_the_time_that_remains_is_what_the_members_left_take_at_the_pace_so_far(pen: Pen) -> None:
    pen.founders()
    assert seen(pen).remaining_s is None
    pen.now += 10.0
    pen.done(g000s000=1.0, g000s001=2.0)
    assert (seen(pen).elapsed_s, seen(pen).remaining_s) == (10.0, 70.0)
    pen.now += 6.0
    pen.done(g000s002=1.0, g000s003=2.0)
    assert seen(pen).remaining_s == pytest.approx(16.0 / 4 * 12)


@pytest.mark.parametrize(("live", "workers", "end"), [(True, 0, None), (False, 2, None), (True, 2, "done")])
def test_nothing_is_said_of_the_time_that_remains_to_a_run_that_does_not_go_on(
    live: bool, workers: int, end: str | None, pen: Pen
) -> None:
    pen.founders()
    pen.now += 10.0
    pen.done(g000s000=1.0)
    if end:
        pen.end(end)
    status = seen(pen, live, workers)
    assert (status.elapsed_s, status.remaining_s) == (10.0, None)


def test_the_reason_of_the_end_goes_before_problems_and_problems_are_joined(pen: Pen) -> None:
    problems = ["worker a: too old", "worker b: too new"]
    assert seen(pen).message is None
    assert seen(pen, problems=problems).message == "worker a: too old; worker b: too new"
    pen.end("failed", "all diverged")
    assert seen(pen, problems=problems).message == "all diverged"


def test_a_status_is_plain_json(pen: Pen) -> None:
    pen.generation(*[None] * 4)
    status = seen(pen)
    assert Status(**json.loads(json.dumps(status.to_json()))) == status


def test_a_journal_is_followed_while_it_grows(tmp_path: Path, pen: Pen) -> None:
    run = pen.save(tmp_path / "run")
    view = View("run", FileSource(run))
    assert view.refresh().state == "interrupted"
    with Journal(run / JOURNAL) as journal:
        for step in (pen.founders, lambda: pen.done(g000s000=1.0), lambda: pen.done(g000s001=0.5)):
            step()
            journal.append(pen.records[journal.count :])
            status = view.refresh()
            assert (status.state, view.over, status.workers) == ("running", False, None)
            assert status.members_done == len(pen.records) - 3
            assert view.refresh() == status
    assert status.best_member == "g000s001"
    assert (view.refresh().state, view.over) == ("interrupted", True)


def test_a_record_that_is_being_written_is_seen_when_it_is_whole(tmp_path: Path, pen: Pen) -> None:
    pen.founders()
    run = pen.save(tmp_path / "run")
    pen.done(g000s000=1.0)
    whole = pen.save(tmp_path / "later").joinpath(JOURNAL).read_bytes()
    view = View("run", FileSource(run))
    written = (run / JOURNAL).read_bytes()
    for end in range(len(written), len(whole), 17):
        (run / JOURNAL).write_bytes(whole[:end])
        assert view.refresh().members_done == 0
    (run / JOURNAL).write_bytes(whole)
    assert view.refresh().members_done == 1


def test_a_finished_run_is_seen_from_its_directory_alone(tmp_path: Path) -> None:
    history = carry_out(new_run(tmp_path / "run", config_of()), FakeCaller())
    status = View("run", FileSource(tmp_path / "run")).refresh()
    assert (status.state, status.generation, status.members_done, status.failed) == ("done", 4, 0, 0)
    assert history.best is not None
    assert (status.best_fom, status.best_member) == (history.best.fom, history.best.id)


def test_who_carries_a_run_on_is_said_by_host_process_and_scheduler(tmp_path: Path, pen: Pen) -> None:
    run = pen.save(tmp_path / "run")
    refuse_live(run)
    with Journal(run / JOURNAL) as journal:
        about = {"host": "n7", "pid": 42, "scheduler": "tcp://n7:1"}
        journal.append([{"kind": "controller", "retry": False, **about}])
        with pytest.raises(UsageError, match=r"'run'.*\(host n7, pid 42, scheduler tcp://n7:1\)"):
            refuse_live(run)
    refuse_live(run)


@pytest.mark.parametrize("what", ["nothing there", "an empty directory"])
def test_a_directory_that_is_not_a_run_is_named(what: str, tmp_path: Path) -> None:
    directory = tmp_path / "it"
    if what == "an empty directory":
        directory.mkdir()
    with pytest.raises(UsageError, match=f"{directory}.*{JOURNAL}"):
        FileSource(directory)


def test_a_run_that_was_killed_before_its_first_record_is_named(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_bytes(b"")
    with pytest.raises(UsageError, match=str(tmp_path)):
        View("run", FileSource(tmp_path)).refresh()


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("", ""),
        ("one line", "one line"),
        ("first\nsecond\n\n  last  \n", "first … last"),
        ("Traceback (most recent call last):\n  File ...\nKeyError: 3", "KeyError: 3"),
    ],
)
def test_a_message_is_cut_to_what_says_most(text: str, short: str) -> None:
    assert brief(text) == short


def test_the_runs_of_a_directory_are_those_with_a_journal(tmp_path: Path, pen: Pen) -> None:
    assert runs_in(tmp_path / "nowhere") == []
    pen.save(tmp_path / "one")
    (tmp_path / "no run").mkdir()
    (tmp_path / "README.md").touch()
    assert runs_in(tmp_path) == ["one"]


def test_a_run_that_was_made_first_comes_first_although_it_was_written_last(tmp_path: Path) -> None:
    older, _ = (new_run(tmp_path / name) for name in ("z", "a"))
    for path in older.iterdir():
        os.utime(path, (1000, 1000))
    with Journal(older / JOURNAL) as journal:
        journal.append([{"kind": "controller", "retry": False}])
    assert runs_in(tmp_path) == ["z", "a"]
