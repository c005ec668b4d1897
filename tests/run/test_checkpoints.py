"""The contract of the checkpoint store, over every kind of file system it is meant for."""

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from evodevo.run.checkpoints import CheckpointError, CheckpointStore, member_of
from evodevo.run.records import CheckpointRef
from tests.golden import raises_golden
from tests.object_store import BUCKET, s3_server

DATA = bytes(range(256)) * 20
PART = "g1s2-a0-0123456789ab.safetensors.4711.part"
FOREIGN = [
    "README.md",
    "best.safetensors",
    "g0s0.safetensors",
    "g0s0-a0-0123456789ab.safetensors.bak",
    "g0s0-a0-0123456789ab.safetensors.part",
    "g0s0-a0-0123456789ab.pickle",
    "g0s0-a0-0123456789abc.safetensors",
    "my-g0s0-a0-0123456789ab.safetensors",
    "g0s0-a0-0123456789AB.checkpoint",
]


class Remembering(MemoryFileSystem):  # type: ignore[misc]
    """Remembers what it has listed, as object stores do, until it is told that this is out of date."""

    protocol = "remembering"

    @classmethod
    def _strip_protocol(cls, path: str) -> Any:
        return super()._strip_protocol(path.removeprefix("remembering://"))

    def ls(self, path: str, detail: bool = True, **_: Any) -> Any:
        known = self.__dict__.setdefault("known", {})
        path = self._strip_protocol(path)
        if (path, detail) not in known:
            known[path, detail] = super().ls(path, detail)
        return known[path, detail]

    def rmdir(self, path: str) -> None:
        self.invalidate_cache()  # some versions of fsspec list the directory first
        super().rmdir(path)

    def invalidate_cache(self, path: str | None = None) -> None:
        self.__dict__["known"] = {}


class Directories(MemoryFileSystem):  # type: ignore[misc]
    """A file system like sftp: directories must be created, and there are no conditional puts."""

    protocol = "directories"

    @classmethod
    def _strip_protocol(cls, path: str) -> Any:
        return super()._strip_protocol(path.removeprefix("directories://"))

    def pipe_file(self, path: str, value: bytes) -> None:
        if not self.isdir(self._parent(path)):
            raise FileNotFoundError(path)
        super().pipe_file(path, value)


fsspec.register_implementation("remembering", Remembering, clobber=True)
fsspec.register_implementation("directories", Directories, clobber=True)
KINDS = ["directory", "file", "memory", "remembering", "directories", "s3"]


@dataclass
class Place:
    """A directory of some file system, and the same seen without the store."""

    url: str

    def __post_init__(self) -> None:
        fs, path = fsspec.core.url_to_fs(self.url)
        self.fs: Any = fs
        self.root: str = path

    def write(self, name: str, data: bytes = b"x") -> None:
        self.fs.makedirs(self.root, exist_ok=True)
        self.fs.pipe_file(f"{self.root}/{name}", data)

    def remove(self, name: str) -> None:
        self.fs.rm_file(f"{self.root}/{name}")

    def names(self) -> set[str]:
        self.fs.invalidate_cache()
        return {path.rsplit("/", 1)[-1] for path in self.fs.ls(self.root, detail=False)}


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "s3":
        request.getfixturevalue("s3")
    urls = {
        "directory": str(tmp_path / "run" / "params"),
        "file": f"file://{tmp_path}/run/params",
        "memory": f"memory://{uuid.uuid4()}/run/params",
        "remembering": f"remembering://{uuid.uuid4()}/run/params",
        "directories": f"directories://{uuid.uuid4()}/run/params",
        "s3": f"s3://{BUCKET}/{uuid.uuid4()}/run/params",
    }
    made = Place(urls[request.param])
    CheckpointStore(made.url).prepare()
    if request.param == "directories":
        made.fs.makedirs(made.root.rpartition("/")[0])
    yield made
    if made.fs.exists(made.root):
        made.fs.rm(made.root, recursive=True)


@pytest.fixture
def store(place: Place) -> CheckpointStore:
    return CheckpointStore(place.url)


@pytest.mark.parametrize("data", [b"", b"\x00", DATA], ids=len)
@pytest.mark.parametrize("suffix", [".safetensors", ".checkpoint"])
def test_what_was_published_is_read_back_by_another_store(
    data: bytes, suffix: str, store: CheckpointStore, place: Place
) -> None:
    ref = store.publish("g3s11-a2", data, suffix)
    assert ref.name.startswith("g3s11-a2-")
    assert ref.name.endswith(suffix)
    assert CheckpointStore(place.url).read(ref) == data
    assert CheckpointStore(f"{place.url}/").read(ref) == data
    assert store.names() == [ref.name]
    assert place.names() == {ref.name}
    assert member_of(ref.name) == "g3s11"


