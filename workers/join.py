"""Prepare a worker that is already running as `--preload workers.preload` prepares one that starts."""

import multiprocessing
import threading
import weakref
from typing import Any

import torch
from distributed import Status, Worker

from evodevo.versions import own_versions
from workers import devices, preload

_joined: "weakref.ref[Worker] | None" = None


def join(worker: Worker) -> dict[str, Any]:
    """Prepare the worker, in its event loop, unless that was done; return the preload's facts about it.

    Two facts are added: `daemonic` (its process cannot have children) and `heeds_signals`.
    """
    global _joined
    if "evodevo" in worker.startup_information:
        about = worker.startup_information["evodevo"](worker)
    elif problem := _why_not():
        about = {
            "device": "none",
            "ends_at": None,
            "problem": problem,
            "versions": {**own_versions(), "torch": str(torch.__version__)},
        }
    else:
        preload.dask_setup(worker)
        _joined = weakref.ref(worker)
        about = worker.startup_information["evodevo"](worker)
    return {
        **about,
        "daemonic": multiprocessing.current_process().daemon,
        "heeds_signals": threading.current_thread() is threading.main_thread(),
    }


def _why_not() -> str | None:
    """Return the reason why this process cannot become a training worker, or None."""
    other = _joined() if _joined else None
    if other is not None and other.status not in (Status.closed, Status.failed):
        return f"worker {other.address} is in the same process: start one process per worker"
    visible = devices.visible_devices()
    if len(visible) > 1 and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return (
            f"its process already uses CUDA and sees all GPUs ({', '.join(visible)}), so it cannot be "
            "limited to one: restart it (`client.restart()`), and it joins when it is back"
        )
    return None
