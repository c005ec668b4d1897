"""A real browser, and what it sees of a Bokeh page."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import JavascriptException
from selenium.webdriver.chrome.service import Service

from tests.integration.clusters import until

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1280,1000"
)
needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no chromium and chromedriver here (Debian: chromium, chromium-driver)"
)
COLUMNS = """
const model = [...Bokeh.documents[0]._all_models.values()].find(model => model.name == arguments[0])
if (model === undefined)
    return null
return Object.fromEntries(Object.entries(model.data).map(([name, column]) => [name, Array.from(column)]))
"""
TEXTS = """
const texts = [...Bokeh.documents[0]._all_models.values()].map(model => model.text)
return texts.filter(text => typeof text == "string").join("\\n")
"""
TICKS = """
const axis = [...Bokeh.documents[0]._all_models.values()].find(model => model.axis_label == arguments[0])
const view = Bokeh.index.find_one(axis)
const ticks = Array.from(view.tick_coords.major[view.dimension])
const labels = axis.formatter.doFormat(ticks, {loc: 0})
return ticks.map((tick, number) => [tick, labels[number]])
"""
SELECT = """
const model = [...Bokeh.documents[0]._all_models.values()].find(model => model.name == arguments[0])
model.selected.indices = [arguments[1]]
"""


ROWS = """
const rows = []
const look = root => root.querySelectorAll("*").forEach(element => {
    if (element.classList.contains("slick-row"))
        rows.push(element.innerText.replace(/\\s+/g, " "))
    if (element.shadowRoot)
        look(element.shadowRoot)
})
look(document)
return rows
"""


class Browser:
    """A browser with a tab per viewer; the first is open from the start."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.viewers = [driver.current_window_handle]

    def new_viewer(self) -> int:
        self.driver.switch_to.new_window("tab")
        self.viewers.append(self.driver.current_window_handle)
        return len(self.viewers) - 1

    def become(self, viewer: int) -> None:
        self.driver.switch_to.window(self.viewers[viewer])

    def open(self, address: str) -> None:
        """Open a Bokeh page and wait until it is drawn."""
        self.driver.get(address)
        ready = "return !!(window.Bokeh && Bokeh.documents.length && Bokeh.documents[0].is_idle)"
        until(lambda: self.driver.execute_script(ready), f"{address} to be drawn")

    def columns(self, source: str) -> dict[str, list[Any]]:
        """Return the columns of a data source in the browser; empty if it does not exist (yet)."""
        with contextlib.suppress(JavascriptException):
            return self.driver.execute_script(COLUMNS, source) or {}
        return {}

    def texts(self) -> str:
        """Return all texts of the page outside tables and figures."""
        found: str = self.driver.execute_script(TEXTS)
        return found

    def rows(self) -> list[str]:
        """Return the rows of all tables as displayed."""
        found: list[str] = self.driver.execute_script(ROWS)
        return found

    def ticks(self, axis_label: str) -> list[tuple[float, str]]:
        """Return the values and labels of an axis's ticks."""
        return [(value, text) for value, text in self.driver.execute_script(TICKS, axis_label)]

    def select(self, source: str, row: int) -> None:
        self.driver.execute_script(SELECT, source, row)

    def errors(self) -> list[str]:
        """Return the console's severe messages since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for option in (*OPTIONS.split(), f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