def test_two_publishes_with_one_stem_get_two_names_and_both_stay(store: CheckpointStore) -> None:
    one, other = store.publish("g0s0-a0", b"one"), store.publish("g0s0-a0", b"other")
    assert one.name != other.name
    assert (store.read(one), store.read(other)) == (b"one", b"other")


@pytest.mark.parametrize("place", [kind for kind in KINDS if kind != "directories"], indirect=True)
def test_a_name_that_is_drawn_twice_overwrites_nothing(
    store: CheckpointStore, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "urandom", bytes)
    first = store.publish("g0s0-a0", b"first")
    with pytest.raises(CheckpointError, match=f"{first.name}.* cannot be written: FileExistsError"):
        store.publish("g0s0-a0", b"other")
    assert store.read(first) == b"first"


@pytest.mark.parametrize("place", ["memory", "remembering", "directories", "s3"], indirect=True)
def test_what_a_library_puts_twice_as_the_answer_was_lost_is_published(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "urandom", bytes)
    assert store.publish("g0s0-a0", DATA) == store.publish("g0s0-a0", DATA)
    assert len(store.names()) == 1


def test_the_check_of_a_store_that_works_leaves_nothing_behind(store: CheckpointStore, place: Place) -> None:
    above = place.root.rpartition("/")[0]
    store.check()
    place.fs.invalidate_cache()
    assert not place.fs.exists(place.root)
    assert not place.fs.exists(above) or place.fs.ls(above) == []
    kept = store.publish("g0s0-a0", DATA)
    store.check()
    assert store.names() == [kept.name]
    assert len(place.fs.ls(above)) == 1


def test_a_store_whose_directory_is_not_there_is_empty(store: CheckpointStore) -> None:
    assert store.names() == []


@pytest.mark.parametrize("found", [b"", DATA[:-1], DATA + b"x", DATA[:-1] + b"x", b"x" + DATA[1:]], ids=len)
def test_a_checkpoint_that_is_not_what_was_published_is_refused_by_name(
    found: bytes, store: CheckpointStore, place: Place
) -> None:
    ref = store.publish("g0s0-a0", DATA)
    place.write(ref.name, found)
    with pytest.raises(CheckpointError, match=ref.name) as raised:
        store.read(ref)
    assert ("was altered" if len(found) == len(DATA) else f"{len(found)} bytes instead of 5120") in str(
        raised.value
    )


def test_a_missing_checkpoint_is_refused_by_name(store: CheckpointStore, place: Place) -> None:
    ref = store.publish("g0s0-a0", DATA)
    place.remove(ref.name)
    with pytest.raises(CheckpointError, match=f"{ref.name} is missing"):
        store.read(ref)


@pytest.mark.parametrize(
    "changed", [{"size_bytes": 3}, {"sha256": "0" * 64}, {"name": "g0s0-a0-0123456789ab.x"}]
)
def test_a_checkpoint_must_fit_all_of_its_reference(changed: dict[str, Any], store: CheckpointStore) -> None:
    ref = store.publish("g0s0-a0", DATA)
    with pytest.raises(CheckpointError):
        store.read(replace(ref, **changed))
    assert store.read(ref) == DATA


def test_a_checkpoint_is_damaged_if_it_is_not_there_as_it_was_and_can_be_replaced_then(
    store: CheckpointStore, place: Place
) -> None:
    ref = store.publish("g0s0-a0", DATA)
    assert store.damage(ref) is None
    place.write(ref.name, DATA[:-1])
    assert f"has {len(DATA) - 1} bytes instead of {len(DATA)}" in (store.damage(ref) or "")
    place.write(ref.name, b"\x01" + DATA[1:])
    assert "was altered" in (store.damage(ref) or "")
    store.clear(ref.name)
    assert "is missing" in (store.damage(ref) or "")
    store.clear(ref.name)
    store.write({ref.name: DATA})
    assert store.damage(ref) is None


def test_a_directory_in_the_place_of_a_checkpoint_is_damage_and_is_kept_under_another_name(
    tmp_path: Path,
) -> None:
    store = CheckpointStore(str(tmp_path))
    ref = store.publish("g0s0-a0", DATA)
    (tmp_path / ref.name).unlink()
    (tmp_path / ref.name / "inside").mkdir(parents=True)
    assert "is a directory" in (store.damage(ref) or "")
    store.clear(ref.name)
    (aside,) = tmp_path.iterdir()
    assert (aside.suffix, [path.name for path in aside.iterdir()]) == (".aside", ["inside"])
    assert store.names() == []


