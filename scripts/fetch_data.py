#!/usr/bin/env python
"""Download data sets in the layouts that the workloads read; set `data.root` to DIR.

    python scripts/fetch_data.py cifar10 mnist iwslt15 --root DIR

Files are read through fsspec, over HTTP from the sets' home pages, or with `--from` from a mirror: a URL or a
directory with the same files (anything fsspec opens, such as s3://bucket/prefix). An interrupted download
resumes where it stopped. A file is named NAME.part until it is complete and its checksum is correct. A lock,
DIR/SET/.lock, admits one command at a time to a set; its file is never deleted.
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
    """A published file: `name` is its path in the set's directory, ending in its published name."""

    name: str
    size_bytes: int
    checksum: str
    """hashlib's name of the algorithm, a colon, and the hexadecimal digest."""


@dataclass(frozen=True)
class DataSet:
    """A data set: `files` are downloaded one by one, or unpacked from one directory of the `archive`."""

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
"""Pauses before the second, third and fourth attempt at a file."""
CONNECT_S, SILENCE_S = 30.0, 60.0
"""Timeouts for connecting to a server, and for the next bytes of a file."""
CHUNK_BYTES = 2**20
PASSING = (408, 425, 429)
"""Statuses below 500 after which a retry may succeed."""

console = Console(width=None if sys.stdout and sys.stdout.isatty() else 120)


class BrokenOff(Exception):
    """Raised if a download ends before the end of the file; a retry may get the rest."""


class Unreachable(BrokenOff):
    """Raised if no server answers; a retry makes sense only if one answered before."""


@click.command()
@click.argument("names", metavar=f"NAME... ({', '.join(SETS)})", nargs=-1, required=True)
@click.option(
    "--root",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path),
    help="Directory for the data sets.",
)
@click.option("--from", "mirror", metavar="URL", help="A mirror: a URL or a directory with the same files.")
def fetch_data(names: tuple[str, ...], root: Path, mirror: str | None) -> None:
    """Download data sets into subdirectories of DIR; existing files are kept."""
    if unknown := [name for name in names if name not in SETS]:
        raise UsageError(f"unknown data set {unknown[0]!r}; available: {', '.join(SETS)}")
    for name in dict.fromkeys(names):
        try:
            bring(SETS[name], root / name, mirror)
        except OSError as why:
            raise UsageError(f"{root / name}: {why}") from None


def main(arguments: list[str] | None = None) -> None:
    """Run the program. Exit status: 0 if all files are there, 2 with a message if not, 130 if interrupted."""
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
    """Download the files of a set that `directory` lacks; `pause` sleeps for some seconds.

    Raises `UsageError` if they cannot be downloaded, or if other files have their names; `OSError` if
    `directory` cannot be written.
    """
    if not missing(wanted.files, directory):
        _say(f"{directory} is complete: nothing to download")
        return
    if wanted.archive and (unpacked := (directory / wanted.files[0].name).parent).exists():
        raise UsageError(f"{unpacked} is incomplete: move it away, or choose another --root")
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
            _say(f"{directory / file.name}: {file.size_bytes:,} bytes, {algorithm} matches")
        if wanted.archive:
            unpack(directory / wanted.archive.name, wanted.files)
    _say(f"{directory} is complete")


def missing(files: tuple[File, ...], directory: Path) -> list[File]:
    """Return the files that are missing. Raises `UsageError` if another file has the name of one."""
    absent = []
    for file in files:
        path = directory / file.name
        if not path.exists():
            absent.append(file)
        elif (found := digest(path, file)) != file.checksum:
            raise UsageError(
                f"{path} exists but is not the published file: expected {file.checksum}, found {found}; "
                "move it away, or choose another --root"
            )
    return absent


