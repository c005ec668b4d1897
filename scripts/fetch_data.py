#!/usr/bin/env python
"""Download data sets into the layouts that the readers expect: `data.root` is then DIR.

    python scripts/fetch_data.py cifar10 mnist iwslt15 --root DIR

Read through fsspec, over HTTP from the sets' homes, or from a mirror: with `--from`, a URL or a directory
that holds the same files (whatever fsspec opens, as s3://bucket/prefix). A download that was stopped is
carried on where it stopped. Until a file is whole and its checksum is right it is called NAME.part. One
command at a time works on a set: DIR/SET/.lock, which stays, sees to that.
"""

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import sys
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import fsspec
import yaml
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from evodevo.errors import UsageError
from evodevo.run.files import flush_directory


@dataclass(frozen=True)
class File:
    """A published file: its path in the set's directory, whose last part is its name at home."""

    name: str
    size_bytes: int
    checksum: str
    """The algorithm, as hashlib calls it, a colon, and the digest in hexadecimal."""


@dataclass(frozen=True)
class DataSet:
    """`files` are what is read. They come one by one, or all in one directory of the `archive`."""

    home: str
    files: tuple[File, ...]
    archive: File | None = None


def _read_sets(path: Path) -> dict[str, DataSet]:
    return {
        name: DataSet(
            found["home"],
            tuple(File(**file) for file in found["files"]),
            File(**found["archive"]) if "archive" in found else None,
        )
        for name, found in yaml.safe_load(path.read_text(encoding="utf-8")).items()
    }


SETS = _read_sets(Path(__file__).with_name("data_sets.yaml"))
PAUSES_S = (1.0, 2.0, 4.0)
"""Before the second, third and fourth try to get one file."""
CONNECT_S, SILENCE_S = 30.0, 60.0
"""How long a server may take to answer, and to send nothing in the middle of a file."""
CHUNK_BYTES = 2**20
PASSING = (408, 425, 429)
"""Answers of a server below 500 that another try may change."""

console = Console(width=None if sys.stdout and sys.stdout.isatty() else 120)


class BrokenOff(Exception):
    """A file that did not come to its end; another try may bring the rest."""


class Unreachable(BrokenOff):
    """Nothing answers; there is no sense in another try unless something did answer before."""


@click.command()
@click.argument("names", metavar=f"NAME... ({', '.join(SETS)})", nargs=-1, required=True)
@click.option("--root", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Where to.")
@click.option(
    "--from", "mirror", metavar="URL", help="A mirror: a URL or a directory that holds the same files."
)
def fetch_data(names: tuple[str, ...], root: Path, mirror: str | None) -> None:
    """Download data sets into DIR, each into a directory of its name; what is there already stays."""
    if unknown := [name for name in names if name not in SETS]:
        raise UsageError(f"no data set {unknown[0]!r}; there are: {', '.join(SETS)}")
    for name in dict.fromkeys(names):
        try:
            bring(SETS[name], root / name, mirror)
        except OSError as why:
            raise UsageError(f"{root / name}: {why}") from None


def main(arguments: list[str] | None = None) -> None:
    """The program: exit status 0 all is there; 2 it is not, and the message says why; 130 interrupted."""
    try:
        fetch_data.main(arguments, prog_name="fetch_data.py", standalone_mode=False)
    except UsageError as why:
        click.echo(f"fetch_data: {why}", err=True)
        sys.exit(2)
    except click.ClickException as why:
        why.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)


