"""The journal: the append-only history of a run, and its only source of truth after a crash.

Each line is a JSON object with its number `n` and, last, the checksum `crc` of the rest of the line. Three
mechanisms keep two controllers apart. First, a lock that the kernel releases when its process dies refuses a
second controller while the first one lives. Second, not every file system has locks that all nodes see
(Lustre has none unless it is mounted with `flock`, and NFS with `nolock` keeps them on one node); without
them the controller's heartbeat decides (`run.heartbeat`), which is slower to notice a death and can mistake a
stalled controller for a dead one. Third, appending is compare-and-append: the length of the file is the
fencing token. A controller that finds the file longer than its last write has been superseded and must stop.

    A appends up to byte 900 and stalls.
    B opens the journal, reads 900 bytes, appends its own `controller` record: 1000 bytes.
    A wakes and appends: the file has 1000 bytes and not 900, so A raises `Superseded`.

Without locks, that comparison and the following write are two steps. The heartbeat's file, which B replaces
with its own before it appends, is therefore a second token: a controller that does not find its own file
there must stop as well.
"""

import fcntl
import json
import os
import time
import zlib
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from evodevo.run import files, heartbeat
from evodevo.run.heartbeat import Heartbeat, Sign

JOURNAL = "journal.jsonl"
"""File name of the journal in a run's directory."""
Record = dict[str, Any]
_DECODER = json.JSONDecoder()

LOCK_TRIES, LOCK_PAUSE_S = 20, 0.02
SETTLE_S = 1.0
"""Pause after writing a heartbeat without locks: of two controllers that start at once, the last writer
continues."""
NO_LOCKS = "this file system has no locks"
NO_COMMON_LOCKS = "its lock is not seen from this host"
INDEX_BLOCK_BYTES = 1 << 20


class JournalError(Exception):
    """The journal cannot be read; the message says where."""


class JournalInUse(Exception):
    """Another live controller holds this run."""


class Superseded(Exception):
    """Another controller has taken over this run."""


class Removed(Exception):
    """The run's directory was removed, or replaced by another one."""


@dataclass(frozen=True)
class Holder:
    """The live controller of a run, and the evidence that it is alive."""

    sign: Sign | None
    """What it says about itself, if that was found."""
    has_lock: bool
    no_lock: str = ""
    """Why the lock is not conclusive."""

    def __str__(self) -> str:
        known = self.sign is not None and self.sign.pid
        who = f"process {self.sign.pid} on {self.sign.host}" if self.sign and known else "another controller"
        return (
            f"{who} ({'it holds the lock' if self.has_lock else f'its heartbeat continues; {self.no_lock}'})"
        )


class Journal:
    """The journal of a run, opened for appending by its only controller.

    `records` holds the records that it had when it was opened; later ones are not kept. Opening truncates a
    torn last record; it raises `JournalError` for any other damage, and `JournalInUse` if another controller
    is alive. Use `beats`, which keeps up a heartbeat, to hold it open for long.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time, beats: bool = False) -> None:
        self.path = path
        self._clock = clock
        self._heartbeat: Heartbeat | None = None
        self._lock = os.open(path.with_name("journal.lock"), os.O_RDWR | os.O_CREAT, 0o644)
        self._file = -1
        self._unsure = b""
        """Data that could not be written as a whole and may be in the file in part."""
        try:
            if (locks := _take_lock(self._lock)) is False:
                raise JournalInUse(_in_use(path, Holder(heartbeat.sign_in(path.parent), True)))
            if other := _by_heartbeat(path.parent, bool(locks)):
                raise JournalInUse(_in_use(path, other))
            if beats:
                self._begin_heartbeat(bool(locks))
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            if _take_lock(self._file) is False:
                raise JournalInUse(f"{path} is locked by {_lockers(self._file)}")
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

        Returns them as `Tail` would, each with its number `n` and its `time`. Raises, with nothing written,
        `Superseded` if another controller has appended meanwhile, `Removed` if the file is gone, and
        `ValueError` for a record that JSON cannot hold. Raises `OSError` if the disk fails; a partial write
        is then removed at once, or else by the next call.
        """
        now = round(self._clock(), 3)
        full: list[Record] = []
        for record in records:
            number = {"n": self.count + len(full)}
            full.append(number | {"time": now} | dict(record) | number)
        self._write(b"".join(map(encode, full)))
        self.count += len(full)
        return full

    def _begin_heartbeat(self, locks: bool) -> None:
        """Start the heartbeat. Raises `JournalInUse` if, without locks, another controller starts at once."""
        mine = Heartbeat(self.path.parent, locks)
        try:
            mine.begin()
        except OSError:
            if not locks:
                raise
            return  # the lock suffices
        self._heartbeat = mine
        if not locks:
            time.sleep(SETTLE_S)
            if not mine.is_own():
                other = heartbeat.sign_in(self.path.parent)
                raise JournalInUse(_in_use(self.path, Holder(other, False, NO_LOCKS)))

    def _write(self, data: bytes) -> None:
        if self._heartbeat and not self._heartbeat.sign.locks and not self._heartbeat.is_own():
            raise Superseded(
                f"{self.path.with_name(heartbeat.FILE)} no longer belongs to this controller: "
                "another one has taken over the run"
            )
        self._refuse_removed()
        _flock(self._file, fcntl.LOCK_EX)
        try:
            length = os.fstat(self._file).st_size
            if length > self.length and self._left_behind(length):
                length = self.length
            if length != self.length:
                raise Superseded(
                    f"{self.path} has {length} bytes, but this controller left {self.length}: "
                    "another process wrote to it, such as a controller that has taken over the run"
                )
            self._unsure = data
            try:
                _write_all(self._file, data)
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, self.length)  # a full disk, say: leave no partial record
                raise
        finally:
            _flock(self._file, fcntl.LOCK_UN)
        self._unsure = b""
        self.length += len(data)

    def _left_behind(self, length: int) -> bool:
        """Remove the remains of a failed write from the end; return False if they are another writer's."""
        more = length - self.length
        if os.pread(self._file, more, self.length) != self._unsure[:more] or more > len(self._unsure):
            return False
        os.ftruncate(self._file, self.length)
        return True

    def _refuse_removed(self) -> None:
        """Raise `Removed` if nobody would see what is written."""
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            raise Removed(f"{self.path} was removed while the run was at work") from None
        if not os.path.samestat(found, os.fstat(self._file)):
            raise Removed(f"{self.path} was replaced by another file while the run was at work")

    def close(self) -> None:
        if self._heartbeat:
            self._heartbeat.end()
            self._heartbeat = None
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
    """Reads a journal that another process may be writing; each call returns what is new."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._count = 0

    def read(self, most: int | None = None) -> list[Record]:
        """Return the complete records since the last call, or the first `most` of them.

        A record that is still being written is left for later.
        """
        with open(self.path, "rb") as file:
            file.seek(self._offset)
            data = b"".join(islice(file, most))
        records, used = parse(data, str(self.path), self._count, self._offset)
        self._offset += used
        self._count += len(records)
        return records


class Excerpts:
    """Returns excerpts of a growing journal by record number, as text, without decoding them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets = array("Q", [0])
        """Where each record begins, and where the next one will."""

    def read(self, since: int, most: int) -> str:
        """Return the complete lines of up to `most` records from number `since` on, as `parse` takes them."""
        with open(self.path, "rb") as file:
            self._index(file)
            last = min(since + most, len(self._offsets) - 1)
            if since >= last:
                return ""
            begin, end = self._offsets[since], self._offsets[last]
            file.seek(begin)
            return file.read(end - begin).decode(errors="replace")  # `parse` finds the damage

    def _index(self, file: BinaryIO) -> None:
        file.seek(self._offsets[-1])
        while block := file.read(INDEX_BLOCK_BYTES):
            begin, at = file.tell() - len(block), -1
            while (at := block.find(b"\n", at + 1)) >= 0:
                self._offsets.append(begin + at + 1)


