"""How many workers a machine has room for."""

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest

from evodevo.service import machine


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen cores, no GPU."""
    monkeypatch.setattr(machine, "cpu_count", lambda: 16)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(ctypes, "CDLL", no_library)


def no_library(name: str) -> Any:
    raise OSError(f"{name}: cannot open shared object file")


def library(count: int, status: int = 0) -> Any:
    """A fake of NVIDIA's management library on a machine with this number of GPUs."""

    def tell(reference: Any) -> int:
        reference._obj.value = count
        return status

    return SimpleNamespace(
        nvmlInit_v2=lambda: status, nvmlDeviceGetCount_v2=tell, nvmlShutdown=lambda: status
    )


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(("threads", "workers"), [(1, 16), (3, 5), (16, 1), (40, 1)])
def test_where_there_is_no_gpu_the_cores_are_divided_among_members(threads: int, workers: int) -> None:
    assert machine.room_for_workers(threads) == workers


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(("count", "status", "workers"), [(1, 0, 1), (8, 0, 8), (0, 0, 4), (8, 9, 4)])
def test_there_is_a_worker_for_each_gpu_however_many_threads_it_has(
    monkeypatch: pytest.MonkeyPatch, count: int, status: int, workers: int
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library(count, status))
    assert machine.room_for_workers(4) == workers
    assert machine.room_for_workers(4, per_device=3) == (3 * workers if count and not status else workers)


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(
    ("listed", "count"),
    [("", 0), ("-1", 0), ("3", 1), (" 4, 7,", 2), ("GPU-8f,GPU-77", 2), ("0,-1,1", 1)],
)
def test_only_gpus_that_cuda_visible_devices_lists_count(
    monkeypatch: pytest.MonkeyPatch, listed: str, count: int
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library(9))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert machine.visible_gpus() == count
