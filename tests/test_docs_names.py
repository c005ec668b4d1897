"""The pages name files, modules and messages that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
FILE = re.compile(r"`((?:evodevo|workers|scripts|tests|configs|docs|examples)/[\w./-]+)`")
MODULE_FILE = re.compile(
    r"`((?:run|service|report|evolution|trackers|compat|testing)/\w[\w/]*)(?:\.py)?(?::\w+)?`"
)
MODULE = re.compile(r"`((?:workers|examples)(?:\.[a-z_0-9]+)+):\w+`")
MADE = {"scripts/gpu/packed/"}
"""Directories that a command of the page creates."""
OF_PYTHON = {"bootstrapping phase"}
"""Messages that are not EvoDevo's."""


def exists(path: str) -> bool:
    return any((ROOT / f"{path}{suffix}").exists() for suffix in ("", ".py"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_file_or_module_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    files = {path for path in FILE.findall(text) if path not in MADE}
    files |= {f"evodevo/{path}" for path in MODULE_FILE.findall(text)}
    files |= {name.replace(".", "/") for name in MODULE.findall(text)}
    assert {path for path in files if not exists(path)} == set()


def test_a_message_that_troubleshooting_quotes_is_in_the_code() -> None:
    rows = re.findall(r"^\| (.*?) \|", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)
    quotes = {quote for row in rows for quote in re.findall(r"`([^`]+)`", row)} - OF_PYTHON
    fragments = {part.strip() for quote in quotes for part in quote.split("...")} - {""}
    modules = [path for package in ("evodevo", "workers") for path in (ROOT / package).rglob("*.py")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in modules)
    code = re.sub(r"[\"']\s*\n\s*f?[\"']", "", code)  # a message over several lines is one
    assert len(fragments) > 12
    assert {fragment for fragment in fragments if fragment.removesuffix(";") not in code} == set()


def test_an_environment_variable_of_evodevo_is_on_the_page_about_the_command_line() -> None:
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    sources = [path for wing in ("evodevo", "workers", "scripts") for path in (ROOT / wing).rglob("*")]
    code = "".join(path.read_text() for path in sources if path.suffix in {".py", ".sh", ".sbatch"})
    read = set(re.findall(r"\bEVODEVO_[A-Z_]*[A-Z]\b", code))
    assert len(read) > 3
    assert {name for name in read if f"`{name}`" not in page} == set()
