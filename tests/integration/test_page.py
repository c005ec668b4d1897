"""The live page in a real browser, against live runs."""

import json
import math
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from selenium.webdriver.common.by import By

from evodevo.run.history import History
from evodevo.run.life import Life
from tests.integration.browser import Browser, chromium, needs_browser
from tests.integration.clusters import Cluster, evodevo, history_of, until, write_config
from tests.run.fakes import config_of
from tests.run.handmade import Pen

pytestmark = [pytest.mark.slow, needs_browser]

NASTY = '<img src=x onerror="window.pwned=1"><b>no</b>'


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with chromium(tmp_path / "profile") as found:
        yield found


def dashboard(cluster: Cluster) -> str:
    """The address of the dashboard, from the scheduler's log."""
    found = until(
        lambda: re.search(r"dashboard at:\s+(http://\S+)/status", cluster.processes.log("scheduler")),
        "the dashboard",
    )
    until(lambda: answers(f"{found[1]}/evodevo"), "the page")
    return str(found[1])


def answers(address: str) -> bool:
    try:
        return bool(read(address))
    except OSError:
        return False


def read(address: str) -> str:
    with urlopen(address) as answer:
        text: str = answer.read().decode()
    return text


def status_of(cluster: Cluster) -> list[dict[str, Any]]:
    told = evodevo("status", "--json", "--scheduler", cluster.address)
    assert told.returncode == 0, told.stderr
    found: list[dict[str, Any]] = json.loads(told.stdout)
    return found


def without_nan(values: list[Any]) -> list[Any]:
    return [None if isinstance(value, float) and math.isnan(value) else value for value in values]


def assert_shows(browser: Browser, history: History) -> None:
    """Compare what is in the browser with what the journal says."""
    foms = [[life.fom for life in lives if life.fom is not None] for lives in history.generations]
    foms = [values for values in foms if values]
    shown = browser.columns("fom")
    assert shown["best"] == [min(values) for values in foms]
    assert shown["median"] == pytest.approx([statistics.median(values) for values in foms])
    assert (shown["low"], shown["high"]) == ([min(v) for v in foms], [max(v) for v in foms])
    lives = list(history.lives())
    population = browser.columns("population")
    assert list(zip(population["generation"], population["slot"], strict=True)) == [
        (life.generation, life.slot) for life in lives
    ]
    assert without_nan(population["fom"]) == [life.fom for life in lives]
    for locus in ("learning_rate", "momentum"):
        assert population[f"hp.{locus}"] == [life.birth.genome[locus] for life in lives]
    assert history.best is not None
    line = history.line(history.best)
    assert browser.columns("best_line")["fom"] == [life.fom for life in line]
    assert len(browser.columns("best_steps")["x0"]) == len(line) - 1
    alphas = sum(life.birth.parent_params is not None for life in lives)
    assert sum(len(browser.columns(kind)["x0"]) for kind in ("died_out", "ancestors", "best_steps")) == alphas
    trained = sum(life.outcome.seconds["train"] for life in lives if life.outcome)
    until(
        lambda: sum(browser.columns("seconds")["train"]) == pytest.approx(trained),
        "the seconds of the last members to be shown",
    )


def done(history: History) -> list[Life]:
    return [life for life in history.lives() if life.outcome]


def test_two_viewers_see_a_live_run_as_its_journal_has_it(
    tmp_path: Path, cluster: Cluster, browser: Browser
) -> None:
    cluster.start_scheduler()
    cluster.start_worker()
    hold = tmp_path / "hold"
    hold.touch()
    config = write_config(tmp_path, workload__options={"hold": str(hold), "hold_from": 2})
    address = dashboard(cluster)
    assert browser.errors() == []

    browser.open(f"{address}/evodevo")
    until(lambda: "No runs yet" in browser.texts(), "the empty page to say so")
    assert f"evodevo launch CONFIG --scheduler {cluster.address}" in browser.texts()
    assert [link.text for link in browser.driver.find_elements(By.CSS_SELECTOR, 'a[href="evodevo"]')] == [
        "Evodevo"
    ]
    launched = evodevo("launch", str(config), "--detach", "--scheduler", cluster.address)
    assert launched.returncode == 0, launched.stderr
    run = cluster.runs_dir / "digits"
    until(lambda: history_of(run).completed() == 2, "two generations")
    until(lambda: browser.columns("runs").get("run") == ["digits"], "the run to appear")
    other = browser.new_viewer()
    browser.open(f"{address}/evodevo?run=digits")
    until(lambda: len(history_of(run).births) == 15, "the births of the generation that is held")
    history = history_of(run)
    for viewer in (0, other):
        browser.become(viewer)
        shown = [life.fom for life in history.lives()]
        until(lambda s=shown: without_nan(browser.columns("population").get("fom", [])) == s, "all members")
        assert_shows(browser, history)
        runs = browser.columns("runs")
        assert (runs["state"], runs["generation"]) == (["running"], [history.completed()])
        assert f"digits ● running {history.completed()} / 4" in browser.rows()[0]
        assert browser.driver.current_url == f"{address}/evodevo?run=digits"

    facts = {key: value for key, value in status_of(cluster)[0].items() if not key.endswith("_s")}
    assert json.loads(read(f"{address}/evodevo/runs.json"))[0].items() >= facts.items()
    gauges = read(f"{address}/metrics")
    assert f'evodevo_run_best_fom{{run="digits"}} {facts["best_fom"]}' in gauges
    assert f'evodevo_run_members_done{{run="digits"}} {float(facts["members_done"])}' in gauges
    assert f'evodevo_run_workers{{run="digits"}} {float(facts["workers"])}' in gauges
    assert 'evodevo_run_state{run="digits",state="running"} 1.0' in gauges

    hold.unlink()
    until(lambda: history_of(run).end == "done", "the run to be done")
    for viewer in (0, other):
        browser.become(viewer)
        until(lambda: any("digits ● done 4 / 4" in row for row in browser.rows()), "the end to be seen")
        until(lambda: len(without_nan(browser.columns("fom")["best"])) == 4, "the last generation")
        until(lambda: None not in without_nan(browser.columns("population")["fitness"]), "its fitness")
        assert_shows(browser, history_of(run))
    assert browser.errors() == []


