"""What makes a Dask worker one that can train. The worker here is a stub that takes its information."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from distributed.protocol import core

from evodevo.versions import own_versions
from tests.golden import assert_golden
from workers import departure, devices, preload


class Stub:
    def __init__(self, nanny: str | None) -> None:
        self.nanny, self.loop = nanny, SimpleNamespace()
        self.startup_information: dict[str, Callable[[Any], Any]] = {}


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Torch's flags, the import path and the environment are put back; claims are made in `tmp_path`."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(preload, "_claim", devices.Claim("cpu"))
    # set before it is deleted, so that it is put back to what it was even if the code sets it
    for name in ("CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "TORCHINDUCTOR_DETERMINISTIC"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    claims: list[devices.Claim] = []
    claim = devices.claim

    def local(visible: list[str]) -> devices.Claim:
        claims.append(claim(visible, tmp_path / "claims"))
        return claims[-1]

    monkeypatch.setattr(devices, "claim", local)
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, *departure.SIGNALS)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
    torch.backends.cudnn.benchmark = benchmark
    for one in claims:
        if one.descriptor >= 0:
            os.close(one.descriptor)


def start(
    monkeypatch: pytest.MonkeyPatch, visible: str = "", nanny: str | None = "tcp://127.0.0.1:1"
) -> dict[str, Any]:
    """What a worker that starts with these devices tells the scheduler."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    stub = Stub(nanny)
    preload.dask_setup(stub)  # type: ignore[arg-type]
    told = {name: tell(stub) for name, tell in stub.startup_information.items()}
    about: dict[str, Any] = core.loads(core.dumps(told))["evodevo"]  # type: ignore[no-untyped-call]
    return about


def test_a_worker_tells_the_scheduler_its_device_and_its_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert start(monkeypatch) == {
        "device": "cpu",
        "ends_at": None,
        "problem": None,
        "versions": {**own_versions(), "torch": torch.__version__},
    }
    assert preload.current_device() == torch.device("cpu")


def test_what_a_worker_tells_is_read_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's version has a special type, and unpickling it would import torch."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    stub = Stub(None)
    preload.dask_setup(stub)  # type: ignore[arg-type]
    assert type(stub.startup_information["evodevo"](None)["versions"]["torch"]) is str


def test_a_worker_pins_itself_to_the_one_gpu_that_it_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert start(monkeypatch, "4,7")["device"] == "4"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4"
    assert preload.current_device() == torch.device("cuda:0")
    assert start(monkeypatch, "4,7")["device"] == "7"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"


def test_a_worker_without_a_device_left_says_so_and_hides_none(monkeypatch: pytest.MonkeyPatch) -> None:
    start(monkeypatch, "4")
    about = start(monkeypatch, "4")
    assert about["device"] == "none"
    assert f"all devices (4 by process {os.getpid()}) are in use" in about["problem"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4"


def test_a_worker_that_is_given_no_time_as_its_end_has_that_as_its_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EVODEVO_ENDS_AT", "soon")
    about = start(monkeypatch)
    assert about["ends_at"] is None
    assert_golden("environment/not-a-time", about["problem"], variable="EVODEVO_ENDS_AT", value="soon")


def test_a_users_file_in_the_directory_that_the_worker_started_in_can_be_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "module_beside_the_config.py").write_text("found = True\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModuleNotFoundError):
        import_module("module_beside_the_config")
    start(monkeypatch)
    assert import_module("module_beside_the_config").found
    del sys.modules["module_beside_the_config"]
    start(monkeypatch)
    assert sys.path.count(str(tmp_path)) == 1


def test_a_users_directory_comes_after_what_is_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    start(monkeypatch)
    assert sys.path[-1] == str(tmp_path)


def test_a_worker_trains_with_deterministic_algorithms(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.backends.cudnn.benchmark = True
    start(monkeypatch)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert os.environ["TORCHINDUCTOR_DETERMINISTIC"] == "1"


def test_a_cublas_workspace_that_the_user_chose_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    start(monkeypatch)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


@pytest.mark.parametrize("nanny", ["tcp://127.0.0.1:1", None])
def test_a_worker_leaves_ctrl_c_to_its_nanny_where_it_has_one(
    monkeypatch: pytest.MonkeyPatch, nanny: str | None
) -> None:
    before = signal.getsignal(signal.SIGINT)
    start(monkeypatch, nanny=nanny)
    assert signal.getsignal(signal.SIGINT) == (signal.SIG_IGN if nanny else before)


def test_a_worker_keeps_freed_memory_where_its_c_library_can_be_told_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: dict[int, int] = {}
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=told.__setitem__))
    start(monkeypatch)
    assert told.keys() == {-1, -3}  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    assert min(told.values()) >= 32 << 20


def test_a_process_that_was_not_preloaded_uses_the_cpu() -> None:
    assert preload.current_device() == torch.device("cpu")


def test_a_worker_whose_loop_is_in_another_thread_is_set_up_without_signal_handlers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *departure.SIGNALS)}
    told: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: told.append(start(monkeypatch)))
    thread.start()
    thread.join()
    assert [about["device"] for about in told] == ["cpu"]
    assert {number: signal.getsignal(number) for number in before} == before
