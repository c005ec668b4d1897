"""Data sets are downloaded whole or not at all: against real servers on the loopback that misbehave."""

import contextlib
import fcntl
import gzip
import hashlib
import importlib.util
import io
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from evodevo.errors import UsageError
from tests.golden import assert_golden, raises_golden

pytest.importorskip("aiohttp", reason="fsspec reads HTTP through aiohttp")

REPOSITORY = Path(__file__).resolve().parents[1]
SCRIPT = REPOSITORY / "scripts" / "fetch_data.py"
REAL_MNIST = REPOSITORY.parent / "shared" / "data" / "mnist"
MIB = 2**20


def load_script() -> Any:
    spec = importlib.util.spec_from_file_location("fetch_data", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = load_script()
BIG, SMALL = random.Random(1).randbytes(3 * MIB), b"0 1 2"


class Server(ThreadingHTTPServer):
    """Serves `published`, and misbehaves as it is told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.published = {"big.bin": BIG, "small.txt": SMALL}
        self.asked: list[tuple[str, str | None]] = []
        """The file's name and the Range of each request."""
        self.has_range = True
        self.says_length = True
        self.says: dict[str, str] = {}
        """Headers that go with every file."""
        self.status = 200
        self.breaks = 0
        """How many answers break off, each after `breaks_after` bytes, when something has `arrived`."""
        self.breaks_after = MIB
        self.arrived: Callable[[], bool] = lambda: True
        self.stalls = threading.Event()
        """When it is not set, an answer sends `breaks_after` bytes and waits for it."""
        self.stalls.set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that were killed."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        server, name, wanted = self.server, self.path.rpartition("/")[2], self.headers["Range"]
        server.asked.append((name, wanted))
        body = server.published.get(name)
        if body is None or server.status >= 400:
            self.send_error(404 if body is None else server.status)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and server.has_range else 0  # type: ignore[index]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        for key, value in server.says.items():
            self.send_header(key, value)
        if server.says_length:
            self.send_header("Content-Length", str(len(body) - start))
        else:
            self.close_connection = True
        self.end_headers()
        end = len(body)
        if server.breaks:
            server.breaks -= 1
            end, self.close_connection = start + server.breaks_after, True
        elif not server.stalls.is_set():
            self.wfile.write(body[start : (start := start + server.breaks_after)])
            server.stalls.wait(60)
        self.wfile.write(body[start:end])
        while end < len(body) and not server.arrived():
            time.sleep(0.001)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.stalls.set()
        server.shutdown()
        thread.join()


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def two_files(home: str) -> Any:
    contents = {"big.bin": BIG, "small.txt": SMALL}
    return script.DataSet(
        home, tuple(script.File(name, len(data), sha256(data)) for name, data in contents.items())
    )


def packed(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def in_an_archive(server: Server, members: dict[str, bytes]) -> Any:
    """A set of batches/{big.bin,small.txt} whose archive has `members`."""
    archive = packed(members)
    server.published["batches.tar.gz"] = archive
    return script.DataSet(
        server.url,
        tuple(
            script.File(f"batches/{name}", len(data), sha256(data))
            for name, data in {"big.bin": BIG, "small.txt": SMALL}.items()
        ),
        archive=script.File("batches.tar.gz", len(archive), sha256(archive)),
    )


WHOLE = {"batches/big.bin": BIG, "batches/small.txt": SMALL, "batches/readme.html": b"more"}


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def contents(directory: Path) -> dict[str, bytes]:
    """Every file beneath, but for the lock."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def never(_: float) -> None:
    pytest.fail("there is nothing to wait for")


def bring(wanted: Any, directory: Path, pause: Callable[[float], None] = never) -> None:
    script.bring(wanted, directory, None, pause)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command."""
    status = 0
    try:
        script.main(list(arguments))
    except SystemExit as ended:
        status = int(ended.code or 0)
    told = capsys.readouterr()
    return status, told.out, told.err


def test_a_set_arrives_unchanged_with_one_question_and_one_line_a_file(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(script.SETS, "mnist", two_files(server.url))
    status, out, err = run(capsys, "mnist", "--root", str(tmp_path / "new" / "data"))
    directory = tmp_path / "new" / "data" / "mnist"
    assert (status, err) == (0, "")
    assert contents(directory) == {"big.bin": BIG, "small.txt": SMALL}
    assert server.asked == [("big.bin", None), ("small.txt", None)]
    assert out.splitlines() == [
        f"{directory}/big.bin: 3,145,728 bytes, sha256 matches",
        f"{directory}/small.txt: 5 bytes, sha256 matches",
        f"{directory} is complete",
    ]


def test_a_complete_set_is_not_asked_for_again(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(script.SETS, "mnist", two_files(server.url))
    assert run(capsys, "mnist", "--root", str(tmp_path))[0] == 0
    server.asked.clear()
    status, out, _ = run(capsys, "mnist", "--root", str(tmp_path))
    assert (status, out) == (0, f"{tmp_path}/mnist is complete: nothing to download\n")
    assert server.asked == []


def test_of_a_set_only_what_is_missing_is_asked_for(server: Server, tmp_path: Path) -> None:
    bring(two_files(server.url), tmp_path)
    (tmp_path / "small.txt").unlink()
    server.asked.clear()
    bring(two_files(server.url), tmp_path)
    assert server.asked == [("small.txt", None)]


@pytest.mark.parametrize("says_length", [True, False])
def test_an_interrupted_download_resumes_where_it_stopped(
    says_length: bool, server: Server, tmp_path: Path
) -> None:
    server.breaks, server.says_length = 2, says_length
    had: list[int] = []
    pauses: list[float] = []
    part = tmp_path / "big.bin.part"
    server.arrived = lambda: size_of(part) > (had[-1] if had else 0)

    def pause(pause_s: float) -> None:
        assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == ["big.bin.part"]
        had.append(size_of(part))
        pauses.append(pause_s)

    bring(two_files(server.url), tmp_path, pause)
    assert 0 < had[0] < had[1] < len(BIG)
    assert server.asked[:3] == [("big.bin", None), *(("big.bin", f"bytes={size}-") for size in had)]
    assert pauses == [1, 2]
    assert contents(tmp_path) == {"big.bin": BIG, "small.txt": SMALL}


def test_without_range_requests_a_download_starts_over(server: Server, tmp_path: Path) -> None:
    server.breaks, server.has_range = 1, False
    bring(two_files(server.url), tmp_path, lambda _: None)
    assert server.asked[1][1] is not None
    assert contents(tmp_path) == {"big.bin": BIG, "small.txt": SMALL}


def test_a_download_that_is_interrupted_too_often_says_how_to_resume_it_and_that_works(
    server: Server, tmp_path: Path
) -> None:
    server.breaks, server.breaks_after = 4, MIB // 2
    part = tmp_path / "big.bin.part"
    server.arrived = lambda: size_of(part) > 0
    with pytest.raises(UsageError, match=r"interrupted 4 times.*run the same command again to resume"):
        bring(two_files(server.url), tmp_path, lambda _: None)
    assert contents(tmp_path).keys() == {"big.bin.part"}
    server.asked.clear()
    have = size_of(part)
    bring(two_files(server.url), tmp_path)
    assert server.asked[0] == ("big.bin", f"bytes={have}-")
    assert contents(tmp_path) == {"big.bin": BIG, "small.txt": SMALL}


def test_a_part_that_is_whole_is_only_checked_and_one_too_long_is_thrown_away(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "big.bin.part").write_bytes(BIG)
    (tmp_path / "small.txt.part").write_bytes(SMALL + b" 3")
    bring(two_files(server.url), tmp_path)
    assert server.asked == [("small.txt", None)]
    assert contents(tmp_path) == {"big.bin": BIG, "small.txt": SMALL}


def test_a_server_that_is_overloaded_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.status = 503

    def recover(_: float) -> None:
        server.status = 200

    bring(two_files(server.url), tmp_path, recover)
    assert contents(tmp_path) == {"big.bin": BIG, "small.txt": SMALL}


def test_a_gz_that_the_server_calls_encoded_is_left_packed(server: Server, tmp_path: Path) -> None:
    data = gzip.compress(SMALL)
    server.published["small.gz"], server.says = data, {"Content-Encoding": "gzip"}
    bring(script.DataSet(server.url, (script.File("small.gz", len(data), sha256(data)),)), tmp_path)
    assert contents(tmp_path) == {"small.gz": data}


def test_wrong_bytes_are_deleted_and_both_checksums_are_told(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = BIG[:-1] + bytes([BIG[-1] ^ 1])
    server.published["big.bin"] = wrong
    monkeypatch.setitem(script.SETS, "mnist", two_files(server.url))
    status, out, err = run(capsys, "mnist", "--root", str(tmp_path))
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert f"{server.url}/big.bin: expected {sha256(BIG)}, found {sha256(wrong)}" in err
    assert contents(tmp_path) == {}
    server.published["big.bin"] = BIG
    assert run(capsys, "mnist", "--root", str(tmp_path))[0] == 0


def test_a_part_of_another_file_costs_no_more_than_to_begin_afresh(server: Server, tmp_path: Path) -> None:
    (tmp_path / "big.bin.part").write_bytes(b"x" * MIB)
    bring(two_files(server.url), tmp_path)
    assert server.asked[:2] == [("big.bin", f"bytes={MIB}-"), ("big.bin", None)]
    assert contents(tmp_path) == {"big.bin": BIG, "small.txt": SMALL}


def test_a_page_instead_of_the_file_is_refused_before_it_is_read(server: Server, tmp_path: Path) -> None:
    (tmp_path / "big.bin.part").write_bytes(BIG[:MIB])
    server.published["big.bin"], server.has_range = b"<html>Log in first</html>", False
    with raises_golden("fetch-data/another-length", UsageError, tmp_path, server=server.url):
        bring(two_files(server.url), tmp_path)
    assert contents(tmp_path) == {"big.bin.part": BIG[:MIB]}


@pytest.mark.parametrize(
    ("name", "status"),
    [("no-such-file", 404), ("forbidden", 403)],
)
def test_a_file_that_the_server_does_not_give_is_one_message_and_status_2(
    name: str,
    status: int,
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.status = status
    if status == 404:
        del server.published["big.bin"]
    monkeypatch.setitem(script.SETS, "mnist", two_files(server.url))
    ended, out, err = run(capsys, "mnist", "--root", str(tmp_path))
    assert (ended, out, err.count("\n")) == (2, "", 1)
    assert_golden(f"fetch-data/server/{name}", err, tmp_path, server=server.url)
    assert len(server.asked) == 1


def test_without_a_network_there_is_one_message_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # but not listening
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UsageError, match=f"{url}/big.bin cannot be reached: .*name a mirror"):
            bring(two_files(url), tmp_path)
        monkeypatch.setitem(script.SETS, "mnist", two_files(url))
        status, out, err = run(capsys, "mnist", "--root", str(tmp_path))
    assert (status, out, err.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("unknown-set", ["imagenet", "--root", "."]),
        ("another-unknown-set", ["mnist", "imagenet", "--root", "."]),
        ("root-is-a-file", ["mnist", "--root", "file"]),
        ("no-mirror", ["mnist", "--root", ".", "--from", "nowhere"]),
        ("gopher", ["mnist", "--root", ".", "--from", "gopher://a"]),
        ("ftp", ["mnist", "--root", ".", "--from", "ftp://127.0.0.1:1"]),
    ],
)
def test_bad_usage_is_a_message_and_status_2(
    name: str,
    arguments: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert_golden(f"fetch-data/usage/{name}", err, tmp_path)
    assert contents(tmp_path) == {"file": b""}


@pytest.mark.parametrize(
    "arguments", [["--root", "."], ["mnist"], ["mnist", "--root", ".", "--from", "http://"]], ids=str
)
def test_usage_that_a_library_refuses_has_status_2_too(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err and "Traceback" not in err
    assert contents(tmp_path) == {}


def test_without_aiohttp_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with raises_golden("fetch-data/no-aiohttp", UsageError):
        bring(two_files("https://127.0.0.1:1"), tmp_path)


def test_a_directory_is_a_mirror_too_and_a_part_is_completed_from_it(tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "big.bin").write_bytes(bytes(MIB) + BIG[MIB:])
    (tmp_path / "mirror" / "small.txt").write_bytes(SMALL)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "big.bin.part").write_bytes(BIG[:MIB])
    script.bring(two_files("http://127.0.0.1:1"), tmp_path / "set", str(tmp_path / "mirror"), never)
    assert contents(tmp_path / "set") == {"big.bin": BIG, "small.txt": SMALL}


def test_a_file_of_the_same_name_that_is_another_one_is_left_alone(server: Server, tmp_path: Path) -> None:
    (tmp_path / "big.bin").write_bytes(b"mine")
    with raises_golden("fetch-data/another-file", UsageError, tmp_path):
        bring(two_files(server.url), tmp_path)
    assert contents(tmp_path) == {"big.bin": b"mine"}
    assert server.asked == []


def test_two_commands_do_not_write_one_set_at_once(server: Server, tmp_path: Path) -> None:
    with open(tmp_path / ".lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with raises_golden("fetch-data/another-command", UsageError, tmp_path):
            bring(two_files(server.url), tmp_path)
    assert server.asked == []


def test_an_archive_is_unpacked_and_not_kept_and_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    wanted = in_an_archive(server, WHOLE)
    (tmp_path / "batches.part" / "batches").mkdir(parents=True)
    (tmp_path / "batches.part" / "batches" / "half").touch()  # of a command that was killed
    bring(wanted, tmp_path)
    assert contents(tmp_path) == WHOLE
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "batches"}
    server.asked.clear()
    bring(wanted, tmp_path)
    assert server.asked == []


def test_an_archive_that_was_not_unpacked_yet_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    wanted = in_an_archive(server, WHOLE)
    (tmp_path / "batches.tar.gz").write_bytes(server.published["batches.tar.gz"])
    bring(wanted, tmp_path)
    assert server.asked == []
    assert contents(tmp_path) == WHOLE


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("outside", {**WHOLE, "../outside": b"!"}),
        ("file-missing", {"batches/big.bin": BIG}),
        ("file-differs", {**WHOLE, "batches/small.txt": b"2 1 0"}),
    ],
)
def test_a_bad_archive_leaves_nothing_behind_but_itself(
    name: str, members: dict[str, bytes], server: Server, tmp_path: Path
) -> None:
    with raises_golden(f"fetch-data/archive/{name}", UsageError, tmp_path, server=server.url):
        bring(in_an_archive(server, members), tmp_path / "set")
    assert contents(tmp_path).keys() == {"set/batches.tar.gz"}


def test_a_directory_that_lacks_a_file_is_told_of_before_the_archive_is_downloaded(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "batches").mkdir()
    (tmp_path / "batches" / "small.txt").write_bytes(SMALL)
    with raises_golden("fetch-data/not-whole", UsageError, tmp_path):
        bring(in_an_archive(server, WHOLE), tmp_path)
    assert contents(tmp_path) == {"batches/small.txt": SMALL}
    assert server.asked == []


DRIVER = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("fetch_data", sys.argv[1])
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)
script.SETS["mnist"] = eval(sys.argv[2], vars(script))
script.main(["mnist", "--root", sys.argv[3]])
print("torch" in sys.modules)
"""


@contextlib.contextmanager
def started(*command: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_after_a_kill_in_the_middle_the_same_command_asks_for_the_rest_only(
    server: Server, tmp_path: Path
) -> None:
    command = ("-c", DRIVER, str(SCRIPT), repr(two_files(server.url)), str(tmp_path))
    part = tmp_path / "mnist" / "big.bin.part"
    server.stalls.clear()
    with started(*command) as process:
        until = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size == MIB):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.01)
        assert contents(tmp_path).keys() == {"mnist/big.bin.part"}
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert contents(tmp_path) == {"mnist/big.bin.part": BIG[:MIB]}
    server.stalls.set()
    server.asked.clear()
    with started(*command) as process:
        out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "")
    assert out.splitlines()[-1] == "False"  # torch is not needed
    assert server.asked == [("big.bin", f"bytes={MIB}-"), ("small.txt", None)]
    assert contents(tmp_path / "mnist") == {"big.bin": BIG, "small.txt": SMALL}


@pytest.mark.skipif(not REAL_MNIST.is_dir(), reason=f"the original files are not in {REAL_MNIST}")
def test_the_real_mnist_comes_from_a_mirror_that_breaks_off(server: Server, tmp_path: Path) -> None:
    server.published = contents(REAL_MNIST)
    server.breaks, server.breaks_after = 1, 4 * MIB
    with started(str(SCRIPT), "mnist", "--root", str(tmp_path), "--from", server.url) as process:
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "train-images-idx3-ubyte.gz: interrupted after " in err
    assert len(out.splitlines()) == 5
    assert contents(tmp_path / "mnist") == server.published
    first, second = server.asked[:2]
    assert first[0] == second[0] == "train-images-idx3-ubyte.gz"
    assert second[1] is not None