def test_runs_at_rest_are_shown_and_what_they_say_is_text(cluster: Cluster, browser: Browser) -> None:
    pen = Pen(config_of(run__name="old", search__population=3))
    pen.generation(None, None, None, foms=(3.0, 2.0, 1.0))
    pen.births("g000s002", "g000s002", "g000s001")
    pen.lost("g001s000", f"lost {NASTY}")
    pen.failed("g001s000", error=f"Traceback\nValueError: {NASTY}")
    pen.end("failed", f"too many: {NASTY}")
    pen.save(cluster.runs_dir / "old")
    other = Pen(config_of(run__name="other", objective__metric=NASTY))
    other.generation(None, None, foms=(1.0, 2.0))
    other.save(cluster.runs_dir / "other")
    cluster.start_scheduler("--no-recover")
    address = dashboard(cluster)

    browser.open(f"{address}/evodevo?run=old")
    until(lambda: browser.columns("failures").get("what") == ["failed", "lost"], "the failures")
    assert browser.columns("failures")["message"] == [f"ValueError: {NASTY}", f"lost {NASTY}"]
    browser.select("failures", 0)
    until(lambda: f"attempt 2:\nTraceback\nValueError: {NASTY}" in browser.texts(), "the whole message")
    runs = browser.columns("runs")
    assert dict(zip(runs["run"], runs["state"], strict=True)) == {"old": "failed", "other": "interrupted"}

    browser.select("runs", runs["run"].index("other"))
    until(lambda: browser.columns("fom").get("high") == [2.0], "the other run")
    until(lambda: browser.driver.current_url.endswith("?run=other"), "the address to name it")
    browser.open(f"{address}/evodevo?run=<i>none</i>")
    until(lambda: "not found in" in browser.texts(), "the page to say that there is none")
    assert browser.driver.execute_script("return window.pwned") is None
    assert "Cancel this run" not in read(f"{address}/evodevo")
    assert browser.errors() == []


@pytest.mark.parametrize("rates", [(0.003, 0.0046), (0.0101, 0.0102), (1e-7, 3e-3), (0.5, 4.0), (0.02, 0.02)])
def test_the_ticks_of_a_log_axis_say_where_they_are(
    rates: tuple[float, float], cluster: Cluster, browser: Browser
) -> None:
    locus = {"type": "float", "low": 1e-9, "high": 10.0, "scale": "log", "initial": 0.01}
    pen = Pen(config_of(run__name="old", search__loci={"rate": locus}, search__population=2))
    pen.births(None, None, genomes=[{"rate": rate} for rate in rates])
    pen.save(cluster.runs_dir / "old")
    cluster.start_scheduler("--no-recover")
    browser.open(f"{dashboard(cluster)}/evodevo?run=old")
    until(lambda: len(browser.columns("population").get("hp.rate", [])) == 2, "the run")
    ticks = browser.ticks("rate")
    assert 2 <= len(ticks) <= 9
    assert all(float(text) == pytest.approx(value, rel=1e-5) for value, text in ticks)


def test_a_run_is_cancelled_on_the_page_by_who_knows_the_token(
    tmp_path: Path, cluster: Cluster, browser: Browser
) -> None:
    (tmp_path / "token").write_text("sesame")
    cluster.start_scheduler("--page-token-file", str(tmp_path / "token"))
    cluster.start_worker()
    config = write_config(tmp_path, workload__options={"pause_s": 0.5}, search__generations=100)
    launched = evodevo("launch", str(config), "--detach", "--scheduler", cluster.address)
    assert launched.returncode == 0, launched.stderr
    address = dashboard(cluster)
    browser.open(f"{address}/evodevo")
    until(lambda: "this page requires a token" in browser.texts(), "the entrance")
    assert browser.columns("runs") == {}

    def enter(token: str) -> None:
        browser.driver.execute_script(
            """
            const models = [...Bokeh.documents[0]._all_models.values()]
            models.find(model => model.placeholder == "page token").value = arguments[0]
            """,
            token,
        )
        click(browser, "Enter")

    enter("simsalabim")
    until(lambda: "wrong token" in browser.texts(), "the refusal")
    assert any("403" in error for error in browser.errors())
    enter("sesame")
    until(lambda: browser.columns("runs").get("state") == ["running"], "the run")
    click(browser, "Cancel this run")
    until(lambda: "digits is cancelled" in browser.texts(), "the answer")
    assert status_of(cluster)[0]["state"] == "cancelled"
    until(lambda: browser.columns("runs")["state"] == ["cancelled"], "the page to know")
    assert browser.errors() == []


def click(browser: Browser, label: str) -> None:
    """Click on a button, which is in the shadow of the shadow of the page."""
    button = browser.driver.execute_script(
        """
        const found = []
        const look = root => root.querySelectorAll("*").forEach(element => {
            if (element.tagName == "BUTTON" && element.textContent == arguments[0]) found.push(element)
            if (element.shadowRoot) look(element.shadowRoot)
        })
        look(document)
        return found[0]
        """,
        label,
    )
    button.click()
