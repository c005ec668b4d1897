"""When and how a worker process leaves: the end of its job, and signals that announce one.

SIGTERM (a preempted or cancelled job, a person) and SIGUSR1 (a batch system's warning) mean: finish the epoch
and publish it, take no other, and go. How long there is for that is up to who sent it; Slurm gives a job its
partition's GraceTime or KillWait. A second SIGTERM ends the process at once.
"""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from typing import Any

from distributed import Worker

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
ENDS_AT = "EVODEVO_ENDS_AT"
"""For batch systems other than Slurm: when this worker's job ends, in seconds since the epoch."""


_announced = False


def announced() -> bool:
    """Whether this process was told to leave."""
    return _announced


def ends_at() -> float | None:
    """When this process will be ended, in seconds since the epoch; None where nobody has said so."""
    said = os.environ.get(ENDS_AT) or os.environ.get("SLURM_JOB_END_TIME")
    return float(said) if said else None


def on_signals(leave: Callable[[str], Any]) -> None:
    """Call `leave` with a reason at the first of the signals; a second SIGTERM does what it always did."""
    before = signal.getsignal(signal.SIGTERM)

    def handle(number: int, frame: Any) -> None:
        global _announced
        _announced = True
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        leave(_meaning_of(signal.Signals(number).name))

    for number in SIGNALS:
        signal.signal(number, handle)


def _meaning_of(signal_name: str) -> str:
    """In a job of Slurm's it is Slurm that sends such signals: scancel, preemption, the end of its time."""
    job = os.environ.get("SLURM_JOB_ID")
    return f"Slurm ends its job {job} ({signal_name})" if job else f"it got {signal_name}"


def tell_scheduler(worker: Worker, why: str) -> None:
    """From a signal handler: the scheduler shall give this worker nothing more, and close it when idle."""
    loop = worker.loop.asyncio_loop  # type: ignore[attr-defined]
    request = json.dumps({"worker": worker.address, "why": why})
    loop.call_soon_threadsafe(
        lambda: asyncio.ensure_future(worker.scheduler.evodevo_leave(arguments=request), loop=loop)
    )
