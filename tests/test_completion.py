"""Shell completion: what is offered for a word of the command line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from evodevo import cli

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory with two runs in `checkpoints`, and one in `elsewhere`."""
    for run in ("checkpoints/alpha", "checkpoints/beta", "elsewhere/gamma"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "journal.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def offered(*words: str) -> list[tuple[str, str]]:
    """Kind and text of what is offered for the last word."""
    shell = ShellComplete(cli.evodevo, {}, "evodevo", "_EVODEVO_COMPLETE")
    return [(item.type, item.value) for item in shell.get_completions(list(words[:-1]), words[-1])]


def test_commands_and_options_are_offered() -> None:
    assert offered("re") == [("plain", name) for name in ("replay", "report", "resume")]
    assert len(offered("")) == len(cli.COMMANDS)
    assert ("plain", "--version") in offered("--")
    assert offered("compare", "--js") == [("plain", "--json")]


@pytest.mark.parametrize("command", ["status", "watch", "resume", "export", "verify"])
def test_names_of_runs_are_offered(place: Path, command: str) -> None:
    assert {text for _, text in offered(command, "")} == {"alpha", "beta"}
    assert offered(command, "al") == [("plain", "alpha")]
    assert offered(command, "--runs-dir", "elsewhere", "") == [("plain", "gamma")]
    assert offered(command, "--runs-dir", "nowhere", "") == []


def test_a_run_on_a_cluster_is_not_looked_for(place: Path) -> None:
    assert offered("status", "--scheduler", "tcp://127.0.0.1:1", "") == []


def test_files_and_directories_are_left_to_the_shell() -> None:
    assert offered("launch", "conf") == [("file", "conf")]
    assert offered("status", "--scheduler-file", "s") == [("file", "s")]
    assert offered("status", "--runs-dir", "c") == [("dir", "c")]
    assert offered("status", "checkpoints/a") == [("dir", "checkpoints/a")]


def test_names_of_trackers_are_offered() -> None:
    assert offered("track", "alpha", "t") == [("plain", "tensorboard")]


def test_bash_completes_with_the_script_that_the_program_prints(place: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    program = place / "evodevo"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m evodevo "$@"\n')
    program.chmod(0o755)
    script = """
        eval "$(_EVODEVO_COMPLETE=bash_source evodevo)"
        COMP_WORDS=(evodevo status al) COMP_CWORD=2
        _evodevo_completion evodevo
        echo "${COMPREPLY[@]}"
    """
    told = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PATH": f"{place}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    assert told.stdout.split() == ["alpha"], told.stderr
