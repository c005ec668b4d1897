"""Write files so that a reader never sees a partial one, not even after a crash."""

import contextlib
import errno
import os
from collections.abc import Mapping
from pathlib import Path

NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)
"""Error codes of `flock` on a file system without locks."""


class Missing(str):
    """Placeholder for the content of a file that cannot be made; the text says why."""


def write_new(path: Path, data: bytes) -> None:
    """Publish `data` under a name that was never used; it is on disk when this returns.

    Raises `FileExistsError` if the name is taken. Two simultaneous writers of one name are not kept apart (a
    hard link would do that, but not every shared file system has them): use unique names.
    """
    write_all_new(path.parent, {path.name: data})


def write_all_new(directory: Path, contents: Mapping[str, bytes]) -> None:
    """Publish new files in one directory, given as name -> content; all are on disk when this returns."""
    parts: dict[str, str] = {}
    try:
        for name, data in contents.items():
            path = os.path.join(directory, name)
            if os.path.exists(path):
                raise FileExistsError(f"{path} already exists")
            parts[path] = _write_part(path, data)
        for path, part in parts.items():
            os.rename(part, path)
    except BaseException:
        for part in parts.values():
            with contextlib.suppress(OSError):  # the first error is the one to report; some have their names
                os.unlink(part)
        raise
    flush_directory(directory)


def replace(path: Path, data: bytes) -> None:
    """Write or replace a file that can be made again, such as a table, a plot or a summary."""
    os.replace(_write_part(str(path), data), path)


def replace_all(contents: Mapping[Path, bytes | str | Missing]) -> list[Path]:
    """Write or replace each file and remove those that are `Missing`; return the paths of the files written.

    Text is encoded as UTF-8, and a lone surrogate as its escape sequence.
    """
    for path, data in contents.items():
        if isinstance(data, Missing):
            path.unlink(missing_ok=True)  # no file is better than a stale one
        else:
            replace(path, data.encode(errors="backslashreplace") if isinstance(data, str) else data)
    return [path for path, data in contents.items() if not isinstance(data, Missing)]


def _write_part(path: str, data: bytes) -> str:
    part = f"{path}.{os.urandom(4).hex()}.part"
    try:
        with open(part, "wb", buffering=0) as file:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        raise
    return part


def flush_directory(path: Path) -> None:
    """Flush a directory, without which a new name in it may not survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
