"""Choose the device of a worker process: a GPU that it claims, or the CPU on a machine without GPUs.

A worker claims a GPU by locking a file named after the GPU. An entry of CUDA_VISIBLE_DEVICES may name the GPU
only in the view of this process: a Slurm job with confined devices, like a container, always sees its GPU as
number 0. So the name of the file depends on the kind of entry (`identities`):

- `GPU-uuid`, `MIG-uuid`: the entry itself; an abbreviated UUID is completed if the whole one is known.
- A number, if the UUIDs of the GPUs in this view are known (`workers.gpus`): the UUID at that number.
  CUDA numbers GPUs of different models by speed, unless CUDA_DEVICE_ORDER=PCI_BUS_ID is set, while UUIDs are
  listed by PCI address. The UUID may then belong to another GPU of the view, but two workers of one view
  still lock different files for different numbers, a view of one GPU has only one order, and CUDA is always
  told to use the entry of the list itself. Only views of several models that overlap without being equal
  could conflict.
- A number in a Slurm job (usually with AMD GPUs): the node's number. SLURM_STEP_GPUS, or else
  SLURM_JOB_GPUS, lists those of the job, whether devices are confined or not. A process that sees only
  numbers of that list is not confined, and its numbers are the node's; otherwise its number n is the n-th of
  the list. (GPU_DEVICE_ORDINAL does not help: in a confined job it counts from 0, like CUDA_VISIBLE_DEVICES.)
- Any other number: the number. It is the node's if devices are not confined. If they are, nothing
  here tells two views apart, and an idle worker that reports it is better than two workers on one GPU. So
  neither the job's number nor the cgroup is part of the name, as jobs whose devices are not confined do
  share numbers.

On AMD, if ROCR_VISIBLE_DEVICES is set, a number in HIP_VISIBLE_DEVICES (or CUDA_VISIBLE_DEVICES) is an index
into it.

EVODEVO_WORKERS_PER_DEVICE (default 1) is the number of workers per GPU. A GPU has that many files, of which a
worker locks one; no GPU gets a second worker before each has one.
"""

import fcntl
import itertools
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from evodevo.run.files import NO_LOCKS
from evodevo.run.records import PER_DEVICE
from workers import gpus
from workers.room import Room

SLURM_LISTS = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS")


@dataclass
class Claim:
    """A device held by this process, or the reason for not having one; the kernel releases it at exit."""

    device: str
    """`cpu`, a GPU as CUDA_VISIBLE_DEVICES names it, or `none`."""
    problem: str | None = None
    descriptor: int = -1
    workers: int = 1
    """Maximum number of workers on the device."""
    room: Room | None = None
    """The device's memory, if several workers may use it."""


