"""`dask worker --preload workers.preload`: makes a Dask worker one that can train.

It pins the process to one GPU, or to the CPU, before CUDA starts; loads torch, so that the first epoch
does not pay for it; asks torch for the deterministic algorithms; has freed memory kept for the next batch;
heeds the signals that announce an end; and tells the scheduler what this worker is. The directory it was
started in is importable, so `module:Class` finds a user's own file there.
"""

import ctypes
import functools
import gc
import os
import random
import signal
import sys
import threading
import time

import torch
from distributed import Worker

from evodevo.clock import keep_steady
from evodevo.versions import own_versions
from workers import departure, devices, eager
from workers.room import Room

SWITCH_INTERVAL_S = 0.0005
"""Between Python threads, instead of 5 ms: a thread that was waiting for the disk goes on sooner."""

_claim = devices.Claim("cpu")  # replaced when the worker starts; lives as long as the process


_ready_at = time.time()


def ready_at() -> float:
    """When this process became a worker (seconds since the epoch)."""
    return _ready_at


def current_device() -> torch.device:
    """The device of this process; CUDA sees one GPU only, so that is number 0."""
    return torch.device("cpu" if _claim.device == "cpu" else "cuda:0")


def current_room() -> Room | None:
    """The memory of this process' device, if other workers may use that, too."""
    return _claim.room


def workers_of_device() -> int:
    """How many workers may use this process' device."""
    return _claim.workers


def dask_setup(worker: Worker) -> None:
    global _claim, _ready_at
    _ready_at = time.time()
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic matrix products on CUDA
    _claim = devices.claim(devices.visible_devices())
    if _claim.device != "cpu" and _claim.problem is None:
        devices.confine(_claim.device)

    keep_steady(worker.loop)
    _keep_freed_memory()
    leave_global_generator()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    eager.defer_compiler()
    torch.set_deterministic_debug_mode("warn")  # the other way to say it imports torch._inductor
    os.environ.setdefault("TORCHINDUCTOR_DETERMINISTIC", "1")  # and sets this, for torch.compile
    torch.backends.cudnn.benchmark = False
    if threading.current_thread() is threading.main_thread():  # Python lets no other install handlers
        if worker.nanny is not None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the nanny, which ends this process
        departure.on_signals(functools.partial(departure.tell_scheduler, worker))
    about = {
        "device": _claim.device,
        "ends_at": departure.ends_at(),
        "problem": _claim.problem,
        "versions": {**own_versions(), "torch": str(torch.__version__)},
    }
    worker.startup_information["evodevo"] = lambda _: about
    gc.freeze()  # a full collection looks at all that was imported, and would hold up a member for 0.14 s


def leave_global_generator() -> None:
    """Let Dask draw from a generator of its own: its thread would take numbers from members in training.

    It samples what is in a message with more than ten parts, such as each heartbeat, to know its size.
    """
    for name in ("dask.sizeof", "distributed.comm.core", "distributed.utils_comm", "tornado.ioloop"):
        if getattr(sys.modules.get(name), "random", None) is random:
            sys.modules[name].__dict__["random"] = random.Random()


def _keep_freed_memory() -> None:
    """Undo, in this process, MALLOC_TRIM_THRESHOLD_=65536, which Dask's nanny sets.

    It is good for data frames and bad for training on CPU: every batch's activations are given back to
    the system and asked for again, page by page. scripts/bench/malloc_trim.py measures what that costs.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc only
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
        mallopt(trim_threshold, 512 << 20)
        mallopt(mmap_threshold, 32 << 20)  # the largest that glibc takes
