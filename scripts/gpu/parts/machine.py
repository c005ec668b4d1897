"""Report facts about the machine: processor, GPUs, driver, versions, commit."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys

from part import REPOSITORY, arguments, found


def output_of(*command: str) -> str | None:
    """Return the first line of a command's output, or None if the command is missing or fails."""
    if shutil.which(command[0]) is None:
        return None
    told = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return told.stdout.strip().partition("\n")[0] or None if told.returncode == 0 else None


def commit() -> str | None:
    """Return the commit of the working tree, or the one recorded by pack.sh."""
    noted = REPOSITORY / "scripts" / "gpu" / "packed" / "commit"
    if described := output_of("git", "describe", "--always", "--dirty"):
        return described
    return f"{noted.read_text().strip()} (when packed)" if noted.is_file() else None


def main() -> int:
    given = arguments(__doc__)
    facts = {
        "commit": commit(),
        "platform": platform.platform(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
    }
    try:
        import torch
    except ImportError as why:
        found(**facts, torch=f"cannot be imported: {why}")
        return 1
    gpus = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    found(
        **facts,
        torch=importlib.metadata.version("torch"),
        cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version(),
        driver=output_of("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        gpu=", ".join(f"{gpu.name} ({gpu.total_memory >> 20} MiB)" for gpu in gpus) or None,
    )
    if not gpus and not given.cpu:
        print("torch sees no CUDA device; --cpu runs a tiny version without one", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
