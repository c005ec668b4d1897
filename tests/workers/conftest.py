"""Fixtures of this folder: a user's module, other processes, and a check that nothing is left behind."""

import gc
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest
import torch
from hypothesis import settings

from workers import cache

settings.register_profile("workers", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("workers")

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
PATIENCE_S = 60.0
TAG = "EVODEVO_TEST"


@pytest.fixture(autouse=True)
def nothing_left_behind(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The test's own directory for temporary files, whose name needs quoting.

    Each test begins with empty caches and one torch thread, and what is global is put back after it. A
    test fails when it leaves a process, a thread or a temporary file.
    """
    tag = uuid.uuid4().hex
    temporary = tmp_path_factory.mktemp("it's temporary ")
    monkeypatch.setenv(TAG, tag)  # inherited, so that a process is found even when its parent is gone
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(cache, "_workloads", OrderedDict())
    monkeypatch.setattr(cache, "_checkpoints", OrderedDict())
    monkeypatch.setattr(cache, "_checkpoints_bytes", 0)
    cache.publisher()  # its thread lives as long as the process
    threads, children = set(threading.enumerate()), set(psutil.Process().children())
    torch_threads = torch.get_num_threads()
    generators = random.getstate(), np.random.get_state(), torch.get_rng_state()
    torch.set_num_threads(1)
    yield temporary
    torch.set_num_threads(torch_threads)
    random.setstate(generators[0])
    np.random.set_state(generators[1])
    torch.set_rng_state(generators[2])

    def left() -> list[str]:
        processes = [f"process {pid}" for pid in started_by(tag)]
        processes += [str(child) for child in psutil.Process().children() if child not in children]
        return processes + [str(thread) for thread in threading.enumerate() if thread not in threads]

    if not wait_until(lambda: not left()):
        found = left()
        for pid in started_by(tag):
            os.kill(pid, signal.SIGKILL)
        pytest.fail(f"the test left behind: {found}")
    if files_in(temporary):
        gc.collect()  # an exception that the test caught keeps its frames, and what is in them, in a cycle
    assert not files_in(temporary), f"the test left temporary files behind: {files_in(temporary)}"


def files_in(temporary: Path) -> list[str]:
    """Return the same without what torch and a DataLoader's processes keep while they live."""
    known = ("torchinductor_", "pymp-")
    return [str(path) for path in temporary.iterdir() if not path.name.startswith(known)]


def wait_until(condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> bool:
    """Poll until the condition holds; return False if it never did."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def started_by(tag: str) -> list[int]:
    """Return the living processes that inherited the test's tag."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"{TAG}={tag}".encode() in environment.read_bytes().split(b"\0"):
                found.append(int(environment.parent.name))
        except OSError:  # it ended meanwhile, or belongs to another user
            continue
    return found


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


UserModule = Callable[[str], str]


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UserModule]:
    """Write a user's module to a directory that the worker imports from; return its name."""
    monkeypatch.syspath_prepend(tmp_path)
    names = []

    def write(text: str) -> str:
        names.append(f"user_{uuid.uuid4().hex}")
        (tmp_path / f"{names[-1]}.py").write_text(text)
        return names[-1]

    yield write
    for name in names:
        sys.modules.pop(name, None)


Program = Callable[[str], list[str]]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Make a command of a Python program, in a file whose name needs quoting."""

    def make(text: str) -> list[str]:
        file = tmp_path / "it's a program.py"
        file.write_text(text)
        return [sys.executable, str(file)]

    return make


@pytest.fixture(scope="session")
def cifar10_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `data.root` with the real CIFAR-10: that of $EVODEVO_TEST_DATA, or one prepared in 45 s."""
    if given := os.environ.get("EVODEVO_TEST_DATA"):
        return Path(given)
    prepare = SHARED_DATA / "prepare.py"
    if not prepare.is_file():
        pytest.skip(f"there is neither EVODEVO_TEST_DATA nor {prepare}")
    root = tmp_path_factory.mktemp("data")
    done = subprocess.run(
        [sys.executable, str(prepare), "--root", str(root), "cifar10"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="session")
def elsewhere() -> dict[str, str]:
    """Return the digests of `tests.workers.digests`, computed in another process with another hash seed."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.workers.digests"],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": "12345"},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found
