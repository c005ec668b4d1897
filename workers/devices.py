"""Which device a worker process uses: one GPU of its own, or the CPU where there are none."""

import fcntl
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Claim:
    """A device that this process holds, or why it holds none. The kernel ends the claim with the process."""

    device: str
    """`cpu`, or a GPU as CUDA_VISIBLE_DEVICES names it."""
    problem: str | None = None
    descriptor: int = -1


def claim(visible: list[str], directory: Path | None = None) -> Claim:
    """Take the first device of `visible` that no other process of this host has taken.

    The claim is a lock on a file in `directory` (a node's own, by default under the temporary directory).
    """
    if not visible:
        return Claim("cpu")
    directory = directory or Path(tempfile.gettempdir(), f"evodevo-devices-{os.getuid()}")
    directory.mkdir(exist_ok=True)
    for device in visible:
        descriptor = os.open(directory / f"{device.replace('/', '_')}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        return Claim(device, descriptor=descriptor)
    return Claim(
        "none", f"all devices ({', '.join(visible)}) are taken by other workers: start one worker a device"
    )


def visible_devices() -> list[str]:
    """The GPUs this process may use, without waking CUDA: CUDA_VISIBLE_DEVICES, or all that there are."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        names = [name.strip() for name in listed.split(",") if name.strip()]
        return names[: names.index("-1")] if "-1" in names else names  # CUDA stops at the first that is none
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]
