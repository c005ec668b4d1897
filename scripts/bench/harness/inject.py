"""A preload of schedulers and workers that injects a fault at one record or checkpoint of a run.

The environment variable FAULT describes it: `{"at": "record" or "checkpoint", "number": 4, "stage": "torn"}`.
Records are numbered from 0 as in the journal, checkpoints from 0 in the order in which this process publishes
them. At a stage of `KILLS` the process kills itself. At `full` a disk is filled just before the write, which
then fails: `{"stage": "full", "disk": ..., "mark": ...}`; the file `mark` is created afterwards.
"""

import contextlib
import json
import os
import resource
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evodevo.run import files, journal
from evodevo.run.journal import Journal

KILLS = {
    "record": ("before", "torn", "written", "flushed"),
    "checkpoint": ("before", "torn", "part", "renamed", "flushed"),
}
"""The stages of a write at which a process can be killed: before it; with half of it written; with all of it
written but not flushed, or (`part`) under its temporary name; renamed; and flushed but not reported."""
PAGE = 4096


def dask_setup(_: object) -> None:
    """Dask calls this when the scheduler or worker starts."""
    fault = json.loads(os.environ.get("FAULT", "null"))
    if fault and fault["at"] == "record":
        _at_record(fault)
    elif fault:
        _at_checkpoint(fault)


def fill(disk: Path) -> Path:
    """Create a file that takes all the free space; return its path."""
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * PAGE)
    return ballast


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _at_record(fault: Mapping[str, Any]) -> None:
    number, stage = fault["number"], fault["stage"]
    write, write_all = Journal._write, journal._write_all
    done = False

    def watched(self: Journal, data: bytes) -> None:
        nonlocal done
        lines = data.splitlines(keepends=True)
        at = number - self.count
        if done or not 0 <= at < len(lines):
            return write(self, data)
        if stage == "full":
            done = True
            return _full(fault, lambda: write(self, data), self._file, len(data))
        before = b"".join(lines[:at])
        much = {"before": 0, "torn": len(lines[at]) // 2}.get(stage, len(lines[at]))

        def and_die(descriptor: int, _: bytes) -> None:
            write_all(descriptor, before + lines[at][:much])
            if stage == "flushed":
                os.fsync(descriptor)
            die()

        journal._write_all = and_die
        write(self, data)

    Journal._write = watched  # type: ignore[method-assign]


def _at_checkpoint(fault: Mapping[str, Any]) -> None:
    number, stage = fault["number"], fault["stage"]
    write_all_new = files.write_all_new
    published = 0

    def watched(directory: Path, contents: Mapping[str, bytes]) -> None:
        nonlocal published
        at = number - published
        published += len(contents)
        if directory.name == "params" or "checkpoints" in directory.parts:
            if 0 <= at < len(contents):
                return _write_or_die(directory, contents, at)
        else:
            published -= len(contents)
        write_all_new(directory, contents)

    def _write_or_die(directory: Path, contents: Mapping[str, bytes], at: int) -> None:
        if stage == "full":
            return _full(fault, lambda: write_all_new(directory, contents))
        for name, data in list(contents.items())[: at + 1]:
            last, path = name == list(contents)[at], os.path.join(directory, name)
            if last and stage == "before":
                die()
            if last and stage == "torn":
                Path(f"{path}.{os.urandom(4).hex()}.part").write_bytes(data[: len(data) // 2])
                die()
            part = files._write_part(path, data)
            if last and stage == "part":
                die()
            os.rename(part, path)
        if stage == "flushed":
            files.flush_directory(directory)
        die()

    files.write_all_new = watched


def _full(fault: Mapping[str, Any], write: Any, descriptor: int = -1, size: int = 0) -> None:
    """Fill the disk and write, which fails.

    A record that fits into the rest of the journal's last page would still be written. In that case a file
    size limit makes the kernel refuse the second half of the record.
    """
    fill(Path(fault["disk"]))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    length = os.fstat(descriptor).st_size if descriptor >= 0 else 0
    try:
        if descriptor >= 0 and -length % PAGE >= size:
            resource.setrlimit(resource.RLIMIT_FSIZE, (length + size // 2, before[1]))
        write()
    except OSError:
        Path(fault["mark"]).touch()
        raise
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