def bring(
    wanted: DataSet, directory: Path, mirror: str | None, pause: Callable[[float], None] = time.sleep
) -> None:
    """Download what `directory` lacks of a set. `pause` waits for seconds.

    Raises `UsageError` where it is not to be had, or where other files have its names; `OSError` where
    `directory` cannot be written to.
    """
    if not missing(wanted.files, directory):
        _say(f"{directory} is complete: nothing to download")
        return
    if wanted.archive and (unpacked := (directory / wanted.files[0].name).parent).exists():
        raise UsageError(f"{unpacked} is there, but not whole: move it away, or give another --root")
    source = Source(mirror or wanted.home)
    directory.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with (
        _alone(directory),
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        for file in missing((wanted.archive,) if wanted.archive else wanted.files, directory):
            task = progress.add_task(file.name, total=file.size_bytes)

            def show(have_bytes: int, task: Any = task) -> None:
                progress.update(task, completed=have_bytes)

            fetch(file, source, directory, show, pause)
            algorithm = file.checksum.partition(":")[0]
            _say(f"{directory / file.name}: {file.size_bytes:,} bytes, {algorithm} is right")
        if wanted.archive:
            unpack(directory / wanted.archive.name, wanted.files)
    _say(f"{directory} is complete")


def missing(files: tuple[File, ...], directory: Path) -> list[File]:
    """Those that are not there. Raises `UsageError` where something else has the name of one."""
    absent = []
    for file in files:
        path = directory / file.name
        if not path.exists():
            absent.append(file)
        elif (found := digest(path, file)) != file.checksum:
            raise UsageError(
                f"{path} is there, but is not the published file: expected {file.checksum}, found {found}; "
                "it is left as it is: move it away, or give another --root"
            )
    return absent


def digest(path: Path, like: File) -> str:
    """A file's checksum, made and written as `like`'s is."""
    algorithm = like.checksum.partition(":")[0]
    new = functools.partial(hashlib.new, algorithm, usedforsecurity=False)  # else FIPS forbids md5
    with open(path, "rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, new).hexdigest()}"


class Source:
    """Where the files are: a base URL, or a directory.

    Raises `UsageError` where fsspec has no file system for it, or one whose package is not installed.
    """

    def __init__(self, base: str) -> None:
        self.base = base.rstrip("/")
        protocol, scheme, _ = base.partition("://")
        self.is_http = bool(scheme) and protocol in ("http", "https")
        try:
            options = _http_options() if self.is_http else {}
            self.files, _ = fsspec.core.url_to_fs(base, skip_instance_cache=True, **options)
        except ModuleNotFoundError as why:
            extra = "http" if self.is_http else protocol
            raise UsageError(f'{base} needs {why.name}: pip install "fsspec[{extra}]"') from None
        except Exception as why:  # in fsspec's words what to install, or no such protocol; or its libraries'
            raise UsageError(f"--from: {base!r} cannot be read: {why}") from None

    def url(self, file: File) -> str:
        return f"{self.base}/{file.name.rpartition('/')[2]}"

    @contextlib.contextmanager
    def open(self, file: File, start: int) -> Iterator[tuple[Any, int]]:
        """The file as a stream, and where in the file it begins: `start`, or 0 of a server without Range.

        Raises `BrokenOff` where another try may help, and `UsageError` where none will.
        """
        url = self.url(file)
        try:
            stream, start, size_bytes = self._open(url, file, start)
        except FileNotFoundError:
            raise UsageError(f"{url}: there is no such file") from None
        except ValueError as why:
            raise UsageError(f"{url}: cannot be opened: {why}") from None
        except Exception as why:  # each of fsspec's file systems has errors of its own
            status = getattr(why, "status", None)
            if isinstance(status, int) and status < 500 and status not in PASSING:
                reason = getattr(why, "message", "")
                raise UsageError(
                    f"{url}: the server answers {status} {reason}; --from takes a mirror"
                ) from None
            raise (Unreachable if isinstance(why, OSError) else BrokenOff)(_reason(why)) from None
        with contextlib.closing(stream):
            if size_bytes not in (None, file.size_bytes):
                raise UsageError(
                    f"{url}: is not the published file: expected {file.size_bytes:,} bytes, "
                    f"found {size_bytes:,}"
                )
            yield stream, start

    def _open(self, url: str, file: File, start: int) -> tuple[Any, int, int | None]:
        """A stream, where in the file it begins, and the size of the file, if that is known."""
        if not self.is_http:
            stream = self.files.open(url, "rb")
            stream.seek(start)
            return stream, start, self.files.size(url)
        # A block size of 0 is one answer as a stream; a given size spares the question for it.
        asked = {"Range": f"bytes={start}-"} if start else {}
        stream = self.files.open(url, "rb", block_size=0, size=file.size_bytes, headers=asked)
        answer = stream.r  # of aiohttp: fsspec does not say itself whether it was the range or the whole
        if answer.status != 206 or not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            start = 0
        length = answer.headers.get("Content-Length")
        return stream, start, start + int(length) if length else None


def fetch(
    file: File,
    source: Source,
    directory: Path,
    show: Callable[[int], None],
    pause: Callable[[float], None],
) -> None:
    """Bring `file` into `directory`; `show` is told how many bytes are there, and `pause` waits for seconds.

    Raises `UsageError` where it is not to be had or its checksum is wrong; `OSError` from writing.
    """
    url, path = source.url(file), directory / file.name
    part = path.with_name(f"{path.name}.part")
    was_begun = part.exists()
    for tried, pause_s in enumerate((*PAUSES_S, None)):
        try:
            _carry_on(file, source, part, show)
            break
        except BrokenOff as why:
            if not tried and isinstance(why, Unreachable):
                raise UsageError(
                    f"{url} cannot be reached: {why}; --from takes a mirror or a directory"
                ) from None
            have = f"{part.stat().st_size if part.exists() else 0:,} of {file.size_bytes:,} bytes"
            if pause_s is None:
                raise UsageError(
                    f"{url} broke off {tried + 1} times, at last with {have}: {why}; "
                    "running the same command again carries on from there"
                ) from None
            click.echo(f"fetch_data: {url} broke off with {have}: {why}; trying again", err=True)
            pause(pause_s)
    found = digest(part, file)
    if found != file.checksum:
        part.unlink()
        if was_begun:
            click.echo(f"fetch_data: {part} was no part of {url}; beginning afresh", err=True)
            return fetch(file, source, directory, show, pause)
        raise UsageError(
            f"{url}: expected {file.checksum}, found {found}; what was downloaded is deleted, and running "
            "the same command again begins afresh"
        )
    os.replace(part, path)
    flush_directory(directory)


def _carry_on(file: File, source: Source, part: Path, show: Callable[[int], None]) -> None:
    """Add to `part` what it lacks, or write it afresh where only the whole file can be had."""
    have = part.stat().st_size if part.exists() else 0
    if have > file.size_bytes:
        part.unlink()
        have = 0
    if have == file.size_bytes:
        return
    with source.open(file, have) as (stream, have), open(part, "ab") as out:
        out.truncate(have)
        while have < file.size_bytes:
            show(have)
            try:
                chunk = stream.read(min(CHUNK_BYTES, file.size_bytes - have))
            except Exception as why:  # as above
                raise BrokenOff(_reason(why)) from None
            if not chunk:  # a server that gives no length may stop anywhere, and it looks like the end
                raise BrokenOff("the server sent no more")
            out.write(chunk)
            out.flush()
            have += len(chunk)
        os.fsync(out.fileno())
    show(have)


def unpack(archive: Path, files: tuple[File, ...]) -> None:
    """Unpack the one directory that `files` are in beside `archive`, whole or not at all; delete the archive.

    Raises `UsageError` where the archive lacks a file, has another one in its place, or has a path that
    leads elsewhere.
    """
    target = (archive.parent / files[0].name).parent
    beside = target.with_name(f"{target.name}.part")
    shutil.rmtree(beside, ignore_errors=True)  # of a command that was killed
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(beside, filter="data")
        for file in files:
            path = beside / file.name
            if not path.is_file() or digest(path, file) != file.checksum:
                raise UsageError(f"{archive} does not hold the published {file.name}")
            with open(path, "rb") as unpacked:
                os.fsync(unpacked.fileno())
        flush_directory(beside / target.name)
        os.rename(beside / target.name, target)
    except (tarfile.TarError, EOFError, zlib.error) as why:
        raise UsageError(f"{archive} cannot be unpacked: {why}") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    flush_directory(archive.parent)
    archive.unlink()


def _http_options() -> dict[str, Any]:
    import aiohttp  # which fsspec does not bring

    session = {
        # by itself aiohttp allows five minutes for the whole of a file
        "timeout": aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S),
        # some servers call a .gz encoded by gzip, and it would be unpacked on the way
        "auto_decompress": False,
        "headers": {"Accept-Encoding": "identity"},
        "trust_env": True,  # HTTPS_PROXY, which many clusters set
    }
    return {"client_kwargs": session}


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Two commands that write the same parts would spoil them. Raises `UsageError` for the second one."""
    with open(directory / ".lock", "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another command downloads into {directory}") from None
        except OSError:
            pass  # a file system without locks: a mix of two downloads does not pass the checksum
        yield


def _reason(why: BaseException) -> str:
    """In words; an error of fsspec's may be empty, with the reason behind it."""
    return str(why) or str(why.__cause__ or "") or type(why.__cause__ or why).__name__


def _say(line: str) -> None:
    console.print(line, soft_wrap=True, highlight=False, markup=False)


if __name__ == "__main__":
    main()
