"""Pack a directory into the bytes of a checkpoint: an uncompressed tar, the same for the same files.

Names are sorted; times and owners are left out. A special header at the beginning distinguishes it from a
tar that a program wrote as its checkpoint; any `tar` unpacks it.
"""

import io
import os
import stat
import tarfile
from pathlib import Path

BEGINNING = tarfile.TarInfo.create_pax_global_header({"comment": "evodevo: a checkpoint that is a directory"})


def pack(directory: Path) -> bytes:
    """Return the directory's files as bytes.

    Raises `ValueError` if it has no files, or an entry is not a file, a directory or a link within it.
    """
    out = io.BytesIO()
    out.write(BEGINNING)
    count = 0
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(directory.rglob("*")):
            member, mode = tarfile.TarInfo(str(path.relative_to(directory))), path.lstat().st_mode
            member.mode = 0o755 if mode & stat.S_IXUSR else 0o644
            if stat.S_ISDIR(mode):
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
                continue
            count += 1
            if stat.S_ISLNK(mode):
                member.type, member.linkname = tarfile.SYMTYPE, _inner_target(path, directory)
                tar.addfile(member)
            elif stat.S_ISREG(mode):
                with path.open("rb") as file:
                    member.size = os.fstat(file.fileno()).st_size
                    tar.addfile(member, file)
            else:
                raise ValueError(f"{member.name} is neither a file nor a directory nor a link")
    if not count:
        raise ValueError("it contains no files")
    return out.getvalue()


def is_packed(data: bytes) -> bool:
    """Return whether the bytes are a directory that `pack` packed."""
    return data.startswith(BEGINNING)


def unpack(data: bytes, directory: Path) -> None:
    """Restore the directory; raise `tarfile.TarError` for a special file or one that would be outside it."""
    directory.mkdir()
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        tar.extractall(directory, filter=_inside)


def _inside(member: tarfile.TarInfo, directory: str) -> tarfile.TarInfo:
    """Refuse a member outside the directory; do not set modification times."""
    return tarfile.data_filter(member, directory).replace(mtime=None, deep=False)  # type: ignore[arg-type]


def _inner_target(link: Path, directory: Path) -> str:
    target = os.readlink(link)
    root = directory.resolve()
    if os.path.isabs(target) or root not in (link.parent.resolve() / target).resolve().parents:
        raise ValueError(f"the link {link.relative_to(directory)} points outside of it, to {target}")
    return target
