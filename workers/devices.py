"""Which device a worker process uses: one GPU of its own, or the CPU if there are none.

A worker claims a GPU by a lock on a file that is named after the GPU. What CUDA_VISIBLE_DEVICES calls it may
be its name in the view of this process only: a job of Slurm with confined devices, like a container, sees
its own GPU as number 0, whichever it is. So the file is named, whatever the list has (`identities`):

- `GPU-uuid`, `MIG-uuid`: by that; a GPU's abbreviation by the whole UUID, if that is known.
- a number, and the UUIDs of the GPUs in this view are known (`workers.gpus`): by the UUID at that number.
  CUDA numbers GPUs of different models by speed, unless CUDA_DEVICE_ORDER=PCI_BUS_ID is set, and UUIDs are
  listed by PCI address. Then the UUID may be another GPU's of the view, but two workers of one view still
  lock different files for different numbers, a view of one GPU has only one order, and what CUDA is told to
  use is always the entry of the list itself. Only views of several models that overlap without being equal
  could meet wrongly.
- a number, in a job of Slurm (of AMD GPUs, as a rule): by the node's own number. SLURM_STEP_GPUS, or else
  SLURM_JOB_GPUS, has those of the job, whether devices are confined or not. A process that sees only numbers
  of that list is not confined, and its numbers are the node's; otherwise its number n is the n-th of the
  list. (GPU_DEVICE_ORDINAL is no help: in a confined job it counts from 0, as CUDA_VISIBLE_DEVICES does.)
- a number otherwise: by the number. If devices are not confined, that is the node's. If they are, nothing
  here tells two views apart, and a worker without work, which says so, is better than two on one GPU: so
  neither the job's number nor the cgroup is part of the name, as jobs whose devices are not confined do
  share numbers.

On AMD a number of HIP_VISIBLE_DEVICES (or CUDA_VISIBLE_DEVICES) counts in ROCR_VISIBLE_DEVICES, if that is
set.

EVODEVO_WORKERS_PER_DEVICE (1) is how many workers a GPU has: it then has as many files, of which a worker
locks one, and a GPU gets its second worker when each has one.
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
    """A device that this process holds, or why it holds none. The kernel ends the claim with the process."""

    device: str
    """`cpu`, or a GPU as CUDA_VISIBLE_DEVICES names it."""
    problem: str | None = None
    descriptor: int = -1
    workers: int = 1
    """How many workers may use the device."""
    room: Room | None = None
    """Its memory, if several workers may use it."""


def claim(visible: list[str], directory: Path | None = None, per_device: int | None = None) -> Claim:
    """Take the first device of `visible` that fewer than `per_device` other processes have taken.

    The claim is a lock on a file in `directory` (the node's own, by default under the temporary directory).
    `per_device` is the environment's if it is not given.
    """
    if not visible:
        return Claim("cpu")
    if per_device is None:
        said = os.environ.get(PER_DEVICE, "1")
        if not said.isdecimal() or int(said) < 1:
            return Claim("none", f"{PER_DEVICE} is {said!r} and should be the workers of a GPU, 1 or more")
        per_device = int(said)
    directory = directory or Path(tempfile.gettempdir(), f"evodevo-devices-{os.getuid()}")
    directory.mkdir(mode=0o700, exist_ok=True)
    if not _is_own(directory):
        return Claim(
            "none",
            f"GPUs are claimed by locks on files in {directory}, which is not a directory that only this "
            "user can write to: remove it, or set TMPDIR to a directory of this user's",
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
                f"GPUs are claimed by locks on files in {directory}, and that file system has no locks: "
                "set TMPDIR to a directory of the node's own disk",
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        room = Room(_lock_of(directory, identity).with_suffix("")) if per_device > 1 else None
        return Claim(device, descriptor=descriptor, workers=per_device, room=room)
    told = ", ".join(device + _by(filter(None, holders)) for device, holders in taken.items())
    several = f"{per_device} workers" if per_device > 1 else "one worker"
    return Claim(
        "none",
        f"all devices ({told}) are taken by other workers: start {several} per device, "
        f"or set {PER_DEVICE} to more",
    )


def _is_own(directory: Path) -> bool:
    """Whether it is a directory, no link, of this user, that nobody else may write to."""
    state = directory.lstat()
    return stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not state.st_mode & 0o022


def _lock_of(directory: Path, identity: str, slot: int = 0) -> Path:
    """The file that one of the workers of a device locks; the first one's has the device's name."""
    number = f".{slot + 1}" if slot else ""
    return directory / f"{identity.replace('/', '_')}{number}.lock"


def identities(visible: list[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return for each entry of `visible` the name that the device has in every view of this node."""
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
    """Replace numbers of this view by the node's, if Slurm says which those are."""
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
    """The process that holds a lock, as far as the file says; it may be about to be written."""
    try:
        pid = lock.read_text().strip()
    except OSError:
        return ""
    return pid if pid.isdecimal() else ""


def _by(holders: Iterable[str]) -> str:
    pids = list(holders)
    return f" by process{'es' if len(pids) > 1 else ''} {' and '.join(pids)}" if pids else ""


def visible_devices() -> list[str]:
    """The GPUs this process may use, without waking CUDA: CUDA_VISIBLE_DEVICES, or all that there are."""
    listed = os.environ.get(_variable())
    if listed is not None:
        names = _entries(listed)
        return names[: names.index("-1")] if "-1" in names else names  # CUDA stops at the first that is none
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def confine(device: str) -> None:
    """Let this process, whose CUDA has not started, see only this entry of `visible_devices`."""
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ[_variable()] = device


def _variable() -> str:
    """Name the variable that lists the visible devices; AMD's own goes before the other one there."""
    amd = _is_amd() and "HIP_VISIBLE_DEVICES" in os.environ
    return "HIP_VISIBLE_DEVICES" if amd else "CUDA_VISIBLE_DEVICES"


def _is_amd() -> bool:
    import torch

    return torch.version.hip is not None


def _entries(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()]
