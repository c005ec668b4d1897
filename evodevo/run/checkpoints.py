"""The checkpoint store: immutable files on any fsspec file system.

A checkpoint's name is `<member>-a<attempt>-<random>` and a suffix that says what wrote it, so no two
attempts ever write to one name and nothing is overwritten. The store knows bytes only; what they mean is
the workers' business.
Not for many writers of one file, and not a cache: every read is checked against its reference.
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
    """A checkpoint that is missing, cut short or altered, or a store that cannot be used; in one line.

    It is all that a store raises: what its file system's library does is not always an `OSError`.
    """


class DamagedCheckpointError(CheckpointError):
    """A checkpoint that is not there as it was published, in a store that works."""


class CheckpointStore:
    """The checkpoints of one run, in the directory or under the fsspec URL `url`.

    Its directory is made when it is needed, unlike the one above it (that of a run, which somebody may have
    removed) or a bucket. Raises `CheckpointError` where there is no file system for such a URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        # A plain path is taken as it stands: fsspec would find a meaning in "::" and the like.
        with _raised_as(f"no file system for {url}"):
            fs, path = fsspec.core.url_to_fs(url) if "://" in url else (LocalFileSystem(), url)
        self._fs: Any = fs
        self._root = path.rstrip("/")

    def prepare(self) -> None:
        """Make the directories above that of the store, where it is one of a file system."""
        if isinstance(self._fs, LocalFileSystem):
            with _raised_as(f"no checkpoints can be kept in {self.url}"):
                Path(self._root).parent.mkdir(parents=True, exist_ok=True)

    def publish(self, stem: str, data: bytes, suffix: str = ".safetensors") -> CheckpointRef:
        """Write `data` under a new name that begins with `stem`; it is durable when this returns."""
        ref = self.ref(stem, data, suffix)
        self.write({ref.name: data})
        return ref

    def ref(self, stem: str, data: bytes, suffix: str = ".safetensors") -> CheckpointRef:
        """Return what `data` will be known by, under a new name that begins with `stem`."""
        name = f"{stem}-{os.urandom(6).hex()}{suffix}"
        return CheckpointRef(name, len(data), hashlib.sha256(data).hexdigest())

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Write new files, name -> content; all of them are durable when this returns.

        Several cost less than one by one, as their directory is flushed once.
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
                    # A put whose answer was lost is sent again by its library, and finds that it was done.
                    if self._fs.cat_file(path) != data:
                        raise

    def read(self, ref: CheckpointRef) -> bytes:
        """The bytes of a checkpoint, verified.

        Raises `DamagedCheckpointError` if the file is missing or is not what was published.
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

        Raises `CheckpointError` if the store does not tell.
        """
        try:
            self.read(ref)
        except DamagedCheckpointError as why:
            return str(why)
        return None

    def clear(self, name: str) -> None:
        """Remove whatever is in the place of a checkpoint; a directory gets another name instead."""
        path = f"{self._root}/{name}"
        with _raised_as(f"checkpoint {self.url}/{name} cannot be replaced"):
            if isinstance(self._fs, LocalFileSystem) and os.path.isdir(path):
                os.rename(path, f"{path}.{os.urandom(4).hex()}.aside")
            else:
                self._remove(path)

    def names(self) -> list[str]:
        """The checkpoints that are there, and what unfinished writes have left; nobody else's files."""
        with _raised_as(f"checkpoints in {self.url} cannot be listed"):
            self._fs.invalidate_cache(self._root)
            try:
                found = self._fs.ls(self._root, detail=False)
            except FileNotFoundError:
                return []
        names = (path.rsplit("/", 1)[-1] for path in found)
        return sorted(name for name in names if _OURS.fullmatch(name))

    def delete(self, names: Iterable[str]) -> None:
        """Delete files of the store; one that is gone already is fine."""
        for name in names:
            with _raised_as(f"checkpoint {self.url}/{name} cannot be deleted"):
                self._remove(f"{self._root}/{name}")

    def check(self) -> None:
        """Do once what a run will do, with a file that is gone afterwards. Raises `CheckpointError`.

        The file is where the store's directory will be made: in the nearest directory that is there, or under
        the URL above.
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
        """Write a file that is durable then. Raises `FileExistsError` where the store can tell."""
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
                raise  # there is no such bucket, or not the directory that the user named
            with contextlib.suppress(FileExistsError):
                self._fs.mkdir(home, create_parents=False)
            self._fs.pipe_file(path, data, **mode)
        except OSError as why:
            if why.errno != errno.ENOSYS:  # an S3 of another make that has no conditional put
                raise
            self._fs.pipe_file(path, data)

    def _remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):  # gone meanwhile, which is what was wanted
            self._fs.rm_file(path)


@contextlib.contextmanager
def _raised_as(what: str) -> Iterator[None]:
    """Raise whatever is raised as a `CheckpointError` that begins with `what`."""
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
    """The member that a checkpoint's name says it belongs to."""
    match = _OURS.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is no checkpoint's name")
    return match["member"]
