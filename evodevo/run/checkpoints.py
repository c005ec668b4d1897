"""The checkpoint store: immutable files on any fsspec file system.

A checkpoint is named `<member>-a<attempt>-<random>` plus a suffix for the kind of workload that wrote it, so
no two attempts write to the same name and nothing is overwritten. The store handles bytes only; their meaning
is up to the workers. It does not support several writers of one file, and it is not a cache: every read is
checked against its reference.
"""

import contextlib
import errno
import hashlib
import inspect
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from evodevo.run import files
from evodevo.run.records import CheckpointRef

_OURS = re.compile(
    r"(?P<member>[0-9A-Za-z_.]+)-a\d+-[0-9a-f]{12}\.(safetensors|checkpoint)(\.[0-9a-f]+\.part)?"
)


class CheckpointError(OSError):
    """A checkpoint is missing, truncated or altered, or the store cannot be used; the message is one line.

    A store raises nothing else, because the errors of a file system's library are not always `OSError`.
    """


class DamagedCheckpointError(CheckpointError):
    """A checkpoint in a working store is missing or differs from what was published."""


class CheckpointStore:
    """The checkpoints of one run, in the directory or under the fsspec URL `url`.

    The store's directory is created on the first write; its parent (the run's directory, which somebody may
    have removed) or the bucket must exist. Raises `CheckpointError` if no file system handles the URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        # A plain path is used as is: fsspec would interpret "::" and the like.
        with _raised_as(f"no file system for {url}"):
            fs, path = fsspec.core.url_to_fs(url) if "://" in url else (LocalFileSystem(), url)
        self._fs: Any = fs
        self._root = path.rstrip("/")

    def prepare(self) -> None:
        """Create the parent directories of a store on a local file system."""
        if isinstance(self._fs, LocalFileSystem):
            with _raised_as(f"no checkpoints can be kept in {self.url}"):
                Path(self._root).parent.mkdir(parents=True, exist_ok=True)

    def publish(self, stem: str, data: bytes, suffix: str = ".safetensors") -> CheckpointRef:
        """Write `data` under a new name that begins with `stem`; it is durable when this returns."""
        ref = self.ref(stem, data, suffix)
        self.write({ref.name: data})
        return ref

    def ref(self, stem: str, data: bytes, suffix: str = ".safetensors") -> CheckpointRef:
        """Return a reference to `data` under a new name that begins with `stem`, without writing it."""
        name = f"{stem}-{os.urandom(6).hex()}{suffix}"
        return CheckpointRef(name, len(data), hashlib.sha256(data).hexdigest())

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Write new files, given as name -> content; all of them are durable when this returns.

        One call for several files is cheaper, because their directory is flushed once.
        """
        if isinstance(self._fs, LocalFileSystem):
            with _raised_as(f"checkpoints {', '.join(contents)} in {self.url} cannot be written"):
                Path(self._root).mkdir(exist_ok=True)
                files.write_all_new(Path(self._root), contents)
            return
        for name, data in contents.items():
            path = f"{self._root}/{name}"
            with _raised_as(f"checkpoint {self.url}/{name} cannot be written"):
                try:
                    self._put(path, data)
                except FileExistsError:
                    # The library repeats a put whose response was lost; the repeated one finds the file.
                    if self._fs.cat_file(path) != data:
                        raise

    def read(self, ref: CheckpointRef) -> bytes:
        """Return the verified bytes of a checkpoint.

        Raises `DamagedCheckpointError` if the file is missing or differs from what was published.
        """
        where = f"checkpoint {self.url}/{ref.name}"
        with _raised_as(f"{where} cannot be read"):
            try:
                data: bytes = self._fs.cat_file(f"{self._root}/{ref.name}")
            except FileNotFoundError as why:
                raise DamagedCheckpointError(f"{where} is missing") from why
            except IsADirectoryError as why:
                raise DamagedCheckpointError(f"{where} is a directory") from why
        if len(data) != ref.size_bytes:
            raise DamagedCheckpointError(f"{where} has {len(data)} bytes instead of {ref.size_bytes}")
        if hashlib.sha256(data).hexdigest() != ref.sha256:
            raise DamagedCheckpointError(f"{where} was altered: its sha256 is not the one published")
        return data

    def damage(self, ref: CheckpointRef) -> str | None:
        """Return what is wrong with a checkpoint; None if it is as it was published.

        Raises `CheckpointError` if the store cannot be read.
        """
        try:
            self.read(ref)
        except DamagedCheckpointError as why:
            return str(why)
        return None

    def clear(self, name: str) -> None:
        """Remove whatever stands in place of a checkpoint; a directory is renamed instead."""
        path = f"{self._root}/{name}"
        with _raised_as(f"checkpoint {self.url}/{name} cannot be replaced"):
            if isinstance(self._fs, LocalFileSystem) and os.path.isdir(path):
                os.rename(path, f"{path}.{os.urandom(4).hex()}.aside")
            else:
                self._remove(path)

    def names(self) -> list[str]:
        """Return the names of checkpoints and of leftovers from unfinished writes, but no other files."""
        with _raised_as(f"checkpoints in {self.url} cannot be listed"):
            self._fs.invalidate_cache(self._root)
            try:
                found = self._fs.ls(self._root, detail=False)
            except FileNotFoundError:
                return []
        names = (path.rsplit("/", 1)[-1] for path in found)
        return sorted(name for name in names if _OURS.fullmatch(name))

    def delete(self, names: Iterable[str]) -> None:
        """Delete files from the store, ignoring those that are already gone."""
        for name in names:
            with _raised_as(f"checkpoint {self.url}/{name} cannot be deleted"):
                self._remove(f"{self._root}/{name}")

    def check(self) -> None:
        """Try the operations of a run on a file that is removed afterwards. Raises `CheckpointError`.

        The file is placed next to the store's future directory: in its nearest existing ancestor, or one
        level up from the URL.
        """
        home = self._root.rpartition("/")[0]
        if isinstance(self._fs, LocalFileSystem):
            home = str(next(above for above in Path(self._root).absolute().parents if above.exists()))
        path = f"{home}/evodevo-check-{uuid.uuid4().hex[:12]}"
        with _raised_as(f"no checkpoints can be kept in {self.url}"):
            self._put(path, b"evodevo")
            try:
                intact = self._fs.cat_file(path) == b"evodevo"
            finally:
                self._remove(path)
            if not intact:
                raise CheckpointError(f"{path} was altered")
            self.names()

    def _put(self, path: str, data: bytes) -> None:
        """Write a file durably. Raises `FileExistsError` if it exists and the store can tell."""
        if isinstance(self._fs, LocalFileSystem):
            files.write_new(Path(path), data)
            return
        known = inspect.signature(self._fs.pipe_file).parameters
        mode = {"mode": "create"} if "mode" in known else {}
        try:
            self._fs.pipe_file(path, data, **mode)
        except FileNotFoundError:
            home, _, _ = path.rpartition("/")
            if not self._fs.isdir(home.rpartition("/")[0]):
                raise  # the bucket, or the directory that the user named, does not exist
            with contextlib.suppress(FileExistsError):
                self._fs.mkdir(home, create_parents=False)
            self._fs.pipe_file(path, data, **mode)
        except OSError as why:
            if why.errno != errno.ENOSYS:  # an S3-compatible server without conditional puts
                raise
            self._fs.pipe_file(path, data)

    def _remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):  # already gone
            self._fs.rm_file(path)


@contextlib.contextmanager
def _raised_as(what: str) -> Iterator[None]:
    """Turn any exception into a `CheckpointError` that begins with `what`."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as why:
        reason = " ".join(f"{type(why).__name__}: {why}".split())
        if isinstance(why, ImportError) and "s3fs" in reason:
            reason += ": pip install -c constraints.txt -e '.[s3]'"
        raise CheckpointError(f"{what}: {reason}") from why


def member_of(name: str) -> str:
    """Return the member named in a checkpoint's name."""
    match = _OURS.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is not the name of a checkpoint")
    return match["member"]
