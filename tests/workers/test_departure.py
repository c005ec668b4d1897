"""When a worker process leaves, and the signals that announce it: in a process of its own."""

import signal
import subprocess
import sys

import pytest

from workers.departure import ends_at

HEEDING = """\
import signal, sys, time
from workers import departure
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
departure.on_signals(lambda why: print(why, flush=True))
print("ready", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def heeding() -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HEEDING], stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGUSR1])
def test_the_first_signal_is_a_warning_and_the_next_sigterm_ends_the_process(
    heeding: subprocess.Popen[str], first: signal.Signals
) -> None:
    heeding.send_signal(first)
    assert heeding.stdout and heeding.stdout.readline() == f"it got {first.name}\n"
    heeding.send_signal(signal.SIGUSR1)
    heeding.send_signal(signal.SIGTERM)
    rest, _ = heeding.communicate(timeout=30)
    assert (heeding.returncode, rest) == (7, "")


def test_a_worker_knows_its_end_from_slurm_or_from_whoever_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVODEVO_ENDS_AT", raising=False)
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    assert ends_at() is None
    monkeypatch.setenv("SLURM_JOB_END_TIME", "1700000000")
    assert ends_at() == 1_700_000_000.0
    monkeypatch.setenv("EVODEVO_ENDS_AT", "1600000000")
    assert ends_at() == 1_600_000_000.0
    monkeypatch.setenv("EVODEVO_ENDS_AT", "")  # as a shell leaves it where nothing is known
    assert ends_at() == 1_700_000_000.0
