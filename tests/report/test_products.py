"""The files that are made from a journal: what is in them, and that they can be made in every case."""

import base64
import json
import re
import struct
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from evodevo.report.products import write_products
from evodevo.report.schedule import Schedule
from evodevo.report.tables import history_csv
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.history import History
from evodevo.run.records import Outcome
from tests.report.steady import steady
from tests.run.fakes import befall, config_of, finished
from tests.run.handmade import Pen

STEADY = {"history.csv", "summary.json", "report/fom.png", "report/index.html"}
ALWAYS = STEADY | {"report/schedule.png"}
OF_THE_BEST = {"schedule.yaml", "best.safetensors"}
NASTY = "<script>alert('$name ${x}')</script> & \"more\""


class Page(HTMLParser):
    """The elements of a page, its texts, and everything that its attributes refer to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.references: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attributes if name in ("src", "href", "srcset")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert png[12:16] == b"IHDR"
    assert png.endswith(b"IEND\xaeB`\x82")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def products_in(run: Path) -> dict[str, bytes]:
    """Return all files that are products: not part of the run itself."""
    paths = (path for path in run.rglob("*") if path.is_file())
    found = {str(path.relative_to(run)): path.read_bytes() for path in paths}
    own = ("config.yaml", "journal.jsonl", "journal.lock")
    return {name: data for name, data in found.items() if name not in own and not name.startswith("params/")}


def check(run: Path, expected: set[str]) -> Page:
    """Write the products, and hold them to what is true in every case."""
    paths = write_products(run)
    found = products_in(run)
    assert set(found) == expected == {str(path.relative_to(run)) for path in paths}
    json.loads(found["summary.json"], parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    page = Page(run / "report" / "index.html")
    pictures = [
        found[name] for name in ("report/fom.png", "evolve.png", "report/schedule.png") if name in found
    ]
    assert page.references == [f"data:image/png;base64,{base64.b64encode(png).decode()}" for png in pictures]
    assert not re.search(r"https?:|url\(|@import", (run / "report" / "index.html").read_text())
    assert {"script", "link", "iframe"}.isdisjoint(page.tags)
    for png in pictures:
        width, height = size_of(png)
        assert 400 <= width <= 2000
        assert 200 <= height <= 3000
        assert 5_000 < len(png) < 1_000_000
    return page


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, History]:
    """A run that went to its end; its products are not written yet."""
    run = tmp_path_factory.mktemp("products") / "run"
    return run, finished(run, config_of(run__seed=1))


def test_the_products_of_a_run_are_the_files_of_the_design(done: tuple[Path, History]) -> None:
    run, history = done
    page = check(run, ALWAYS | OF_THE_BEST)
    best = history.best
    assert best is not None
    assert best.outcome is not None
    assert best.outcome.checkpoint is not None
    published = CheckpointStore(str(run / "params")).read(best.outcome.checkpoint)
    assert (run / "best.safetensors").read_bytes() == published
    assert Schedule.load(run / "schedule.yaml") == Schedule.of(history, best)
    assert (run / "history.csv").read_text() == history_csv(history)
    assert json.loads((run / "summary.json").read_text())["best_member"] == best.id
    assert "None." in page.texts


def test_products_that_are_written_again_are_the_same_bytes(done: tuple[Path, History]) -> None:
    run, _ = done
    write_products(run)
    once = products_in(run)
    for name in once:
        (run / name).unlink()
    write_products(str(run))
    assert products_in(run) == once
    write_products(run)
    assert products_in(run) == once


def test_errors_and_names_are_escaped_in_the_page(tmp_path: Path) -> None:
    pen = Pen(config_of(workload__options={"note": NASTY}))
    pen.founders()
    pen.failed("g000s000", "g000s001", "g000s002", error=f"Traceback {NASTY}")
    pen.outcome("g000s003", Outcome("done", 1.0, {"validation_loss": 1.0, NASTY: 2.0}))
    pen.end("failed", f"the first: {NASTY}")
    page = check(pen.save(tmp_path / "run"), ALWAYS | {"schedule.yaml"})
    text = "".join(page.texts)
    assert text.count(f"Traceback {NASTY}") == 3
    assert f"the first: {NASTY}" in text
    assert f"  {NASTY}" in text
    assert "g000s002" in text


def test_at_most_twenty_failures_are_shown(tmp_path: Path) -> None:
    pen = Pen(config_of(search__population=30))
    pen.founders(30)
    pen.failed(*(f"g000s{slot:03d}" for slot in range(30)))
    page = check(pen.save(tmp_path / "run"), ALWAYS)
    assert page.tags.count("h3") == 20


def test_members_that_diverged_are_named_among_the_failures(tmp_path: Path) -> None:
    pen = Pen()
    pen.generation(*[None] * 4)
    pen.births(*["g000s003"] * 4)
    for end, nothing in (("good", True), ("bad", False)):
        if not nothing:
            pen.diverged("g001s002")
        write_products(pen.save(tmp_path / end))
        texts = Page(tmp_path / end / "report" / "index.html").texts
        assert ("None." in texts) is nothing
        assert any("diverged: g001s002." in text for text in texts) is not nothing


def pen_before_births() -> Pen:
    return Pen()


def pen_of_founders() -> Pen:
    pen = Pen()
    pen.founders()
    return pen


def pen_in_the_middle() -> Pen:
    pen = Pen()
    pen.generation(*[None] * 4)
    pen.births(*["g000s003"] * 4)
    pen.failed("g001s002")
    return pen


def pen_of_a_failed_generation(fate: str) -> Pen:
    pen = pen_of_founders()
    members = [f"g000s{slot:03d}" for slot in range(4)]
    getattr(pen, fate)(*members)
    pen.end("failed", "none is left")
    return pen


@pytest.mark.parametrize(
    "pen",
    [
        pytest.param(pen_before_births(), id="before the first birth"),
        pytest.param(pen_of_founders(), id="without an outcome"),
        pytest.param(pen_of_a_failed_generation("failed"), id="all failed"),
        pytest.param(pen_of_a_failed_generation("diverged"), id="all diverged"),
    ],
)
def test_a_run_without_a_best_has_every_product_but_those_of_the_best(pen: Pen, tmp_path: Path) -> None:
    check(pen.save(tmp_path / "run"), ALWAYS)


def test_a_run_in_the_middle_of_a_generation_has_all_products(tmp_path: Path) -> None:
    run = tmp_path / "run"
    pen = pen_in_the_middle()
    run.mkdir()
    ref = CheckpointStore(str(run / "params")).publish("g001s001-a1", b"weights")
    pen.outcome("g001s001", Outcome("done", 0.25, {"validation_loss": 0.25}, ref))
    check(pen.save(run), ALWAYS | OF_THE_BEST)
    assert (run / "best.safetensors").read_bytes() == b"weights"
    assert Schedule.load(run / "schedule.yaml").epochs == 2


def test_a_run_that_failed_has_all_products_and_shows_the_first_error(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", caller=befall("failed", "g001s001", "g001s002", "g001s003"))
    assert history.end == "failed"
    page = check(tmp_path / "run", ALWAYS | OF_THE_BEST)
    assert page.tags.count("h3") == 3
    assert "Traceback of g001s001" in page.texts


def test_the_best_of_a_workload_with_its_own_format_keeps_its_suffix(tmp_path: Path) -> None:
    run = tmp_path / "run"
    pen = pen_of_founders()
    run.mkdir(exist_ok=True)
    ref = CheckpointStore(str(run / "params")).publish("g000s002-a1", b"weights", ".checkpoint")
    pen.outcome("g000s002", Outcome("done", 0.25, {}, ref))
    check(pen.save(run), ALWAYS | {"schedule.yaml", "best.checkpoint"})
    assert (run / "best.checkpoint").read_bytes() == b"weights"


def test_a_search_in_which_nothing_evolves_has_products(tmp_path: Path) -> None:
    pen = Pen(
        config_of(
            search__loci={"constant": {"type": "fixed", "value": 3}}, search__options={"initial": "given"}
        )
    )
    pen.births(None, None, genomes=[{"constant": 3}] * 2)
    pen.outcome("g000s000", Outcome("done", 1.0))
    check(pen.save(tmp_path / "run"), ALWAYS | {"schedule.yaml"})


def test_what_the_workload_has_to_show_is_in_the_page(tmp_path: Path) -> None:
    run = tmp_path / "run"
    finished(run)
    (run / "exhibits").mkdir()
    (run / "exhibits" / "some_translations.txt").write_text(NASTY)
    (run / "exhibits" / "boxes.png").write_bytes(b"\x89PNG")
    write_products(run)
    page = Page(run / "report" / "index.html")
    assert NASTY in page.texts
    assert {"Some translations", "Boxes"} <= set(page.texts)
    assert page.tags.count("img") == 3


def test_a_steady_run_has_the_files_of_an_evolution_and_its_plot_on_the_page(tmp_path: Path) -> None:
    config = config_of(
        search__strategy="mutate_best", search__population=1, search__generations=3, search__options={}
    )
    finished(tmp_path / "run", config)
    check(tmp_path / "run", STEADY | OF_THE_BEST | {"evolve.csv", "hyp_evolved.yaml", "evolve.png"})


def test_what_is_not_a_formula_or_a_character_is_drawn_and_written_all_the_same(tmp_path: Path) -> None:
    choices = {"type": "choice", "choices": ["plain", "$x_$", "\ud800", "long " * 60], "initial": "$x_$"}
    rate = {"type": "float", "low": 0.1, "high": 1.0, "initial": 0.2}
    loci = {"k$_$": choices, "cost_$\\x$": rate}
    common: dict[str, Any] = {"search__loci": loci, "objective__metric": "a$\\b$"}
    finished(tmp_path / "run", config_of(**common))
    check(tmp_path / "run", ALWAYS | OF_THE_BEST)
    of_one = {"search__strategy": "mutate_best", "search__population": 1, "search__options": {}}
    finished(tmp_path / "steady", config_of(**common, **of_one))
    check(tmp_path / "steady", STEADY | OF_THE_BEST | {"evolve.csv", "hyp_evolved.yaml", "evolve.png"})


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_a_picture_that_cannot_be_drawn_is_said_and_costs_nothing_else(tmp_path: Path) -> None:
    pen = Pen()
    pen.generation(None, None, foms=(-1.7e308, 1.7e308))
    write_products(pen.save(tmp_path / "run"))
    (tmp_path / "run" / "report" / "fom.png").write_bytes(b"of another time")
    paths = write_products(tmp_path / "run")
    found = products_in(tmp_path / "run")
    assert found.keys() == ALWAYS - {"report/fom.png"} | {"schedule.yaml"}
    assert found.keys() == {str(path.relative_to(tmp_path / "run")) for path in paths}
    texts = " ".join(Page(tmp_path / "run" / "report" / "index.html").texts)
    assert "fom: could not be drawn: ValueError: " in texts


def test_without_the_best_checkpoint_an_older_product_is_removed(tmp_path: Path) -> None:
    run, pen = tmp_path / "run", pen_of_founders()
    run.mkdir(exist_ok=True)
    ref = CheckpointStore(str(run / "params")).publish("g000s002-a1", b"weights")
    pen.outcome("g000s002", Outcome("done", 0.25, {}, ref))
    check(pen.save(run), ALWAYS | OF_THE_BEST)
    pen.done(g000s001=0.125)
    page = check(pen.save(run), ALWAYS | {"schedule.yaml"})
    assert "best.safetensors: " in " ".join(page.texts)


def test_a_steady_run_without_a_member_that_is_done_has_products(tmp_path: Path) -> None:
    check(steady(None, None).save(tmp_path / "run"), STEADY)
