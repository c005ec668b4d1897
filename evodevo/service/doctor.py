"""Check whether a machine is ready for runs, with advice for each problem: `evodevo doctor`."""

import contextlib
import fcntl
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dask.system import cpu_count

from evodevo.run.files import NO_LOCKS, write_new
from evodevo.service.machine import visible_gpus
from evodevo.versions import TESTED

if TYPE_CHECKING:
    from evodevo.service.client import Client

SLOW_WRITE_S = 0.1
"""Durable writes that take longer slow down runs with short epochs."""
FEW_FILES = 1024
"""A lower limit of open files is a fault: a scheduler needs a few for each worker."""
LITTLE_SPACE_BYTES = 2 << 30
ENVIRONMENT = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "PYTHONPATH", "TMPDIR")


@dataclass(frozen=True)
class Finding:
    """A line of the report: a topic, what was found, and advice if it is not good.

    A `fault` prevents runs from working; a `note` may be intended.
    """

    topic: str
    found: str
    state: Literal["good", "note", "fault"] = "good"
    advice: str = ""


def examine(runs_dir: Path) -> Iterator[Finding]:
    """Check Python and its packages, the devices, and a directory for runs."""
    yield Finding("python", f"{sys.version.split()[0]} ({sys.executable})")
    yield from _packages()
    yield from _devices()
    yield from _processors()
    yield from _directory(runs_dir)


def _packages() -> Iterator[Finding]:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    yield Finding("evodevo", version("evodevo"))
    wrong = []
    for text in requires("evodevo") or ():
        needed = Requirement(text)
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        there = _version(needed.name)
        if there is None:
            wrong.append(f"{needed.name} is not installed")
        elif not needed.specifier.contains(there, prereleases=True):
            wrong.append(f"{needed.name} is {there}, but should be {needed.specifier}")
    if wrong:
        yield Finding("packages", "; ".join(wrong), "fault", "pip install --upgrade evodevo")
        return
    about = ", ".join(f"{name} {_version(name)}" for name in TESTED)
    untested = [name for name, range_ in TESTED.items() if (_version(name) or "") not in SpecifierSet(range_)]
    if untested:
        advice = f"if a run fails, try pip install {' '.join(repr(name + TESTED[name]) for name in untested)}"
        yield Finding("packages", f"{about}: not tested with these versions", "note", advice)
    else:
        yield Finding("packages", about)


def _devices() -> Iterator[Finding]:
    gpus = visible_gpus()
    if _version("torch") is None:
        advice = "pip install 'evodevo[workloads]'; commands and functions need no torch"
        yield Finding("torch", "not installed", "note", advice)
        return
    import torch

    if not torch.cuda.is_available():
        about = f"{torch.__version__}, no usable GPU"
        if gpus:
            yield Finding(
                "torch",
                f"{about}, but this machine has {gpus} of NVIDIA's",
                "fault",
                "install a build of torch for CUDA that suits the driver (nvidia-smi shows its version)",
            )
        else:
            yield Finding("torch", about)
        return
    yield Finding("torch", f"{torch.__version__}, CUDA {torch.version.cuda}")
    for number in range(torch.cuda.device_count()):
        free, whole = torch.cuda.mem_get_info(number)
        name = torch.cuda.get_device_name(number)
        about = f"{name}, {free / 2**30:.1f} of {whole / 2**30:.1f} GiB free"
        crowded = free < whole / 2
        advice = "another program uses the rest (nvidia-smi shows which)" if crowded else ""
        yield Finding(f"GPU {number}", about, "note" if crowded else "good", advice)


def _processors() -> Iterator[Finding]:
    cores, load = cpu_count(), os.getloadavg()[0]
    about = f"{cores} cores, load average {load:.1f}"
    if load > cores + 1:
        yield Finding("processors", about, "note", "other programs take time from trainings")
    else:
        yield Finding("processors", about)
    if told := [f"{name}={os.environ[name]}" for name in ENVIRONMENT if name in os.environ]:
        yield Finding("environment", ", ".join(told))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FEW_FILES:
        advice = f"ulimit -n {hard if hard != resource.RLIM_INFINITY else 65536}, or raise it for the service"
        yield Finding("open files", f"at most {soft}", "fault", advice)
    else:
        yield Finding("open files", f"at most {soft}")


def _directory(runs_dir: Path) -> Iterator[Finding]:
    """Check locks, durable writes and free space where runs are written."""
    place = runs_dir
    while not place.exists() and place != place.parent:
        place = place.parent  # the first run creates it
    about = f"{runs_dir}" if place == runs_dir else f"{runs_dir} (will be created in {place.resolve()})"
    try:
        with tempfile.TemporaryDirectory(prefix=".evodevo-doctor-", dir=place) as name:
            trial = Path(name)
            took_s = statistics.median(_write_s(trial, number) for number in range(5))
            locks = _has_locks(trial / "lock")
    except OSError as why:
        advice = "give --runs-dir a directory on a file system that all workers can write"
        yield Finding("runs", f"{about}: {why.strerror}", "fault", advice)
        return
    text = f"{about}: a durable write takes {took_s * 1000:.1f} ms"
    if took_s > SLOW_WRITE_S:
        yield Finding("runs", text, "note", "it slows down runs with short epochs: try another file system")
    else:
        yield Finding("runs", text)
    if locks:
        yield Finding("locks", "flock works there")
    else:
        advice = "mount it with flock, or make sure that a run has one scheduler at a time"
        yield Finding("locks", "flock does not work there", "note", advice)
    free = shutil.disk_usage(place).free
    advice = "a full disk makes a run wait until there is space; `evodevo prune RUN` frees some"
    little = free < LITTLE_SPACE_BYTES
    state: Literal["good", "note"] = "note" if little else "good"
    yield Finding("space", f"{free / 2**30:.1f} GiB free", state, advice if little else "")


def _write_s(directory: Path, number: int) -> float:
    began = time.perf_counter()
    write_new(directory / str(number), b"x" * 4096)
    return time.perf_counter() - began


def _has_locks(path: Path) -> bool:
    with path.open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as why:
            if why.errno not in NO_LOCKS:
                raise
            return False
    return True


def cluster(client: "Client") -> Iterator[Finding]:
    """Check a cluster, whose versions match: a client with other versions is refused earlier."""
    yield Finding("scheduler", f"{client.address}, runs in {client.runs_dir}")
    if client.workers:
        yield Finding("workers", f"{client.workers}")
    else:
        advice = f"a run waits for one: dask worker {client.address} --preload workers.preload"
        yield Finding("workers", "none", "note", advice)
    for why in client.unused_why:
        yield Finding("unused", why, "note", "fix this, and restart the worker")


def _version(package: str) -> str | None:
    with contextlib.suppress(PackageNotFoundError):
        return version(package)
    return None


def as_json(finding: Finding) -> Mapping[str, str]:
    return {key: value for key, value in vars(finding).items() if value}