def claim(visible: list[str], directory: Path | None = None, per_device: int | None = None) -> Claim:
    """Claim the first device of `visible` that fewer than `per_device` other processes have claimed.

    The claim is a lock on a file in `directory` (by default a local one, under the temporary directory).
    `per_device` defaults to the environment's EVODEVO_WORKERS_PER_DEVICE.
    """
    if not visible:
        return Claim("cpu")
    if per_device is None:
        said = os.environ.get(PER_DEVICE, "1")
        if not said.isdecimal() or len(said) > 3 or int(said) < 1:
            return Claim(
                "none", f"{PER_DEVICE} should be the number of workers per GPU, 1 to 999, not {said!r}"
            )
        per_device = int(said)
    directory = directory or Path(tempfile.gettempdir(), f"evodevo-devices-{os.getuid()}")
    directory.mkdir(mode=0o700, exist_ok=True)
    if not _is_own(directory):
        return Claim(
            "none",
            f"GPUs are claimed by locks on files in {directory}, which is not a directory that only this "
            "user can write to: remove it, or set TMPDIR to a directory that belongs to this user",
        )
    taken: dict[str, list[str]] = {}
    found = identities(visible, os.environ)
    for slot, (device, identity) in itertools.product(range(per_device), found.items()):
        path = _lock_of(directory, identity, slot)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            taken.setdefault(_told(device, identity), []).append(_holder(path))
            continue
        except OSError as why:
            os.close(descriptor)
            if why.errno not in NO_LOCKS:
                raise
            return Claim(
                "none",
                f"GPUs are claimed by locks on files in {directory}, whose file system does not support "
                "locks: set TMPDIR to a directory on a local disk",
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        room = Room(_lock_of(directory, identity).with_suffix("")) if per_device > 1 else None
        return Claim(device, descriptor=descriptor, workers=per_device, room=room)
    told = ", ".join(device + _by(filter(None, holders)) for device, holders in taken.items())
    several = f"{per_device} workers" if per_device > 1 else "one worker"
    return Claim(
        "none",
        f"all devices ({told}) are in use by other workers: start {several} per device, "
        f"or increase {PER_DEVICE}",
    )


def _is_own(directory: Path) -> bool:
    """Return whether this is a directory (not a link) that only this user, its owner, may write to."""
    state = directory.lstat()
    return stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not state.st_mode & 0o022


def _lock_of(directory: Path, identity: str, slot: int = 0) -> Path:
    """Return the file that a worker of a device locks; the one for slot 0 has the device's plain name."""
    number = f".{slot + 1}" if slot else ""
    return directory / f"{identity.replace('/', '_')}{number}.lock"


def identities(visible: list[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return for each entry of `visible` a name of the device that is the same in every view of this node."""
    known = gpus.uuids()
    numbers = {entry: entry for entry in visible if entry.isdecimal()}
    if _is_amd() and "ROCR_VISIBLE_DEVICES" in environment:
        listed = _entries(environment["ROCR_VISIBLE_DEVICES"])
        numbers = {entry: listed[int(entry)] if int(entry) < len(listed) else entry for entry in numbers}
    if not known:
        numbers = _of_node(numbers, environment)
    found = {}
    for entry in visible:
        if entry.isdecimal():
            found[entry] = known[int(entry)] if int(entry) < len(known) else numbers[entry]
        else:
            whole = [uuid for uuid in known if uuid.startswith(entry)]
            found[entry] = whole[0] if len(whole) == 1 else entry
    return found


def _of_node(numbers: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Replace the numbers of this view by the node's, if Slurm's variables reveal them."""
    job = next((_entries(environment[name]) for name in SLURM_LISTS if environment.get(name)), [])
    own = [number for number in numbers.values() if number.isdecimal()]
    if not all(entry.isdecimal() for entry in job) or all(number in job for number in own):
        return dict(numbers)
    return {
        entry: job[int(number)] if number.isdecimal() and int(number) < len(job) else number
        for entry, number in numbers.items()
    }


def _told(device: str, identity: str) -> str:
    if device == identity:
        return device
    return f"{device} = {f'number {identity} of the node' if identity.isdecimal() else identity}"


def _holder(lock: Path) -> str:
    """Return the PID in a lock file, or "" if its holder has not written it yet."""
    try:
        pid = lock.read_text().strip()
    except OSError:
        return ""
    return pid if pid.isdecimal() else ""


def _by(holders: Iterable[str]) -> str:
    pids = list(holders)
    return f" by process{'es' if len(pids) > 1 else ''} {' and '.join(pids)}" if pids else ""


def visible_devices() -> list[str]:
    """Return the GPUs this process may use, without starting CUDA: CUDA_VISIBLE_DEVICES, or all GPUs."""
    listed = os.environ.get(_variable())
    if listed is not None:
        names = _entries(listed)
        return names[: names.index("-1")] if "-1" in names else names  # CUDA stops at the first invalid entry
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def confine(device: str) -> None:
    """Restrict this process, before CUDA starts, to one entry of `visible_devices`."""
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ[_variable()] = device


def _variable() -> str:
    """Return the name of the variable that lists the visible devices; on AMD, HIP's takes precedence."""
    amd = _is_amd() and "HIP_VISIBLE_DEVICES" in os.environ
    return "HIP_VISIBLE_DEVICES" if amd else "CUDA_VISIBLE_DEVICES"


def _is_amd() -> bool:
    import torch

    return torch.version.hip is not None


def _entries(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()]
