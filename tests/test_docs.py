"""The pages: the site builds without a warning, nothing on it drifts, and its code is what it says.

A Python block is run by a test that the comment above it names, or the comment says why not. YAML blocks are
laid over a good config and validated; of commands, the subcommand, the options and the files have to exist.
"""

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import torch

import evodevo
from evodevo import yaml_text
from evodevo.cli import evodevo as program_of
from evodevo.config import parse
from evodevo.evolution.strategies import STRATEGIES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>.*?) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL
)
PROGRAMS = {
    "pip",
    "python3",
    "source",
    "export",
    "dask",
    "sbatch",
    "curl",
    "eval",
    "mkdocs",
    "tensorboard",
    "wandb",
    "jupyter",
}
"""Programs of others, whose options are theirs."""
LOCI = {"rate": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log", "initial": 0.1}}
GOOD: dict[str, Any] = {
    "run": {"name": "docs"},
    "workload": {"use": "module:Class"},
    "objective": {"metric": "validation_loss", "mode": "min"},
    "search": {"population": 24, "generations": 2, "loci": LOCI},
}


def blocks(language: str) -> list[Any]:
    return [
        pytest.param(page, found["mark"] or "", found["code"], id=f"{page.name}-{number}")
        for page in PAGES
        for number, found in enumerate(BLOCK.finditer(page.read_text()))
        if found["language"] == language
    ]


@pytest.mark.parametrize(("page", "mark", "code"), blocks("python"))
def test_a_python_block_is_run_by_a_test_or_says_why_not(page: Path, mark: str, code: str) -> None:
    ast.parse(code)
    kind, _, rest = mark.partition(": ") if mark.startswith("not run") else mark.partition("run by ")
    if kind == "not run":
        assert len(rest) > 20, "a reason"
    else:
        test = ROOT / rest
        assert test.is_file(), (
            f"{page.name}: no test runs {code!r}; give <!-- run by tests/... --> or <!-- not run: why -->"
        )
        assert page.name in test.read_text()


@pytest.mark.parametrize(("page", "mark", "code"), blocks("yaml"))
def test_a_yaml_block_is_a_part_of_a_good_config(page: Path, mark: str, code: str) -> None:
    given = yaml_text.load(code.replace("loci: ...", f"loci: {LOCI}"))
    if "flags" in given:  # the rest of the block before it
        loci = {name: {"type": "bool", "initial": True} for name in given["flags"]}
        given = {"workload": given, "search": {"loci": loci}}
    parse(laid_over(GOOD, given))


def laid_over(base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the sections of a config with those given over them; a program, a target and a reader's own
    strategy stand in the place of what they exclude."""
    merged = {name: {**base.get(name, {}), **section} for name, section in given.items()}
    if "target" in merged.get("objective", {}):
        merged["objective"] = given["objective"]
    if ":" in merged.get("search", {}).get("strategy", ""):
        del merged["search"]["strategy"], merged["search"]["options"]
    if merged.get("workload", {}).keys() & {"command", "flags"}:
        merged["workload"].pop("use", None)
        merged["workload"].setdefault("command", "python train.py")
    return {**base, **merged}


@pytest.mark.parametrize(("page", "mark", "code"), blocks("toml"))
def test_a_toml_block_is_toml(page: Path, mark: str, code: str) -> None:
    assert tomllib.loads(code)


@pytest.mark.parametrize(("page", "mark", "code"), blocks("bash"))
def test_the_commands_of_a_block_exist_with_their_options_and_files(page: Path, mark: str, code: str) -> None:
    for line in code.replace("\\\n", " ").splitlines():
        for words in commands(line):
            check_command(words)


def commands(line: str) -> Iterator[list[str]]:
    words = shlex.split(line, comments=True)
    while words:
        end = words.index("&&") if "&&" in words else len(words)
        yield [word for number, word in enumerate(words[:end]) if number or "=" not in word]
        words = words[end + 1 :]


def check_command(words: list[str]) -> None:
    words = words[
        next((i for i, word in enumerate(words) if "=" not in word), len(words)) :
    ]  # after variables
    if not words:
        return
    program, *arguments = words
    program = program.removeprefix(".venv/bin/")
    for word in arguments:
        if re.fullmatch(r"(configs|scripts|tests|examples)/[\w./-]+", word):
            assert (ROOT / word).exists(), word
    if program == "evodevo":
        command = program_of.get_command(click.Context(program_of), arguments[0])
        assert command, arguments[0]
        check_options(command, arguments[1:])
    elif program == "python" and arguments[0].endswith(".py"):
        check_script(ROOT / arguments[0], arguments[1:])
    elif "/" in program:
        assert (ROOT / program).is_file(), program
    else:
        assert program in PROGRAMS | {"python", "ruff", "git", "sh"}, program


def check_options(command: click.Command, arguments: list[str]) -> None:
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    given = {word.partition("=")[0] for word in arguments if word.startswith("--")}
    assert given <= known | {"--help"}, given - known


def check_script(script: Path, arguments: list[str]) -> None:
    assert script.is_file(), script
    text = script.read_text() + "".join(helper.read_text() for helper in script.parent.glob("*.py"))
    for word in arguments:
        assert not word.startswith("--") or f'"{word}"' in text, f"{script.name} {word}"


def test_the_reference_of_the_config_is_that_of_its_models() -> None:
    script = ROOT / "scripts" / "docs" / "config_reference.py"
    told = subprocess.run(
        [sys.executable, script, "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    page = (ROOT / "docs" / "config.md").read_text()
    assert all(f"#### {name}\n" in page for name in STRATEGIES if name != "replay")
    assert [row for row in page.splitlines() if row.endswith("|  |")] == [], "keys without a docstring"


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed")
    told = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", tmp_path / "site"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert "<code>search.population</code>" in (tmp_path / "site" / "config.html").read_text()


def python_block(page: str, after: str) -> str:
    text = (ROOT / "docs" / page).read_text()
    found = BLOCK.search(text, text.index(after))
    while found and found["language"] != "python":
        found = BLOCK.search(text, found.end())
    assert found, after
    return found["code"]


def test_the_strategy_of_evolution_md_passes_the_contract(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "copy_the_best.py").write_text(python_block("evolution.md", "## Your own strategy"))
    monkeypatch.syspath_prepend(str(tmp_path))
    from evodevo.testing import check_strategy

    check_strategy("copy_the_best:CopyTheBest")


def test_the_workload_of_ensembles_md_takes_the_mean_of_distributions() -> None:
    names: dict[str, Any] = {"evodevo": evodevo}
    exec(python_block("ensembles.md", "## What a workload says"), names)
    logits = [torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]])]
    assert names["Mine"].combine(None, logits).exp().tolist() == [[0.5, 0.5]]
