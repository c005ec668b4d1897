"""When a worker process ends, and the signals that announce it, in a separate process."""

import signal
import subprocess
import sys
from collections.abc import Callable

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


Start = Callable[[str | None], subprocess.Popen[str]]


@pytest.fixture
def heeding(monkeypatch: pytest.MonkeyPatch) -> Start:
    def start(job: str | None) -> subprocess.Popen[str]:
        monkeypatch.delenv("SLURM_JOB_ID", raising=False)
        if job:
            monkeypatch.setenv("SLURM_JOB_ID", job)
        process = subprocess.Popen([sys.executable, "-c", HEEDING], stdout=subprocess.PIPE, text=True)
        assert process.stdout and process.stdout.readline() == "ready\n"
        return process

    return start


@pytest.mark.parametrize(
    ("first", "job", "said"),
    [
        (signal.SIGTERM, None, "it got SIGTERM"),
        (signal.SIGUSR1, None, "it got SIGUSR1"),
        (signal.SIGTERM, "123", "Slurm ends its job 123 (SIGTERM)"),
    ],
)
def test_the_first_signal_is_a_warning_in_words_and_the_next_sigterm_ends_the_process(
    heeding: Start, first: signal.Signals, job: str | None, said: str
) -> None:
    process = heeding(job)
    process.send_signal(first)
    assert process.stdout and process.stdout.readline() == f"{said}\n"
    process.send_signal(signal.SIGUSR1)
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=120)
    assert (process.returncode, rest) == (7, "")


def test_a_worker_knows_its_end_from_slurm_or_from_whoever_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVODEVO_ENDS_AT", raising=False)
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    assert ends_at() is None
    monkeypatch.setenv("SLURM_JOB_END_TIME", "1700000000")
    assert ends_at() == 1_700_000_000.0
    monkeypatch.setenv("EVODEVO_ENDS_AT", "1600000000")
    assert ends_at() == 1_600_000_000.0
    monkeypatch.setenv("EVODEVO_ENDS_AT", "")  # as a shell sets it if the time is unknown
    assert ends_at() == 1_700_000_000.0
