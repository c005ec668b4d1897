"""Writing files so that a reader never sees half of one, and a crash never leaves half of one behind."""

import contextlib
import errno
import os
from collections.abc import Mapping
from pathlib import Path

NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)
"""What `flock` fails with on a file system that has no locks."""


class Missing(str):
    """Stands for the content of a file that cannot be made: why."""


def write_new(path: Path, data: bytes) -> None:
    """Publish `data` under a name that was never used; it is on disk when this returns.

    Raises `FileExistsError` where the name is taken. (Two writers of one name at one instant are not
    kept apart: a hard link would, but not every shared file system has them. Use unique names.)
    """
    write_all_new(path.parent, {path.name: data})


def write_all_new(directory: Path, contents: Mapping[str, bytes]) -> None:
    """`write_new` several files in one directory, name -> content; all are on disk when this returns."""
    parts: dict[str, str] = {}
    try:
        for name, data in contents.items():
            path = os.path.join(directory, name)
            if os.path.exists(path):
                raise FileExistsError(f"{path} is there already")
            parts[path] = _write_part(path, data)
    except BaseException:
        for part in parts.values():
            os.unlink(part)
        raise
    for path, part in parts.items():
        os.rename(part, path)
    flush_directory(directory)


def replace(path: Path, data: bytes) -> None:
    """Write a file that is made from the journal and can be made again (tables, plots, summaries)."""
    os.replace(_write_part(str(path), data), path)


def replace_all(contents: Mapping[Path, bytes | str | Missing]) -> list[Path]:
    """`replace` each file (text as UTF-8, a lone surrogate as its escape), and remove what is `Missing`.

    Returns the paths of those that are there.
    """
    for path, data in contents.items():
        if isinstance(data, Missing):
            path.unlink(missing_ok=True)  # rather none than one of another time
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
    """A new name is safe from a power cut only when its directory is on disk too."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
