"""Texts of another user's run are displayed without effect."""

import csv
import io
from pathlib import Path

import pytest

from evodevo.console import HarmlessConsole
from evodevo.errors import UsageError
from evodevo.harmless import harmless
from evodevo.report import tables
from evodevo.report.products import write_products
from evodevo.run.setup import EXHIBITS
from tests.golden import raises_golden
from tests.run.fakes import finished

ESCAPE = "\x1b]0;owned\x07\x1b[2J"


def test_control_characters_are_shown_as_their_escapes() -> None:
    assert (
        harmless(f"a{ESCAPE}b\n\tc\r\x9b\ud800é学")
        == r"a\x1b]0;owned\x07\x1b[2Jb" + "\n\tc" + r"\r\x9b\ud800é学"
    )


def test_the_console_obeys_neither_escapes_nor_markup() -> None:
    said = io.StringIO()
    console = HarmlessConsole(file=said, width=120, force_terminal=True)
    console.print(f"[bold]{ESCAPE} [/nothing] :smile:")
    assert said.getvalue() == "[bold]" + r"\x1b]0;owned\x07\x1b[2J" + " [/nothing] :smile:\n"


def test_text_that_a_spreadsheet_takes_for_a_formula_is_marked_as_text(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    history = finished(tmp_path / "run")
    for begin in "=+-@":
        monkeypatch.setattr(tables, "_notes", lambda life, begin=begin: f"{begin}HYPERLINK(1)")
        rows = list(csv.DictReader(io.StringIO(tables.history_csv(history))))
        assert {row["notes"] for row in rows} == {f"'{begin}HYPERLINK(1)"}
        assert [float(row["fom"]) for row in rows] == [life.fom for life in history.lives()]


def test_a_report_follows_no_links(tmp_path: Path) -> None:
    finished(tmp_path / "run")
    secret, elsewhere = tmp_path / "secret.txt", tmp_path / "elsewhere"
    secret.write_text("the key")
    elsewhere.mkdir()
    (tmp_path / "run" / EXHIBITS).mkdir()
    (tmp_path / "run" / EXHIBITS / "a.txt").symlink_to(secret)
    (tmp_path / "run" / EXHIBITS / "b.txt").write_bytes(b"shown \xff")
    write_products(tmp_path / "run")
    page = (tmp_path / "run" / "report" / "index.html").read_text()
    assert "the key" not in page
    assert "shown" in page
    finished(tmp_path / "second")
    (tmp_path / "second" / "report").symlink_to(elsewhere)
    (tmp_path / "second" / EXHIBITS).symlink_to(secret.parent)
    with raises_golden("report/symbolic-link", UsageError, tmp_path):
        write_products(tmp_path / "second")
    assert list(elsewhere.iterdir()) == []
