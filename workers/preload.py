"""`dask worker --preload workers.preload`: prepare a Dask worker for training.

It pins the process to one GPU, or to the CPU, before CUDA starts; imports torch, so that the first epoch
does not pay for it; selects torch's deterministic algorithms; keeps freed memory for the next batch; handles
the signals that announce an end; and describes this worker to the scheduler. The working directory becomes
importable, so `module:Class` finds a user's file there.
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
from evodevo.errors import UsageError
from evodevo.versions import own_versions
from workers import departure, devices, eager
from workers.room import Room

SWITCH_INTERVAL_S = 0.0005
"""Switch interval of Python's threads, down from 5 ms, so that a thread resumes sooner after disk I/O."""

_claim = devices.Claim("cpu")  # replaced when the worker starts; lives as long as the process


_ready_at = time.time()


def ready_at() -> float:
    """Return when this process became a worker (Unix time)."""
    return _ready_at


def current_device() -> torch.device:
    """Return the device of this process; CUDA sees only one GPU, which is number 0."""
    return torch.device("cpu" if _claim.device == "cpu" else "cuda:0")


def current_room() -> Room | None:
    """Return the memory of this process's device if other workers may use it too."""
    return _claim.room


def workers_of_device() -> int:
    """Return how many workers may use this process's device."""
    return _claim.workers


def dask_setup(worker: Worker) -> None:
    global _claim, _ready_at
    _ready_at = time.time()
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic matrix products on CUDA
    _claim = devices.claim(devices.visible_devices())
    problem, ends_at = _claim.problem, None
    try:
        ends_at = departure.ends_at()
    except UsageError as why:
        problem = problem or str(why)
    if _claim.device != "cpu" and _claim.problem is None:
        devices.confine(_claim.device)

    keep_steady(worker.loop)
    _keep_freed_memory()
    leave_global_generator()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    eager.defer_compiler()
    torch.set_deterministic_debug_mode("warn")  # use_deterministic_algorithms imports torch._inductor
    os.environ.setdefault("TORCHINDUCTOR_DETERMINISTIC", "1")  # which it sets for torch.compile
    torch.backends.cudnn.benchmark = False
    if threading.current_thread() is threading.main_thread():  # only it may install handlers
        if worker.nanny is not None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the nanny, which ends this process
        departure.on_signals(functools.partial(departure.tell_scheduler, worker))
    about = {
        "device": _claim.device,
        "ends_at": ends_at,
        "problem": problem,
        "versions": {**own_versions(), "torch": str(torch.__version__)},
    }
    worker.startup_information["evodevo"] = lambda _: about
    gc.freeze()  # a full collection would visit all imported objects and delay a member by 0.14 s


def leave_global_generator() -> None:
    """Give Dask a separate generator, as its thread would otherwise consume random numbers of members.

    It samples the contents of messages with more than ten items, such as heartbeats, to estimate their size.
    """
    for name in ("dask.sizeof", "distributed.comm.core", "distributed.utils_comm", "tornado.ioloop"):
        if getattr(sys.modules.get(name), "random", None) is random:
            sys.modules[name].__dict__["random"] = random.Random()


def _keep_freed_memory() -> None:
    """Undo, in this process, MALLOC_TRIM_THRESHOLD_=65536, which Dask's nanny sets.

    It suits data frames but not training on CPU: every batch's activations are returned to the system and
    faulted in again, page by page. scripts/bench/malloc_trim.py measures the cost.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc only
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
        mallopt(trim_threshold, 512 << 20)
        mallopt(mmap_threshold, 32 << 20)  # glibc's maximum
