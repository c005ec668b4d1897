"""Orderly departure of a worker process at the end of its job or on a signal.

On SIGTERM (a preempted or cancelled job, a person) and SIGUSR1 (a batch system's warning) the worker finishes
and publishes the epoch in progress, takes no other, and exits. The sender decides how long it has; Slurm
grants the partition's GraceTime or KillWait. A second SIGTERM ends the process at once.
"""

import asyncio
import json
import math
import os
import signal
from collections.abc import Callable
from typing import Any

from distributed import Worker

from evodevo.errors import UsageError

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
ENDS_AT = "EVODEVO_ENDS_AT"
"""Environment variable with the end of this worker's job (Unix time), for batch systems other than Slurm."""
SLURM_ENDS_AT = "SLURM_JOB_END_TIME"

_announced = False


def announced() -> bool:
    """Return whether this process was told to leave."""
    return _announced


def ends_at() -> float | None:
    """Return when this process will be ended (Unix time), or None if that is not known.

    Raises `UsageError` if the environment gives something else than a time.
    """
    name = ENDS_AT if os.environ.get(ENDS_AT) else SLURM_ENDS_AT
    said = os.environ.get(name)
    if not said:
        return None
    try:
        time = float(said)
    except ValueError:
        time = math.nan
    if not math.isfinite(time):
        raise UsageError(
            f"{name} should be the time when the worker's job ends, in seconds since 1970, not {said!r}"
        )
    return time


def on_signals(leave: Callable[[str], Any]) -> None:
    """Call `leave` with a reason at the first signal, then restore the previous handler of SIGTERM."""
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
    """Return what a signal means; in a Slurm job it comes from scancel, preemption or the time limit."""
    job = os.environ.get("SLURM_JOB_ID")
    return f"Slurm ends its job {job} ({signal_name})" if job else f"it got {signal_name}"


def tell_scheduler(worker: Worker, why: str) -> None:
    """Ask the scheduler, from a signal handler, to assign this worker no more work and close it when idle."""
    loop = worker.loop.asyncio_loop  # type: ignore[attr-defined]
    request = json.dumps({"worker": worker.address, "why": why})
    loop.call_soon_threadsafe(
        lambda: asyncio.ensure_future(worker.scheduler.evodevo_leave(arguments=request), loop=loop)
    )
