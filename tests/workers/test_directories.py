"""A directory as bytes and back."""

import os
import tarfile
from pathlib import Path

import pytest

from tests.golden import raises_golden
from workers.directories import BEGINNING, is_packed, pack, unpack

NAMES = ["a", "b/c", "b/it's \n x", "b/ü", f"{'long' * 40}/{'name' * 40}", "z"]


def filled(directory: Path, names: list[str]) -> Path:
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 300)
    return directory


def listing(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_a_directory_comes_back_as_it_was(tmp_path: Path) -> None:
    made = filled(tmp_path / "made", NAMES)
    (made / "b" / "empty").mkdir()
    (made / "run.sh").write_text("true")
    (made / "run.sh").chmod(0o700)
    (made / "latest").symlink_to("b/c")
    (made / "b" / "up").symlink_to("../a")
    unpack(pack(made), tmp_path / "again")
    again = tmp_path / "again"
    assert listing(again) == listing(made)
    assert (again / "b" / "empty").is_dir()
    assert os.access(again / "run.sh", os.X_OK)
    assert not os.access(again / "a", os.X_OK)
    assert os.readlink(again / "latest") == "b/c"
    assert (again / "a").stat().st_mtime > 1e9


def test_the_bytes_depend_on_names_and_contents_alone(tmp_path: Path) -> None:
    one, other = filled(tmp_path / "one", NAMES), filled(tmp_path / "other", NAMES[::-1])
    os.utime(other / "a", (1, 1))
    (other / "z").chmod(0o600)
    assert pack(one) == pack(other)
    (other / "z").write_text("changed")
    assert pack(one) != pack(other)


def test_any_tar_reads_it(tmp_path: Path) -> None:
    (tmp_path / "packed").write_bytes(pack(filled(tmp_path / "made", ["a", "b/c"])))
    with tarfile.open(tmp_path / "packed") as tar:
        assert tar.getnames() == ["a", "b", "b/c"]


def test_only_what_was_packed_counts_as_such(tmp_path: Path) -> None:
    made = filled(tmp_path / "made", ["a"])
    with tarfile.open(tmp_path / "own.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(made / "a", "a")
    assert is_packed(pack(made))
    assert not is_packed((tmp_path / "own.tar").read_bytes())
    assert not is_packed(b"")


@pytest.mark.parametrize("target", ["..", "../made2", "/etc/passwd", "b/../../x", "."])
def test_a_link_out_of_the_directory_is_refused_by_its_name(target: str, tmp_path: Path) -> None:
    made = filled(tmp_path / "made", ["a"])
    (made / "link").symlink_to(target)
    with raises_golden("directories/link-out", ValueError, tmp_path, target=target):
        pack(made)


@pytest.mark.parametrize(
    ("name", "link"), [("../x", None), ("x", "../../y"), ("x", "/etc/passwd"), ("pipe", "fifo")]
)
def test_what_would_leave_the_directory_is_not_unpacked(name: str, link: str | None, tmp_path: Path) -> None:
    member = tarfile.TarInfo(name)
    if link == "fifo":
        member.type = tarfile.FIFOTYPE
    elif link:
        member.type, member.linkname = tarfile.SYMTYPE, link
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        tar.addfile(member)
    with pytest.raises(tarfile.FilterError):
        unpack(BEGINNING + (tmp_path / "bad.tar").read_bytes(), tmp_path / "place")
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "bad.tar", tmp_path / "place"]
