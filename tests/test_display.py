"""What a person sees of a run's status, as plain lines and as a table."""

import io

import pytest
from rich.console import Console
from run.handmade import Pen

from evodevo import display
from evodevo.run.view import Reading, Status, View

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
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_why_a_run_failed_is_in_its_row_and_its_line_with_what_was_raised(
    failed: Status, console: Console
) -> None:
    console.print(display.status_table([failed]))
    display.show([failed], None, console)
    display.show_all([[failed]], 1, None, console)
    assert said(console).count(SHORT) == 3


def test_what_looks_like_markup_is_shown_as_it_is(console: Console) -> None:
    console.print(display.rows("small", [("status", "failed: [/way]"), ("  loss[0]", "[red]")]))
    assert "failed: [/way]" in said(console)
    assert "loss[0]    [red]" in said(console)
