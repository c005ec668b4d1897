"""Helpers of the journal's tests: a small journal, faults of the disk, and another process."""

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evodevo.run.journal import Journal, Record

REPOSITORY = Path(__file__).resolve().parents[2]
EVENTS: list[dict[str, Any]] = [
    {"type": "run", "name": 'tri-parent α, "quoted",\n'},
    {"type": "birth", "genome": {"rate": 1e-4, "nested": [None, True, {"crc": "00000000"}]}},
    {"type": "outcome", "fom": -0.5},
]
ELSEWHERE = """
import os, sys
from pathlib import Path
from evodevo.run.journal import Journal
path = Path(sys.argv[1])
"""


def write(path: Path, events: list[dict[str, Any]] = EVENTS) -> bytes:
    """Write a journal of these events, at time 1.5; return its bytes."""
    with Journal(path, clock=lambda: 1.5) as journal:
        for event in events:
            journal.append([event])
    return path.read_bytes()


def records_of(data: bytes) -> list[Record]:
    """Read and check the records of a whole journal without the code under test."""
    records = []
    for number, line in enumerate(data.decode().splitlines()):
        body, crc = line[: -len(',"crc":"01234567"}')] + "}", line[-len('01234567"}') : -len('"}')]
        assert int(crc, 16) == zlib.crc32(body.encode())
        assert json.loads(line).keys() == {*json.loads(body), "crc"}
        records.append(json.loads(body))
        assert records[-1]["n"] == number
    return records


def descriptors() -> int:
    """Return the number of this process's open files."""
    return len(os.listdir("/proc/self/fd"))


@contextmanager
def another_process(path: Path, code: str) -> Iterator["subprocess.Popen[str]"]:
    """Start a process that runs `code` with Journal and path; yield it after its first line, then kill it."""
    command = [sys.executable, "-c", ELSEWHERE + code, str(path)]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline(), "the other process did not begin"
            yield child
        finally:
            child.kill()
