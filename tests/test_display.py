"""What a person sees of a run's status, as plain lines and as a table."""

import io

import pytest

from evodevo import display
from evodevo.config import parse
from evodevo.console import HarmlessConsole
from evodevo.evolution.strategies.mutate_best import NEITHER, NO_GAIN, ZERO
from evodevo.run.view import Reading, Status, View
from tests.configs import small
from tests.run.handmade import Pen

REASON = "2 of 4 members failed; the first, g000s000:\nTraceback ...\n  File ...\nValueError: no [/way]\n"
SHORT = "2 of 4 members failed; the first, g000s000: … ValueError: no [/way]"


class Failed:
    """A run that failed, with a reason of many lines that ends in what looks like markup."""

    def read(self, since: int) -> Reading:
        pen = Pen()
        pen.founders()
        pen.end("failed", REASON)
        return Reading(pen.records[since:], live=False)


@pytest.fixture
def failed() -> Status:
    return View("small", Failed()).refresh()


@pytest.fixture
def console() -> HarmlessConsole:
    return HarmlessConsole(file=io.StringIO(), width=200)


def said(console: HarmlessConsole) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_why_a_run_failed_is_in_its_row_and_its_line_with_what_was_raised(
    failed: Status, console: HarmlessConsole
) -> None:
    console.print(display.status_table([failed]))
    display.show([failed], None, console)
    display.show_all([[failed]], 1, None, console)
    assert said(console).count(SHORT) == 3


def test_what_looks_like_markup_is_shown_as_it_is(console: HarmlessConsole) -> None:
    console.print(display.rows("small", [("status", "failed: [/way]"), ("  loss[0]", "[red]")]))
    assert "failed: [/way]" in said(console)
    assert "loss[0]    [red]" in said(console)


def test_without_a_terminal_nothing_is_wrapped_or_padded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.StringIO())
    console = HarmlessConsole()
    cells = [["truncation_pbt", "0.6991 ± 0.039 " * 30], ["cosine", "1"]]
    console.print(display.table(["arm", "loss"], cells))
    lines = said(console).splitlines()
    assert len(lines) == 3
    assert lines[1].count("0.6991 ± 0.039") == 30
    assert lines[2] == "  cosine            1"


class Crowded:
    """A run at work, with connected workers that it cannot use."""

    def __init__(self, workers: int, *why: str) -> None:
        self.workers, self.why = workers, why

    def read(self, since: int) -> Reading:
        pen = Pen()
        pen.founders()
        return Reading(pen.records[since:], True, self.workers, (), len(self.why), self.why)


def test_workers_without_work_are_said_once_in_the_progress_and_in_the_table(
    console: HarmlessConsole,
) -> None:
    status = View("small", Crowded(2, "worker a: it sees no GPU", "worker b: too slow")).refresh()
    display.show([status, status], None, console)
    console.print(display.status_table([status]))
    assert said(console).count("2 workers get no work; worker a: it sees no GPU") == 2
    none = View("small", Crowded(0, "worker c: taken")).refresh()
    more = View("small", Crowded(2, "worker c: taken")).refresh()
    display.show([none], None, console)
    assert "worker c" not in said(console)
    display.show([none, more], None, console)
    assert "1 worker gets no work; worker c: taken" in said(console)


def test_nothing_is_said_of_workers_where_all_have_work(console: HarmlessConsole) -> None:
    status = View("small", Crowded(2)).refresh()
    display.show([status], None, console)
    console.print(display.status_table([status]))
    assert "no work" not in said(console)
    assert display.unused_lines([], [status]) == []


def test_a_worker_that_only_one_run_cannot_use_is_said_with_that_run() -> None:
    status = View("small", Crowded(2, "worker a: taken", "worker b: its data differ")).refresh()
    assert display.unused_lines(["worker a: taken"], [status]) == [
        "no work for worker a: taken",
        "no work from small for worker b: its data differ",
    ]


def test_check_says_which_hyperparameters_cannot_evolve_and_what_would_let_them() -> None:
    loci = {
        "lr0": {"type": "float", "low": 1e-5, "high": 0.1, "initial": 0.01},
        "degrees": {"type": "float", "low": 0.0, "high": 45.0, "initial": 0.0},
        "mixup": {"type": "float", "low": 0.0, "high": 1.0, "initial": 0.0},
        "fliplr": {"type": "fixed", "value": 0.5},
        "perspective": {"type": "fixed", "value": 0.0},
        "constant": {"type": "fixed", "value": 3},
    }
    search = {"strategy": "mutate_best", "generations": 3, "loci": loci}
    search["options"] = {"gains": {"fliplr": 0.0, "perspective": 0.0}}
    told = display.plan(parse({**small(), "search": search}), {"facts": [], "metrics": ["validation_loss"]})
    assert told[-4:] == [
        ("evolving", "lr0"),
        ("can't evolve", f"degrees, mixup: {ZERO}"),
        ("", f"fliplr: {NO_GAIN}"),
        ("", f"perspective: {NEITHER}"),
    ]


def test_check_says_how_long_generations_are_and_what_averages_are_for() -> None:
    pieces = {"judge": "averaged", "recombine": {"last": 0.25}, "soup": True}
    length = {"generations": None, "epochs": 48}
    given = {f"search.{key}": value for key, value in {**pieces, **length}.items()}
    lines = display.plan(parse(small(given)), {"facts": [], "metrics": ["validation_loss"]})
    told = [f"{label}: {value}" for label, value in lines]
    assert "search: tri_parent, 4 members x 21 generations of 1 to 4 epochs" in told
    assert (
        "averages: members are judged by them, half-life 1 epoch; generations from 10 on begin from means; "
        "a soup at the end"
    ) in told
    plain = dict(display.plan(parse(small()), {"facts": [], "metrics": ["validation_loss"]}))
    assert "averages" not in plain
