"""docs/strategies.md: its example is a strategy that works, and its tests pass as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

from evodevo import testing

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "strategies.md").read_text()


def block(after: str, language: str) -> str:
    """The first code block of a language that follows some words of the page."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE[PAGE.index(after) :], re.DOTALL)
    assert found, after
    return found[1]


def test_the_example_passes_its_own_tests_and_its_config_is_good(tmp_path: Path) -> None:
    (tmp_path / "annealed.py").write_text(block("Save this as `annealed.py`", "python"))
    (tmp_path / "test_annealed.py").write_text(block("Save this as `test_annealed.py`", "python"))
    (tmp_path / "annealed.yaml").write_text(block("## Its run", "yaml"))
    (tmp_path / "test_config.py").write_text(
        "from evodevo.config_file import load\n"
        "from evodevo.run.simulation import try_strategy\n\n"
        "def test_the_config():\n"
        "    try_strategy(load('annealed.yaml'))\n"
    )
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert told.returncode == 0, told.stdout
    assert "5 passed" in told.stdout


def test_the_page_names_what_is_there() -> None:
    assert {"simulate", "check_strategy", "RULES"} <= set(testing.__all__)
    members = testing.simulate("tri_parent", lambda x: x, {"x": (0.0, 1.0)}, generations=1).members
    assert all(hasattr(members[0], name) for name in ("birth", "hyperparameters", "fom", "foms"))


BAD = """
from evodevo import Birth, Strategy

class Annealed(Strategy):
    def birth(self, generation, slot, parents, own):
        return Birth({"learning_rate": 7.0})
"""


def test_a_strategy_whose_children_are_not_legal_is_refused_by_check_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "annealed.py").write_text(BAD)
    (tmp_path / "annealed.yaml").write_text(block("## Its run", "yaml").replace("{width: 0.3}", "{}"))
    told = subprocess.run(
        [sys.executable, "-m", "evodevo", "check", "annealed.yaml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert told.returncode == 2
    (line,) = told.stderr.splitlines()
    assert line.startswith(
        "evodevo: search.strategy: in two simulated generations: strategy Annealed: birth(1, 0, ...) "
        "returned a genome with learning_rate = 7.0, which should be a float from 0.001 to 1.0 (in birth, "
    )
    assert line.endswith("annealed.py:5)")
