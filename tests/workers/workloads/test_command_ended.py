"""Any program as a workload: how it is ended, and that nothing of it is left."""

from pathlib import Path

import pytest

from tests.workers.conftest import Program, alive, wait_until
from tests.workers.toys import Clock, command_attempt, run_one
from workers import leg
from workers.workloads.command import Command

ENDLESS = """\
import os, subprocess, sys, time
other = subprocess.Popen(["sleep", "600"])
print("epoch 3 of 90", flush=True)
print("warming up", file=sys.stderr, flush=True)
with open(sys.argv[1] + ".part", "w") as file:
    file.write(f"{os.getpid()} {other.pid}")
os.rename(sys.argv[1] + ".part", sys.argv[1])
time.sleep(600)
"""


class UntilReady(Clock):
    """An hour passes when the program has come so far."""

    def __init__(self, ready: Path) -> None:
        super().__init__()
        self.ready = ready

    def monotonic(self) -> float:
        return self.now + 3600 * self.ready.exists()


def assert_gone(ids: Path) -> None:
    numbers = [int(number) for number in ids.read_text().split()]
    assert len(numbers) == 2
    assert wait_until(lambda: not any(map(alive, numbers)))


def test_the_time_limit_ends_the_program_and_its_grandchild_and_shows_how_far_it_came(
    tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch, nothing_left_behind: Path
) -> None:
    ready = tmp_path / "ready"
    monkeypatch.setattr(leg, "time", UntilReady(ready))
    message = ""
    try:
        run_one(*command_attempt(tmp_path, [*program(ENDLESS), str(ready)], epoch_timeout_s=60))
    except OSError as error:
        message = str(error)
    assert message == (
        "TimeoutError: the epoch took longer than limits.epoch_timeout_s = 60"
        "\n--- end of its stdout:\nepoch 3 of 90\n--- end of its stderr:\nwarming up"
    )
    assert_gone(ready)
    assert list(nothing_left_behind.iterdir()) == []


def test_a_training_that_is_dropped_ends_the_program(tmp_path: Path, program: Program) -> None:
    ready = tmp_path / "ready"
    command = Command([*program(ENDLESS), str(ready)])
    steps = command.train(command.begin({}, 7, None))
    assert wait_until(lambda: next(steps) is None and ready.exists())
    steps.close()
    assert_gone(ready)


@pytest.mark.parametrize("script", ["echo FoM: 1", "echo FoM: nan", "exit 1", "true"])
def test_no_temporary_directory_is_left_when_the_attempt_is_over(
    tmp_path: Path, nothing_left_behind: Path, script: str
) -> None:
    command = ["sh", "-c", f'touch "$0/file"; {script}', "{epoch_dir}"]
    run_one(*command_attempt(tmp_path, command))
    assert list(nothing_left_behind.iterdir()) == []
