"""Writing files so that a reader never sees half of one, and a crash never leaves half of one behind."""

import os
import uuid
from collections.abc import Mapping
from pathlib import Path


class Missing(str):
    """Stands for the content of a file that cannot be made: why."""


def write_new(path: Path, data: bytes) -> None:
    """Publish `data` under a name that was never used; it is on disk when this returns.

    Raises `FileExistsError` where the name is taken. (Two writers of one name at one instant are not
    kept apart: a hard link would, but not every shared file system has them. Use unique names.)
    """
    if path.exists():
        raise FileExistsError(f"{path} is there already")
    os.rename(_write_part(path, data), path)
    flush_directory(path.parent)


def replace(path: Path, data: bytes) -> None:
    """Write a file that is made from the journal and can be made again (tables, plots, summaries)."""
    os.replace(_write_part(path, data), path)


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


def _write_part(path: Path, data: bytes) -> Path:
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with open(part, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return part


def flush_directory(path: Path) -> None:
    """A new name is safe from a power cut only when its directory is on disk too."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
