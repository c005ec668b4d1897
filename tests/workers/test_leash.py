"""A program that must not outlive its worker."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workers.conftest import alive, wait_until

# writes the IDs of itself and of a child process, then waits forever
PROGRAM = 'sleep 600 & echo $$ $! > "$0.part"; mv "$0.part" "$0"; wait'


def leash(*program: str, parent: int | None = None) -> list[str]:
    return [sys.executable, "-m", "workers.leash", str(parent or os.getpid()), *program]


def ids_in(file: Path) -> list[int]:
    """The ids of the program and of its grandchild, once both run."""
    assert wait_until(file.exists)
    ids = [int(number) for number in file.read_text().split()]
    assert len(ids) == 2 and all(map(alive, ids))
    return ids


def assert_gone(ids: list[int]) -> None:
    assert wait_until(lambda: not any(map(alive, ids))), f"alive: {[i for i in ids if alive(i)]}"


@pytest.mark.parametrize(
    ("script", "status"),
    [("true", 0), ("exit 3", 3), ("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143)],
)
def test_the_exit_status_is_the_programs_and_128_more_than_its_signal(script: str, status: int) -> None:
    assert subprocess.run(leash("sh", "-c", script)).returncode == status


def test_the_program_gets_its_arguments_and_its_output_goes_where_the_leashs_goes() -> None:
    arguments = ["", "a b", "it's", '"', "$HOME", "*", "--help", "-c"]
    code = "import json, sys; print(json.dumps(sys.argv[1:])); print('oh', file=sys.stderr)"
    done = subprocess.run(leash(sys.executable, "-c", code, *arguments), capture_output=True, text=True)
    assert json.loads(done.stdout) == arguments
    assert done.stderr == "oh\n"


def test_when_the_parent_is_killed_the_program_and_its_grandchild_go(tmp_path: Path) -> None:
    file = tmp_path / "ids"
    code = (
        "import os, subprocess, sys; "
        "subprocess.run([sys.executable, '-m', 'workers.leash', str(os.getpid()), *sys.argv[1:]])"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, "sh", "-c", PROGRAM, str(file)])
    ids = ids_in(file)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert_gone(ids)


def test_when_the_leash_is_told_to_end_the_program_and_its_grandchild_go(tmp_path: Path) -> None:
    file = tmp_path / "ids"
    held = subprocess.Popen(leash("sh", "-c", PROGRAM, str(file)))
    ids = ids_in(file)
    held.terminate()
    assert held.wait() == 143
    assert_gone(ids)


def test_a_program_that_ignores_signals_goes_too(tmp_path: Path) -> None:
    file = tmp_path / "ids"
    held = subprocess.Popen(leash("sh", "-c", f"trap '' TERM INT HUP; {PROGRAM}", str(file)))
    ids = ids_in(file)
    held.terminate()
    held.wait()
    assert_gone(ids)


def test_what_a_program_left_running_when_it_ended_goes(tmp_path: Path) -> None:
    file = tmp_path / "id"
    script = 'sleep 600 & echo $! > "$0"; exit 4'
    assert subprocess.run(leash("sh", "-c", script, str(file))).returncode == 4
    assert_gone([int(file.read_text())])


def test_a_program_whose_parent_was_gone_before_it_began_is_not_left_running(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    file = tmp_path / "ids"
    assert subprocess.run(leash("sh", "-c", PROGRAM, str(file), parent=gone.pid)).returncode != 0
    # that nothing runs on is for the fixture to say


def test_a_missing_program_is_an_error_that_names_it() -> None:
    done = subprocess.run(leash("no-such-program"), capture_output=True, text=True)
    assert done.returncode != 0
    assert "'no-such-program'" in done.stderr
