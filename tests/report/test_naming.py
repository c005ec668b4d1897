"""Names in any script: what a picture shows of them, without a warning."""

from pathlib import Path
from typing import Any

import matplotlib.font_manager
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.figure import Figure
from matplotlib.text import Text

from evodevo.config import RunConfig
from evodevo.report import fonts
from evodevo.report.comparison_page import write_comparison
from evodevo.report.evolution import evolve_plot
from evodevo.report.naming import arm_name, labels, locus_name, metric_name, numbered, plain
from evodevo.report.plots import fom_plot, schedule_plot
from evodevo.report.products import write_products
from tests.run.fakes import FakeCaller, carry_out, config_of, finished, new_run
from tests.run.handmade import Pen

pytestmark = pytest.mark.filterwarnings("error")

LOCI: dict[str, Any] = {
    "learning_rate": {"type": "float", "low": 1e-3, "high": 1.0, "initial": 0.1},
    "学习率": {"type": "float", "low": 1e-3, "high": 1.0, "scale": "log", "initial": 0.1},
    "معدل_التعلم": {"type": "choice", "choices": ["快", "slow", "🐢 慢"], "initial": "快"},
    "🔥": {"type": "bool", "initial": True},
}
NUMBERED = [
    ("locus 2", "学习率"),
    ("locus 3, choice 1", "快"),
    ("locus 3, choice 3", "🐢 慢"),
    ("locus 4", "🔥"),
]


class Texts:
    """All that was written into figures, with its font families."""

    def __init__(self) -> None:
        self.families: dict[str, list[str]] = {}


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> Texts:
    found, save = Texts(), Figure.savefig

    def look(figure: Figure, *arguments: Any, **more: Any) -> None:
        save(figure, *arguments, **more)
        for text in figure.findobj(Text):
            assert isinstance(text, Text)
            found.families[text.get_text()] = text.get_fontfamily()

    monkeypatch.setattr(Figure, "savefig", look)
    return found


@pytest.fixture(autouse=True)
def no_other_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those that matplotlib brings along, whatever this machine has."""
    manager = matplotlib.font_manager.fontManager
    own = [entry for entry in manager.ttflist if "mpl-data" in entry.fname]
    monkeypatch.setattr(manager, "ttflist", own)
    monkeypatch.setattr(matplotlib.font_manager, "findSystemFonts", lambda: [])
    monkeypatch.setattr(fonts, "_found", {})


@pytest.fixture
def chinese_font(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A font on this machine that has Chinese characters, all of them squares without a middle."""
    pen = TTGlyphPen(None)
    for corners in (
        [(50, 0), (50, 800), (900, 800), (900, 0)],
        [(200, 150), (750, 150), (750, 650), (200, 650)],
    ):
        pen.moveTo(corners[0])
        for corner in corners[1:]:
            pen.lineTo(corner)
        pen.closePath()
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", "frame"])
    builder.setupCharacterMap({ord(character): "frame" for character in "学习率快慢"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "frame": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (500, 0), "frame": (1000, 50)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Frames Sans", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    path = str(tmp_path / "frames.ttf")
    builder.save(path)
    monkeypatch.setattr(matplotlib.font_manager, "findSystemFonts", lambda: [path, "/no/font.ttf"])
    return "Frames Sans"


def config(**changes: Any) -> RunConfig:
    return config_of(search__loci=LOCI, objective__metric="精度", **changes)


def a_run() -> Pen:
    pen = Pen(config(search__population=2))
    pen.births(None, None, genomes=[{"معدل_التعلم": choice} for choice in ("slow", "🐢 慢")])
    pen.done(g000s000=1.0, g000s001=2.0)
    return pen


def test_names_that_no_font_has_are_numbered_in_every_picture(texts: Texts) -> None:
    pen = a_run()
    for draw in (fom_plot, schedule_plot, evolve_plot):
        assert draw(pen.history).startswith(b"\x89PNG")
    assert {"figure of merit", "learning rate", "locus 2", "locus 4", "choice 1", "slow", "choice 3"} <= set(
        texts.families
    )
    assert "معدل التعلم" in texts.families
    assert not [text for text in texts.families if set(text) & set("学习率快慢🔥🐢精度")]


def test_names_that_an_installed_font_has_are_written_with_it(texts: Texts, chinese_font: str) -> None:
    schedule_plot(a_run().history)
    assert texts.families["学习率"][-1] == chinese_font
    assert texts.families["快"][-1] == chinese_font
    assert "choice 3" in texts.families  # there is no turtle
    assert numbered(config()) == [
        ("figure of merit", "精度"),
        ("locus 3, choice 3", "🐢 慢"),
        ("locus 4", "🔥"),
    ]


def test_names_that_the_default_font_has_are_as_they_were(texts: Texts) -> None:
    fom_plot(Pen().history)
    assert texts.families["validation loss"] == ["sans-serif"]
    assert numbered(config_of()) == []


def test_the_report_says_which_number_is_which_name(tmp_path: Path) -> None:
    finished(tmp_path / "run", config(search__population=2))
    write_products(tmp_path / "run")
    page = (tmp_path / "run" / "report" / "index.html").read_text()
    for number, name in [("figure of merit", "精度"), *NUMBERED]:
        assert f"<tr><th>{number}</th><td>{name}</td></tr>" in page


def test_a_comparison_numbers_its_arms_too(tmp_path: Path, texts: Texts) -> None:
    history = carry_out(new_run(tmp_path / "run", config(search__population=2)), FakeCaller())
    arms = {"tri_parent": {0: history}, "随机": {0: history}}
    write_comparison(tmp_path / "comparison", config(), arms)
    assert {"tri parent", "arm 2", "locus 2", "learning rate"} <= set(texts.families)
    page = (tmp_path / "comparison" / "index.html").read_text()
    assert "<tr><th>arm 2</th><td>随机</td></tr>" in page
    assert arm_name(arms, "随机") == "arm 2"


def test_text_is_made_fit_for_a_picture() -> None:
    assert plain("$x$", "none") == r"\$x\$"
    assert plain("x" * 50, "none") == "x" * 39 + "…"
    assert plain("\udc80", "none") == r"\udc80"
    assert plain("学", "locus 1") == "locus 1"
    space = config().space()
    assert [locus_name(space, name) for name in space.loci] == [
        *("learning_rate", "locus 2", "معدل_التعلم", "locus 4")
    ]
    assert labels(space.loci["معدل_التعلم"]) == ["choice 1", "slow", "choice 3"]
    assert metric_name(config()) == "figure of merit"


def test_a_matplotlib_that_writes_from_left_to_right_only_numbers_arabic_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert fonts.can_draw("معدل")
    monkeypatch.delattr("matplotlib.ft2font.LayoutItem", raising=False)
    assert not fonts.can_draw("معدل")
    assert fonts.can_draw("скорость")
