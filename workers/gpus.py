"""UUIDs of the NVIDIA GPUs that this process may open, in the order of their numbers, without starting CUDA.

Three sources are tried in this order, until one finds any:

- NVML (`libnvidia-ml.so.1`, part of the driver). Like CUDA it omits and does not number GPUs that the
  process may not open, so its numbers are those of a view confined by cgroups or a container.
- `/proc/driver/nvidia/gpus`. It lists all GPUs of the node in spite of cgroups; those whose device file this
  process may not open are left out here. It has no UUIDs of MIG instances, nor any UUID before the driver
  has used the GPU.
- `nvidia-smi -L`, which queries NVML in a separate process.

The order is by PCI address, as in CUDA with CUDA_DEVICE_ORDER=PCI_BUS_ID. CUDA's default order differs only
between GPUs of different models; see `workers.devices` for why that is harmless.
"""

import ctypes
import os
import re
import subprocess
from pathlib import Path
from typing import Any

PROC, DEV = Path("/proc/driver/nvidia"), Path("/dev")
LIBRARY = "libnvidia-ml.so.1"
UUID_BYTES = 96
SMI_TIMEOUT_S = 20.0


def uuids() -> list[str]:
    """Return the UUID of each GPU, or of its MIG instances if it has any; empty if no source knows them."""
    return of_nvml() or of_proc() or of_nvidia_smi()


def of_nvml(library: str = LIBRARY) -> list[str]:
    try:
        nvml = ctypes.CDLL(library)
        if nvml.nvmlInit_v2():
            return []
    except (OSError, AttributeError):
        return []
    try:
        return _listed(nvml)
    except AttributeError:  # a version of the library without one of the functions
        return []
    finally:
        nvml.nvmlShutdown()


def _listed(nvml: Any) -> list[str]:
    count, found = ctypes.c_uint(), []
    if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return []
    for number in range(count.value):
        gpu = ctypes.c_void_p()
        if nvml.nvmlDeviceGetHandleByIndex_v2(number, ctypes.byref(gpu)):
            continue  # this process may not open it, so CUDA does not number it either
        mode, pending = ctypes.c_uint(), ctypes.c_uint()
        if not nvml.nvmlDeviceGetMigMode(gpu, ctypes.byref(mode), ctypes.byref(pending)) and mode.value:
            found += _instances(nvml, gpu)
        elif uuid := _uuid(nvml, gpu):
            found.append(uuid)
    return found


def _instances(nvml: Any, gpu: ctypes.c_void_p) -> list[str]:
    most, found = ctypes.c_uint(), []
    nvml.nvmlDeviceGetMaxMigDeviceCount(gpu, ctypes.byref(most))
    for number in range(most.value):
        instance = ctypes.c_void_p()
        if not nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, number, ctypes.byref(instance)):
            found.append(_uuid(nvml, instance))
    return [uuid for uuid in found if uuid]


def _uuid(nvml: Any, device: ctypes.c_void_p) -> str:
    text = ctypes.create_string_buffer(UUID_BYTES)
    return "" if nvml.nvmlDeviceGetUUID(device, text, UUID_BYTES) else text.value.decode()


def of_proc(proc: Path = PROC, dev: Path = DEV) -> list[str]:
    found = []
    for information in sorted(proc.glob("gpus/*/information")):  # directories are named after PCI addresses
        try:
            facts = dict(
                re.findall(r"^(GPU UUID|Device Minor):\s*(\S+)", information.read_text(), re.MULTILINE)
            )
        except OSError:
            return []
        uuid, minor = facts.get("GPU UUID", "?"), facts.get("Device Minor", "")
        if not os.access(dev / f"nvidia{minor}", os.R_OK | os.W_OK):  # respects cgroups
            continue
        if "?" in uuid or any(proc.glob(f"capabilities/gpu{minor}/mig/gi*")):
            return []
        found.append(uuid)
    return found


def of_nvidia_smi() -> list[str]:
    try:
        told = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=SMI_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_list(told.stdout) if told.returncode == 0 else []


def parse_list(text: str) -> list[str]:
    """Return the UUIDs that `nvidia-smi -L` prints, with a GPU replaced by its (indented) MIG instances."""
    found: list[str] = []
    gpu = ""
    for indent, uuid in re.findall(r"^(\s*)(?:GPU|MIG) .*\(UUID: ([^)]+)\)\s*$", text, re.MULTILINE):
        if not indent.strip("\n"):
            gpu = uuid
        elif found and found[-1] == gpu:
            found.pop()
        found.append(uuid)
    return found
