"""The checkpoint store: immutable files on any fsspec file system.

A checkpoint's name is `<member>-a<attempt>-<random>` and a suffix that says what wrote it, so no two
attempts ever write to one name and nothing is overwritten. The store knows bytes only; what they mean is
the workers' business.
Not for many writers of one file, and not a cache: every read is checked against its reference.
"""

import contextlib
import hashlib
import re
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from evodevo.run import files
from evodevo.run.records import CheckpointRef

_OURS = re.compile(r"(?P<member>g\d+s\d+)-a\d+-[0-9a-f]{12}\.(safetensors|checkpoint)(\.[0-9a-f]+\.part)?")


class CheckpointError(OSError):
    """A checkpoint that is missing, cut short or altered."""


class CheckpointStore:
    """The checkpoints of one run, in the directory or under the fsspec URL `url`."""

    def __init__(self, url: str) -> None:
        self.url = url
        # A plain path is taken as it stands: fsspec would find a meaning in "::" and the like.
        fs, path = fsspec.core.url_to_fs(url) if "://" in url else (LocalFileSystem(), url)
        self._fs: Any = fs
        self._root = path.rstrip("/")

    def publish(self, stem: str, data: bytes, suffix: str = ".safetensors") -> CheckpointRef:
        """Write `data` under a new name that begins with `stem`; it is durable when this returns."""
        name = f"{stem}-{uuid.uuid4().hex[:12]}{suffix}"
        if isinstance(self._fs, LocalFileSystem):
            Path(self._root).mkdir(parents=True, exist_ok=True)
            files.write_new(Path(self._root, name), data)
        else:
            self._fs.pipe_file(f"{self._root}/{name}", data)
        return CheckpointRef(name, len(data), hashlib.sha256(data).hexdigest())

    def read(self, ref: CheckpointRef) -> bytes:
        """The bytes of a checkpoint, verified.

        Raises `CheckpointError` where the file is missing or is not what was published.
        """
        path = f"{self._root}/{ref.name}"
        try:
            data: bytes = self._fs.cat_file(path)
        except FileNotFoundError as why:
            raise CheckpointError(f"checkpoint {path} is missing") from why
        if len(data) != ref.size_bytes:
            raise CheckpointError(f"checkpoint {path} has {len(data)} bytes instead of {ref.size_bytes}")
        if hashlib.sha256(data).hexdigest() != ref.sha256:
            raise CheckpointError(f"checkpoint {path} was altered: its sha256 is not the one published")
        return data

    def names(self) -> list[str]:
        """The checkpoints that are there, and what unfinished writes have left; nobody else's files."""
        self._fs.invalidate_cache(self._root)
        try:
            found = self._fs.ls(self._root, detail=False)
        except FileNotFoundError:
            return []
        names = (path.rsplit("/", 1)[-1] for path in found)
        return sorted(name for name in names if _OURS.fullmatch(name))

    def collect(self, keep: Collection[str], in_flight: Collection[str]) -> list[str]:
        """Delete what nothing needs and return the names.

        Kept are the names in `keep` and every file of the members `in_flight`: an attempt that is
        running may have published, while nobody here knows of it yet.
        """
        doomed = [name for name in self.names() if name not in keep and member_of(name) not in in_flight]
        for name in doomed:
            with contextlib.suppress(FileNotFoundError):  # gone meanwhile, which is what was wanted
                self._fs.rm_file(f"{self._root}/{name}")
        return doomed


def member_of(name: str) -> str:
    """The member that a checkpoint's name says it belongs to."""
    match = _OURS.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is no checkpoint's name")
    return match["member"]
