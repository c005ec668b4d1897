"""`dask worker --preload workers.preload`: makes a Dask worker one that can train.

It pins the process to one GPU, or to the CPU, before CUDA starts; loads torch, so that the first epoch
does not pay for it; asks torch for the deterministic algorithms; has freed memory kept for the next batch;
heeds the signals that announce an end; and tells the scheduler what this worker is. The directory it was
started in is importable, so `module:Class` finds a user's own file there.
"""

import ctypes
import functools
import os
import signal
import sys

import torch
from distributed import Worker

from evodevo.versions import own_versions
from workers import departure, devices, eager

_claim = devices.Claim("cpu")  # replaced when the worker starts; lives as long as the process


def current_device() -> torch.device:
    """The device of this process; CUDA sees one GPU only, so that is number 0."""
    return torch.device("cpu" if _claim.device == "cpu" else "cuda:0")


def dask_setup(worker: Worker) -> None:
    global _claim
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic matrix products on CUDA
    _claim = devices.claim(devices.visible_devices())
    if _claim.device != "cpu" and _claim.problem is None:
        os.environ["CUDA_VISIBLE_DEVICES"] = _claim.device

    if worker.nanny is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the nanny, which ends this process
    _keep_freed_memory()
    eager.defer_compiler()
    torch.set_deterministic_debug_mode(
        "warn"
    )  # the other way to say it imports torch._inductor, for a second
    os.environ.setdefault("TORCHINDUCTOR_DETERMINISTIC", "1")  # and sets this, for torch.compile
    torch.backends.cudnn.benchmark = False
    departure.on_signals(functools.partial(departure.tell_scheduler, worker))
    about = {
        "device": _claim.device,
        "ends_at": departure.ends_at(),
        "problem": _claim.problem,
        "versions": {**own_versions(), "torch": str(torch.__version__)},
    }
    worker.startup_information["evodevo"] = lambda _: about


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