def test_a_store_that_fails_says_nothing_of_damage(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = store.publish("g0s0-a0", DATA)

    def fails(path: str) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(store._fs, "cat_file", fails)
    with raises_golden("checkpoints/unreadable", CheckpointError, url=store.url, name=ref.name):
        store.damage(ref)


def test_names_are_those_of_checkpoints_and_of_what_unfinished_writes_left(
    store: CheckpointStore, place: Place
) -> None:
    for name in [*FOREIGN, PART]:
        place.write(name)
    ours = {store.publish("g0s0-a0", b"1").name, store.publish("g12s3-a10", b"2", ".checkpoint").name, PART}
    assert store.names() == sorted(ours)


def test_names_are_as_they_are_now_though_another_store_writes(store: CheckpointStore, place: Place) -> None:
    first = store.publish("g0s0-a0", b"1").name
    assert store.names() == [first]
    other = CheckpointStore(place.url).publish("g0s1-a0", b"2").name
    assert store.names() == [first, other]
    place.remove(first)
    assert store.names() == [other]


def test_what_is_to_be_deleted_is_and_nothing_else(store: CheckpointStore, place: Place) -> None:
    refs = {
        stem: store.publish(stem, stem.encode()) for stem in ("g1s1-a0", "g1s1-a1", "g1s2-a0", "g1s21-a0")
    }
    for name in [*FOREIGN, PART]:
        place.write(name)
    store.delete([refs["g1s1-a0"].name, PART, refs["g1s21-a0"].name])
    assert place.names() == {refs["g1s1-a1"].name, refs["g1s2-a0"].name, *FOREIGN}
    assert store.read(refs["g1s1-a1"]) == b"g1s1-a1"
    with pytest.raises(CheckpointError, match=f"{refs['g1s1-a0'].name} is missing"):
        store.read(refs["g1s1-a0"])


def test_what_is_gone_already_can_be_deleted(store: CheckpointStore) -> None:
    gone, kept = store.publish("g0s0-a0", b"1").name, store.publish("g0s1-a0", b"1").name
    for _ in range(2):
        store.delete([gone])
        assert store.names() == [kept]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_contents_that_are_written_together_are_read_back_one_by_one(
    count: int, store: CheckpointStore, place: Place
) -> None:
    data = [bytes([number]) * number for number in range(count)]
    refs = [store.ref(f"g0s{number}-a1", content) for number, content in enumerate(data)]
    assert store.names() == []
    store.write({ref.name: content for ref, content in zip(refs, data, strict=True)})
    assert [CheckpointStore(place.url).read(ref) for ref in refs] == data
    assert store.names() == sorted(ref.name for ref in refs)


def test_a_file_that_vanishes_while_it_is_deleted_does_no_harm(
    store: CheckpointStore, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for slot in range(3):
        store.publish(f"g0s{slot}-a0", b"1")
    remove: Callable[[str], None] = place.fs.rm_file
    raced: list[str] = []

    def another_was_first(path: str) -> None:
        remove(path)
        raced.append(path)
        remove(path)

    monkeypatch.setattr(place.fs, "rm_file", another_was_first)
    store.delete(store.names())
    assert len(raced) == 3
    assert store.names() == []


@pytest.mark.parametrize("name", ["best.safetensors", "g1-a-0123456789ab.safetensors", "", PART + ".part"])
def test_a_name_that_is_not_a_checkpoint_s_has_no_member(name: str) -> None:
    with raises_golden("checkpoints/not-a-name", ValueError, name=repr(name)):
        member_of(name)


def test_what_an_unfinished_write_left_belongs_to_its_member() -> None:
    assert member_of(PART) == "g1s2"


@pytest.mark.parametrize(
    "name",
    [
        "two words ",
        'it\'s a "quote"',
        "ünï α 😀",
        "a#b",
        "a%20b%",
        "~inside",
        "a~",
        "line\nbreak",
        "a*b?[c]{d}",
        "back\\slash",
        "-$HOME;`x`",
        "a::b",
    ],
)
def test_an_awkward_directory_name_is_taken_as_it_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = CheckpointStore(str(tmp_path / name))
    ref: CheckpointRef = store.publish("g0s0-a0", DATA)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / ref.name).read_bytes() == store.read(ref) == DATA
    assert store.names() == [ref.name]
    store.delete([ref.name])
    assert list((tmp_path / name).iterdir()) == []


def test_the_directory_of_a_run_that_was_removed_is_not_made_again(tmp_path: Path) -> None:
    store = CheckpointStore(str(tmp_path / "run" / "params"))
    with pytest.raises(CheckpointError, match="cannot be written: FileNotFoundError"):
        store.publish("g0s0-a0", DATA)
    assert list(tmp_path.iterdir()) == []
    store.prepare()
    store.publish("g0s0-a0", DATA)