def holder_of(path: Path) -> Holder | None:
    """Return the controller that now holds the run; without locks this may take `heartbeat.SILENT_S`."""
    try:
        descriptor = os.open(path.with_name("journal.lock"), os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        locks = _flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return Holder(heartbeat.sign_in(path.parent), True)
    finally:
        os.close(descriptor)
    return _by_heartbeat(path.parent, locks)


def is_live(path: Path) -> bool:
    """Return whether a controller now holds the run of this journal."""
    return holder_of(path) is not None


def _by_heartbeat(directory: Path, locks: bool) -> Holder | None:
    """Return the holder of a run whose lock is free or does not exist.

    If the controller had its lock on this host, the free lock is conclusive.
    """
    sign = heartbeat.sign_in(directory)
    if sign is None or (locks and sign.locks and sign.is_here) or not heartbeat.goes_on(directory):
        return None
    return Holder(sign, False, NO_COMMON_LOCKS if locks or sign.locks else NO_LOCKS)


def _in_use(path: Path, holder: Holder) -> str:
    return f"{path.parent} is being carried out by {holder}"


def encode(record: Mapping[str, Any]) -> bytes:
    """Return a line of the journal. Raises `ValueError` for NaN and infinities, which are not JSON."""
    body = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    return b'%s,"crc":"%08x"}\n' % (body[:-1], zlib.crc32(body))


def parse(data: bytes, where: str, first: int = 0, offset: int = 0) -> tuple[list[Record], int]:
    """Decode complete lines; return the records and how many bytes they take.

    Data after the last newline is a torn record and is ignored, unless it is a whole record with another byte
    in place of its newline: that one had been written and is damaged. Raises `JournalError`, naming file,
    record and byte, for a line that is altered or out of sequence.
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
                f"{where}: record {record['n']} at byte {offset + used} is in the place of record {number}"
            )
        records.append(record)
        used = end + 1
    if _body(data[used:-1]) is not None:
        raise JournalError(f"{where}: the record at byte {offset + used} is damaged (its newline)")
    return records, used


def _body(line: bytes) -> bytes | None:
    """Return the JSON of a line without its checksum; None if they do not agree."""
    body, _, crc = line.rpartition(b',"crc":"')
    body += b"}"
    return body if crc == b'%08x"}' % zlib.crc32(body) else None


def _take_lock(descriptor: int) -> bool | None:
    """Take the controller's lock; return False if another process has it, None if there are no locks.

    `holder_of` may hold it for an instant, so try several times.
    """
    for _ in range(LOCK_TRIES):
        try:
            return _flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB) or None
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_S)
    return False


def _lockers(descriptor: int) -> str:
    """Return who holds a lock on an open file, as far as this host knows."""
    inode = str(os.fstat(descriptor).st_ino)
    try:
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        lines = []
    pids = sorted({line[4] for line in lines if len(line) > 5 and line[5].rpartition(":")[2] == inode})
    return f"process {', '.join(pids)} of this host" if pids else "another process"


def _flock(descriptor: int, operation: int) -> bool:
    """Apply a lock operation; return False if the file system has no locks.

    Raises `BlockingIOError` if another process has the lock.
    """
    try:
        fcntl.flock(descriptor, operation)
    except OSError as why:
        if why.errno not in files.NO_LOCKS:
            raise
        return False
    return True


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
