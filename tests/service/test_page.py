"""What the page says in words; tests/integration/test_page.py has it in a browser."""

from evodevo.run.view import Reading, View
from evodevo.service.page import _about, _rows
from tests.run.handmade import Pen


class Live:
    """A run at work on some workers, with others that are connected and get no work from it."""

    def __init__(self, workers: int, problems: list[str], why: list[str]) -> None:
        self.workers, self.problems, self.why = workers, problems, why

    def read(self, since: int) -> Reading:
        pen = Pen()
        pen.founders()
        return Reading(pen.records[since:], True, self.workers, self.problems, len(self.why), self.why)


def test_the_chosen_run_says_which_workers_get_no_work_and_why() -> None:
    status = View("small", Live(1, [], ["worker a: its data differ <b>", "worker b: taken"])).refresh()
    about = _about(status)
    assert "<dt>workers without work</dt><dd>2</dd>" in about
    assert "<pre>worker a: its data differ &lt;b&gt;\nworker b: taken</pre>" in about
    assert _rows([status])["message"] == ["2 workers get no work; worker a: its data differ <b>"]


def test_what_the_message_says_is_not_said_twice() -> None:
    status = View("small", Live(0, ["worker a: taken"], ["worker a: taken"])).refresh()
    assert _about(status).count("worker a: taken") == 1
