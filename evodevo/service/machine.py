"""Count the workers that this machine has room for, without importing torch."""

import ctypes
import os

from dask.system import cpu_count


def room_for_workers(threads_per_member: int = 1, per_device: int = 1) -> int:
    """Return `per_device` times the visible GPUs; without GPUs, the cores divided by a worker's threads."""
    return visible_gpus() * per_device or max(1, cpu_count() // threads_per_member)


def visible_gpus() -> int:
    """Return the number of GPUs visible to a worker: those in CUDA_VISIBLE_DEVICES, or all of NVIDIA's."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return _installed_gpus()
    names = [name.strip() for name in listed.split(",") if name.strip()]
    return names.index("-1") if "-1" in names else len(names)  # CUDA stops at the first invalid one


def _installed_gpus() -> int:
    """Return the number of GPUs that NVIDIA's management library reports; 0 if it is not installed."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return 0
    count = ctypes.c_uint(0)
    if nvml.nvmlInit_v2() != 0:
        return 0
    nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    nvml.nvmlShutdown()
    return count.value
