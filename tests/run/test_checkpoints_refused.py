"""Stores that cannot be used: every operation says so in a `CheckpointError`, one line with the URL."""

import errno
import importlib
import re
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from s3fs import S3FileSystem

from evodevo.run.checkpoints import CheckpointError, CheckpointStore
from evodevo.run.records import CheckpointRef
from tests.object_store import BUCKET, s3_server

NAME = "g0s0-a0-0123456789ab.safetensors"
OPERATIONS: dict[str, Callable[[CheckpointStore], Any]] = {
    "publish": lambda store: store.publish("g0s0-a0", b"data"),
    "read": lambda store: store.read(CheckpointRef(NAME, 4, "0" * 64)),
    "names": CheckpointStore.names,
    "delete": lambda store: store.delete([NAME]),
    "check": CheckpointStore.check,
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def s3(server: str) -> Iterator[str]:
    yield server
    S3FileSystem.clear_instance_cache()  # those of a process keep the environment that they began with


def refusal(operation: str, url: str) -> str:
    with pytest.raises(CheckpointError) as caught:
        OPERATIONS[operation](CheckpointStore(url))
    message = str(caught.value)
    assert "\n" not in message
    assert url in message
    return message


@pytest.mark.parametrize("operation", ["publish", "check"])
def test_a_bucket_that_is_not_there_is_not_made(operation: str, s3: str) -> None:
    message = refusal(operation, "s3://another-bucket/some/run")
    assert message.endswith("FileNotFoundError: The specified bucket does not exist")
    assert S3FileSystem().ls("") == [BUCKET]


def test_in_a_bucket_that_is_not_there_are_no_checkpoints(s3: str) -> None:
    store = CheckpointStore("s3://another-bucket/some/run")
    assert store.names() == []
    store.delete([NAME])
    assert refusal("read", store.url).endswith(f"{NAME} is missing")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_missing_credentials_are_said(operation: str, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    S3FileSystem.clear_instance_cache()
    message = refusal(operation, f"s3://{BUCKET}/some/run")
    assert message.endswith("NoCredentialsError: Unable to locate credentials")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_server_that_does_not_answer_is_named(
    operation: str, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    S3FileSystem.clear_instance_cache()
    message = refusal(operation, f"s3://{BUCKET}/some/run")
    assert 'Could not connect to the endpoint URL: "http://127.0.0.1:9' in message


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_bucket_name_that_cannot_be_is_refused_in_one_line(operation: str, s3: str) -> None:
    assert 'Invalid bucket name "B d!"' in refusal(operation, "s3://B d!/some/run")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_protocol_that_nobody_knows_is_refused(operation: str) -> None:
    assert refusal(operation, "s4://bucket/run").endswith("ValueError: Protocol not known: s4")


def test_a_missing_s3fs_is_named_with_the_way_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    imported = importlib.import_module("fsspec.registry")._registry
    monkeypatch.delitem(imported, "s3", raising=False)
    assert refusal("check", "s3://bucket/run").endswith(
        "Install s3fs to access S3: pip install -c constraints.txt -e '.[s3]'"
    )


@pytest.mark.parametrize("operation", ["publish", "check"])
def test_a_file_where_the_directory_should_be_is_refused(operation: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = refusal(operation, str(tmp_path / "file" / "params"))
    assert re.search(f"(File exists|Not a directory): '{tmp_path}/file", message)


class Broken(MemoryFileSystem):  # type: ignore[misc]
    """Raises `fault` from whatever the store asks of it, as a library does whose errors are its own."""

    protocol = "broken"
    fault: Exception

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite") -> None:
        raise self.fault

    def cat_file(self, path: str, **_: Any) -> bytes:
        raise self.fault

    def ls(self, path: str, **_: Any) -> Any:
        raise self.fault

    def rm_file(self, path: str) -> None:
        raise self.fault


fsspec.register_implementation("broken", Broken, clobber=True)


class TheirError(Exception):
    """Not an `OSError`."""


@pytest.mark.parametrize("operation", OPERATIONS)
def test_whatever_a_library_raises_is_said_in_one_line_and_may_do_better_next_time(
    operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Broken, "fault", TheirError("the\nlink\tis down"), raising=False)
    message = refusal(operation, "broken://some/run")
    assert message.endswith(": TheirError: the link is down")


def test_a_store_that_refuses_conditional_puts_is_written_to_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    modes = []

    def pipe_file(self: Any, path: str, value: bytes, mode: str = "overwrite") -> None:
        modes.append(mode)
        if mode == "create":
            raise OSError(errno.ENOSYS, "A header you provided implies functionality that is not implemented")
        MemoryFileSystem.store[self._strip_protocol(path)] = value

    written: dict[str, bytes] = {}
    monkeypatch.setattr(MemoryFileSystem, "store", written)
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", pipe_file)
    ref = CheckpointStore(f"memory://{uuid.uuid4()}/run").publish("g0s0-a0", b"data")
    assert modes == ["create", "overwrite"]
    assert [(path.rpartition("/")[2], data) for path, data in written.items()] == [(ref.name, b"data")]
