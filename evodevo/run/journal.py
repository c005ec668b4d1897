"""The journal: the append-only history of a run, and the only truth after a crash.

One JSON object a line, each with its number `n` and, last, the checksum `crc` of the rest of the line.
Two things keep two controllers apart. A lock that the kernel gives back when its process dies refuses a
second controller while the first one lives (where the file system has `flock`; every local one and NFS
do; a Lustre mounted without it does not). And appending is compare-and-append: the length of the file is
the fencing token. Who finds the file longer than he left it has been superseded and must stop.

    A appends up to byte 900 and stalls.
    B opens the journal, reads 900 bytes, appends its own `controller` record: 1000 bytes.
    A wakes and appends: the file has 1000 bytes and not 900, so A raises `Superseded`.
"""

import errno
import fcntl
import json
import os
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from evodevo.run import files

Record = dict[str, Any]

LOCK_TRIES, LOCK_PAUSE_S = 20, 0.02


class JournalError(Exception):
    """The journal cannot be read; says where."""


class JournalInUse(Exception):
    """Another live controller holds this run."""


class Superseded(Exception):
    """Another controller has taken this run over."""


class Journal:
    """The journal of a run, opened for appending by its one controller.

    `records` are all that it holds. Opening cuts off a torn last record; raises
    `JournalError` for anything worse and `JournalInUse` where another controller lives.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._lock = os.open(path.with_name("journal.lock"), os.O_RDWR | os.O_CREAT, 0o644)
        self._file = -1
        try:
            if not _take_lock(self._lock):
                raise JournalInUse(f"{path.parent} is being carried on by another controller")
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            _flock(self._file, fcntl.LOCK_EX)
            data = path.read_bytes()
            if not data:
                files.flush_directory(path.parent)
            self.records, self._length = parse(data, str(path))
            if self._length < len(data):
                os.ftruncate(self._file, self._length)
                os.fsync(self._file)
            _flock(self._file, fcntl.LOCK_UN)
        except BaseException:
            self.close()
            raise

    def append(self, record: Mapping[str, Any]) -> Record:
        """Write one record and flush it to disk; returns it as `Tail` would, with number `n` and `time`.

        Raises `Superseded`, with nothing written, where another controller has appended meanwhile, and
        `ValueError` for a record that JSON cannot hold.
        """
        number = {"n": len(self.records)}
        line = encode(number | {"time": round(self._clock(), 3)} | dict(record) | number)
        (full,), _ = parse(line, str(self.path), len(self.records))
        _flock(self._file, fcntl.LOCK_EX)
        try:
            length = os.fstat(self._file).st_size
            if length != self._length:
                raise Superseded(
                    f"{self.path} has {length} bytes where this controller left {self._length}: "
                    "somebody else wrote to it, such as another controller that has taken the run over"
                )
            _write_all(self._file, line)
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._length)  # a full disk: leave no half record behind
            raise
        finally:
            _flock(self._file, fcntl.LOCK_UN)
        self._length += len(line)
        self.records.append(full)
        return full

    def close(self) -> None:
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Tail:
    """Reads a journal that another process may be writing; each call gives what is new since the last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._count = 0

    def read(self) -> list[Record]:
        """The whole records since the last call. A last one that is still being written is left for later."""
        with open(self.path, "rb") as file:
            file.seek(self._offset)
            data = file.read()
        records, used = parse(data, str(self.path), self._count, self._offset)
        self._offset += used
        self._count += len(records)
        return records


def is_live(path: Path) -> bool:
    """Whether a controller holds the run of this journal just now."""
    try:
        descriptor = os.open(path.with_name("journal.lock"), os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        _flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def encode(record: Mapping[str, Any]) -> bytes:
    """One line of the journal. Raises `ValueError` for NaN and infinities, which are not JSON."""
    body = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    return b'%s,"crc":"%08x"}\n' % (body[:-1], zlib.crc32(body))


def parse(data: bytes, where: str, first: int = 0, offset: int = 0) -> tuple[list[Record], int]:
    """Decode whole lines; returns the records and how many bytes they take.

    What follows the last newline is a torn record and is not counted (but a whole record with another byte
    where its newline was is damage: it had been written). Raises `JournalError` for a line
    that is altered or out of its number, naming file, record and byte.
    """
    records: list[Record] = []
    used = 0
    while (end := data.find(b"\n", used)) >= 0:
        number = first + len(records)
        body = _body(data[used:end])
        if body is None:
            raise JournalError(f"{where}: record {number} at byte {offset + used} is damaged (checksum)")
        record = json.loads(body)
        if record["n"] != number:
            raise JournalError(
                f"{where}: record {record['n']} at byte {offset + used} stands where {number} should"
            )
        records.append(record)
        used = end + 1
    if _body(data[used:-1]) is not None:
        raise JournalError(f"{where}: the record at byte {offset + used} is damaged (its newline)")
    return records, used


def _body(line: bytes) -> bytes | None:
    """The JSON of a line without its checksum; None where they do not agree."""
    body, _, crc = line.rpartition(b',"crc":"')
    body += b"}"
    return body if crc == b'%08x"}' % zlib.crc32(body) else None


def _take_lock(descriptor: int) -> bool:
    """Take the controller's lock unless another has it. `is_live` may hold it for an instant, so try again.

    Where the file system has no locks, fencing alone must do.
    """
    for _ in range(LOCK_TRIES):
        try:
            _flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_S)
    return False


def _flock(descriptor: int, operation: int) -> None:
    try:
        fcntl.flock(descriptor, operation)
    except OSError as why:
        if why.errno not in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK):
            raise


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
