"""How often runs are looked at while they are followed."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from evodevo.config import parse
from evodevo.run import view
from evodevo.run.journal import Journal
from evodevo.run.setup import JOURNAL
from evodevo.service import comparison
from evodevo.service.client import _RemainingFiles
from evodevo.service.comparison import Planned, carry_out
from evodevo.service.run_handle import LONGEST_POLL_S, POLL_S, look_interval_s
from tests.configs import small
from tests.run.journals import EVENTS


def test_a_long_run_is_looked_at_less_often() -> None:
    pauses = [look_interval_s(watched_s) for watched_s in (0.0, 5.0, 40.0, 3600.0)]
    assert pauses == [POLL_S, POLL_S, 1.0, LONGEST_POLL_S]


@pytest.mark.parametrize("known", [0, 1, 3, 4, 7, 8, 10, 11])
def test_what_a_closed_client_has_not_read_is_read_from_the_files(
    known: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader takes a reading that is not full for the last one."""
    monkeypatch.setattr(view, "MANY", 4)
    with Journal(tmp_path / JOURNAL) as journal:
        journal.append([EVENTS[0]] * 11)
    source = _RemainingFiles(tmp_path, known)
    numbers: list[int] = []
    while len(records := source.read(known + len(numbers)).records) >= 4:
        numbers += [record["n"] for record in records]
    assert numbers + [record["n"] for record in records] == list(range(known, 11))
    assert not source.read(11).records


class Followed:
    """A run that is done at its `looks`-th look."""

    def __init__(self, looks: int) -> None:
        self.view = SimpleNamespace(over=False, history=SimpleNamespace(end=None), status=lambda: "over")
        self.looks = looks
        self.seen = 0

    def status(self) -> str:
        self.seen += 1
        if self.seen == self.looks:
            self.view.over, self.view.history.end = True, "done"
        return "running"


def test_a_comparison_reads_no_run_again_that_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = [Planned("a", seed, parse(small({"run.name": f"a-s{seed}"}))) for seed in range(3)]
    runs = {one.config.run.name: Followed(looks) for one, looks in zip(planned, (1, 5, 2), strict=True)}
    client = SimpleNamespace(
        runs_dir=tmp_path, workers=1, names=list, submit=lambda config: runs[config.run.name]
    )
    monkeypatch.setattr(comparison, "write", lambda *_: [])
    monkeypatch.setattr(comparison, "look_interval_s", lambda _: 0.0)
    rounds = list(carry_out(client, planned[0].config, planned))  # type: ignore[arg-type]
    assert [run.seen for run in runs.values()] == [1, 5, 2]
    assert rounds[-1] == ["over", "running", "over"]