def digest(path: Path, like: File) -> str:
    """Return a file's checksum, by the algorithm of `like`'s."""
    algorithm = like.checksum.partition(":")[0]
    new = functools.partial(hashlib.new, algorithm, usedforsecurity=False)  # else FIPS forbids md5
    with open(path, "rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, new).hexdigest()}"


class Source:
    """The location of the files: a base URL or a directory.

    Raises `UsageError` if fsspec has no file system for it, or if the file system's package is missing.
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
        except Exception as why:  # fsspec or one of its libraries says what to install, or: unknown protocol
            raise UsageError(f"--from: {base!r} cannot be read: {why}") from None

    def url(self, file: File) -> str:
        return f"{self.base}/{file.name.rpartition('/')[2]}"

    @contextlib.contextmanager
    def open(self, file: File, start: int) -> Iterator[tuple[Any, int]]:
        """Yield the file as a stream and its offset: `start`, or 0 if the server does not support Range.

        Raises `BrokenOff` if a retry may help, and `UsageError` if not.
        """
        url = self.url(file)
        try:
            stream, start, size_bytes = self._open(url, file, start)
        except FileNotFoundError:
            raise UsageError(f"{url}: file not found") from None
        except ValueError as why:
            raise UsageError(f"{url}: cannot be opened: {why}") from None
        except Exception as why:  # each of fsspec's file systems raises different errors
            status = getattr(why, "status", None)
            if isinstance(status, int) and status < 500 and status not in PASSING:
                reason = getattr(why, "message", "")
                raise UsageError(
                    f"{url}: the server answers {status} {reason}; name a mirror with --from"
                ) from None
            raise (Unreachable if isinstance(why, OSError) else BrokenOff)(_reason(why)) from None
        with contextlib.closing(stream):
            if size_bytes not in (None, file.size_bytes):
                raise UsageError(
                    f"{url} is not the published file: expected {file.size_bytes:,} bytes, "
                    f"found {size_bytes:,}"
                )
            yield stream, start

    def _open(self, url: str, file: File, start: int) -> tuple[Any, int, int | None]:
        """Return a stream, its offset in the file, and the size of the file if known."""
        if not self.is_http:
            stream = self.files.open(url, "rb")
            stream.seek(start)
            return stream, start, self.files.size(url)
        # A block size of 0 streams a single response; passing the size saves a request for it.
        asked = {"Range": f"bytes={start}-"} if start else {}
        stream = self.files.open(url, "rb", block_size=0, size=file.size_bytes, headers=asked)
        answer = stream.r  # aiohttp's: fsspec does not tell whether the range or the whole file is sent
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
    """Download `file` into `directory`; `show` receives the number of bytes so far, and `pause` sleeps.

    Raises `UsageError` if it cannot be downloaded or its checksum is wrong; `OSError` from writing.
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
                    f"{url} cannot be reached: {why}; name a mirror or a directory with --from"
                ) from None
            have = f"{part.stat().st_size if part.exists() else 0:,} of {file.size_bytes:,} bytes"
            if pause_s is None:
                raise UsageError(
                    f"{url}: the download was interrupted {tried + 1} times, last after {have}: {why}; "
                    "run the same command again to resume it"
                ) from None
            click.echo(f"fetch_data: {url}: interrupted after {have}: {why}; retrying", err=True)
            pause(pause_s)
    found = digest(part, file)
    if found != file.checksum:
        part.unlink()
        if was_begun:
            click.echo(f"fetch_data: {part} does not belong to {url}; starting over", err=True)
            return fetch(file, source, directory, show, pause)
        raise UsageError(
            f"{url}: expected {file.checksum}, found {found}; the download was deleted: "
            "run the same command again, or name a mirror with --from"
        )
    os.replace(part, path)
    flush_directory(directory)


def _carry_on(file: File, source: Source, part: Path, show: Callable[[int], None]) -> None:
    """Append the rest of the file to `part`, or write all of it if the server only sends the whole file."""
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
            except Exception as why:  # see Source.open
                raise BrokenOff(_reason(why)) from None
            if not chunk:  # without a length, a response that stops early looks complete
                raise BrokenOff("the server sent no more data")
            out.write(chunk)
            out.flush()
            have += len(chunk)
        os.fsync(out.fileno())
    show(have)


def unpack(archive: Path, files: tuple[File, ...]) -> None:
    """Unpack the directory of `files` beside `archive`, completely or not at all; delete the archive.

    Raises `UsageError` if a file is missing from the archive or differs, or if a path leads elsewhere.
    """
    target = (archive.parent / files[0].name).parent
    beside = target.with_name(f"{target.name}.part")
    shutil.rmtree(beside, ignore_errors=True)  # left by a killed command
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(beside, filter="data")
        for file in files:
            path = beside / file.name
            if not path.is_file() or digest(path, file) != file.checksum:
                raise UsageError(f"{archive} does not contain the published {file.name}")
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
    import aiohttp  # not a dependency of fsspec

    session = {
        # aiohttp's default is five minutes for the whole file
        "timeout": aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S),
        # some servers declare a .gz as gzip-encoded, and aiohttp would unpack it
        "auto_decompress": False,
        "headers": {"Accept-Encoding": "identity"},
        "trust_env": True,  # HTTPS_PROXY, which many clusters set
    }
    return {"client_kwargs": session}


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Lock a directory against a second command. Raises `UsageError` if it is locked."""
    with open(directory / ".lock", "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another command is downloading into {directory}: wait for it to end") from None
        except OSError:
            pass  # a file system without locks: the checksum detects two mixed downloads
        yield


def _reason(why: BaseException) -> str:
    """Return an error's message; fsspec's errors may be empty and have the reason as their cause."""
    return str(why) or str(why.__cause__ or "") or type(why.__cause__ or why).__name__


def _say(line: str) -> None:
    console.print(line, soft_wrap=True, highlight=False, markup=False)


if __name__ == "__main__":
    main()
