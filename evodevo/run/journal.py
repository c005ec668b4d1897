"""The journal: the append-only history of a run, and the only truth after a crash.

One JSON object a line, each with its number `n` and, last, the checksum `crc` of the rest of the line.
Two things keep two controllers apart. A lock that the kernel gives back when its process dies refuses a
second controller while the first one lives (where the file system has `flock`; every local one and NFS
do; a Lustre mounted without it does not). And appending is compare-and-append: the length of the file is
the fencing token. A controller that finds the file longer than its last write has been superseded and must
stop.

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
from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from evodevo.run import files

Record = dict[str, Any]
_DECODER = json.JSONDecoder()

LOCK_TRIES, LOCK_PAUSE_S = 20, 0.02
INDEX_BLOCK_BYTES = 1 << 20


class JournalError(Exception):
    """The journal cannot be read; says where."""


class JournalInUse(Exception):
    """Another live controller holds this run."""


class Superseded(Exception):
    """Another controller has taken this run over."""


class Journal:
    """The journal of a run, opened for appending by its one controller.

    `records` are those that it held then; later ones are not kept. Opening cuts off a torn last record;
    raises `JournalError` for anything worse and `JournalInUse` where another controller lives.
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
            self.records, self.length = parse(data, str(path))
            self.count = len(self.records)
            if self.length < len(data):
                os.ftruncate(self._file, self.length)
                os.fsync(self._file)
            _flock(self._file, fcntl.LOCK_UN)
        except BaseException:
            self.close()
            raise

    def append(self, records: Sequence[Mapping[str, Any]]) -> list[Record]:
        """Write records together and flush them to disk once (group commit).

        Returns them as `Tail` would, each with its number `n` and its `time`. Raises `Superseded`, with
        nothing written, if another controller has appended meanwhile, and `ValueError` for a record that
        JSON cannot hold.
        """
        now = round(self._clock(), 3)
        full: list[Record] = []
        for record in records:
            number = {"n": self.count + len(full)}
            full.append(number | {"time": now} | dict(record) | number)
        self._write(b"".join(map(encode, full)))
        self.count += len(full)
        return full

    def _write(self, data: bytes) -> None:
        _flock(self._file, fcntl.LOCK_EX)
        try:
            length = os.fstat(self._file).st_size
            if length != self.length:
                raise Superseded(
                    f"{self.path} has {length} bytes where this controller left {self.length}: "
                    "somebody else wrote to it, such as another controller that has taken the run over"
                )
            _write_all(self._file, data)
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self.length)  # a full disk: leave no half record behind
            raise
        finally:
            _flock(self._file, fcntl.LOCK_UN)
        self.length += len(data)

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

    def read(self, most: int | None = None) -> list[Record]:
        """Return the whole records since the last call, or the first `most` of them.

        One that is still being written is left for later.
        """
        with open(self.path, "rb") as file:
            file.seek(self._offset)
            data = b"".join(islice(file, most))
        records, used = parse(data, str(self.path), self._count, self._offset)
        self._offset += used
        self._count += len(records)
        return records


class Excerpts:
    """Gives parts of a growing journal by record number, as text, without decoding them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets = array("Q", [0])
        """Where each record begins, and where the next one will."""

    def read(self, since: int, most: int) -> str:
        """Return the whole lines of up to `most` records from number `since` on; what `parse` takes."""
        with open(self.path, "rb") as file:
            self._index(file)
            last = min(since + most, len(self._offsets) - 1)
            if since >= last:
                return ""
            begin, end = self._offsets[since], self._offsets[last]
            file.seek(begin)
            return file.read(end - begin).decode()

    def _index(self, file: BinaryIO) -> None:
        file.seek(self._offsets[-1])
        while block := file.read(INDEX_BLOCK_BYTES):
            begin, at = file.tell() - len(block), -1
            while (at := block.find(b"\n", at + 1)) >= 0:
                self._offsets.append(begin + at + 1)


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
        record = _DECODER.decode(body.decode())
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
