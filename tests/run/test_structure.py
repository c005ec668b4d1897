"""Journals with right checksums that evodevo has not written: they are read, or refused in one line."""

import copy
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import evodevo
from evodevo.cli import main
from evodevo.errors import UsageError
from evodevo.report.schedule import Schedule
from evodevo.report.summary import summary_lines, summary_of
from evodevo.report.tables import history_csv
from evodevo.run.history import load_history
from evodevo.run.journal import JournalError, Record, Tail, encode
from evodevo.run.setup import JOURNAL
from evodevo.run.view import FileSource, View
from tests.mutations import mutated_records
from tests.run.fakes import finished

Edit = Callable[[Record], None]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    directory = tmp_path_factory.mktemp("run") / "small"
    finished(directory)
    return list(Tail(directory / JOURNAL).read(10_000))


def written(directory: Path, records: list[Record]) -> Path:
    """A run's directory with a journal of these records."""
    directory.mkdir(exist_ok=True)
    (directory / JOURNAL).write_bytes(b"".join(map(encode, records)))
    return directory


def edited(records: list[Record], kind: str, edit: Edit) -> list[Record]:
    """The records with one of a kind changed."""
    found = copy.deepcopy(records)
    edit(next(one for one in found if one["kind"] == kind))
    return found


@pytest.mark.parametrize("begin", range(0, 400, 100))
def test_whatever_a_journal_says_it_is_read_or_refused(
    begin: int, records: list[Record], tmp_path: Path
) -> None:
    read = 0
    for seed in range(begin, begin + 100):
        try:
            directory = written(tmp_path / "run", mutated_records(records, random.Random(seed)))
            View("run", FileSource(directory)).refresh()
            history = load_history(directory / JOURNAL)
        except (JournalError, UsageError):
            continue
        read += 1
        history_csv(history)
        summary_of(history)
        summary_lines(history)
        if history.best:
            Schedule.of(history, history.best)
    assert 0 < read < 100


def births(edit: Callable[[dict[str, Any]], None]) -> Edit:
    return lambda record: edit(record["births"][0])


def losses(**epoch: Any) -> Edit:
    return lambda record: record["outcome"].update(losses=[epoch])


@pytest.mark.parametrize(
    "kind, edit, said",
    [
        ("births", births(lambda b: b["parents"].update(params=b["member"])), "descends from"),
        ("births", births(lambda b: b.update(generation=10**9)), "has the place"),
        ("births", births(lambda b: b.update(slot=-1)), "has the place"),
        ("births", births(lambda b: b["genome"].pop("rate")), "KeyError: 'rate'"),
        ("births", births(lambda b: b["genome"].update(rate="<script>")), "has rate = '<script>'"),
        ("births", lambda r: r["births"].append(r["births"][0]), "is born twice"),
        ("outcome", lambda r: r["outcome"].update(fom="0"), "should be a number"),
        ("outcome", lambda r: r["outcome"].pop("fom"), "with the fom None"),
        ("outcome", lambda r: r["outcome"]["checkpoint"].update(name="../../.ssh/id_rsa"), "has the name"),
        ("outcome", lambda r: r.update(member="g777s777"), "KeyError"),
        ("outcome", lambda r: r.pop("outcome"), "KeyError: 'outcome'"),
        ("outcome", lambda r: r.update(same_as=r["member"]), "which was not trained itself"),
        ("outcome", losses(steps=2, means=["high"]), "could not convert"),
        ("outcome", losses(steps=2, means=[None]), "should be a number"),
        ("outcome", losses(steps="2", means=[1.0]), "has 1 losses of '2' steps"),
        ("outcome", losses(steps=1, means=[1.0, 2.0]), "has 2 losses of 1 steps"),
        ("outcome", losses(steps=1), "KeyError: 'means'"),
        ("run", lambda r: r["config"]["search"].pop("loci"), "search.loci: is missing"),
        ("end", lambda r: r.update(status="well"), "the run ends 'well'"),
        ("end", lambda r: r.update(kind="future"), "upgrade evodevo"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_named(
    kind: str, edit: Edit, said: str, records: list[Record], tmp_path: Path
) -> None:
    directory = written(tmp_path / "run", edited(records, kind, edit))
    with pytest.raises((JournalError, UsageError)) as refused:
        View("run", FileSource(directory)).refresh()
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_one_bad_run_is_one_line_in_the_list(
    records: list[Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "good", records)
    written(tmp_path / "odd", edited(records, "end", lambda r: r.update(kind="future")))
    written(
        tmp_path / "incest", edited(records, "births", births(lambda b: b["parents"].update(a=b["member"])))
    )
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / JOURNAL).write_text("no journal\n")
    main(["status", "--runs-dir", str(tmp_path)])
    out, err = capsys.readouterr()
    assert "good" in out
    assert "Traceback" not in out + err
    assert sorted(line.split(": ")[1] for line in err.splitlines()) == ["incest", "odd", "text"]


def test_looking_at_a_run_runs_no_code_that_its_config_names(
    records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evilmod.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))

    def evil(record: Record) -> None:
        record["config"]["search"]["strategy"] = "evilmod:X"
        record["config"]["workload"]["use"] = "evilmod:Y"

    directory = written(tmp_path / "run", edited(records, "run", evil))
    assert evodevo.open_run(directory).status().state == "done"
    history = load_history(directory / JOURNAL)
    rows = history_csv(history).splitlines()
    assert len(rows) == len(history.births) + 1
    assert history.best is not None
    Schedule.of(history, history.best)
    summary_of(history)
    main(["report", "run", "--runs-dir", str(tmp_path)])
    assert "evilmod" not in sys.modules
