"""Turns of members. The streams are fakes: they show which one is current, not that CUDA uses it."""

import random
from types import SimpleNamespace

import pytest
import torch

from tests.workers.toys import Toy, prepared
from workers import turns
from workers.turns import Turns, is_out_of_memory

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")


class Stream:
    def __init__(self, device: object) -> None:
        self.waited_for: list[object] = []

    def wait_stream(self, other: object) -> None:
        self.waited_for.append(other)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What CUDA was told: the stream that is current, and how often all were waited for."""
    told = SimpleNamespace(current="default", waits=0)

    def synchronize(device: object) -> None:
        told.waits += 1

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "default_stream", lambda device: "default")
    monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: setattr(told, "current", stream))
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    monkeypatch.setattr(turns, "Randomness", lambda device: SimpleNamespace(save=int, restore=int))
    return told


def test_each_member_has_its_own_stream_during_its_turn(cuda: SimpleNamespace) -> None:
    found = Turns(CUDA, 2)
    first, second = found.seat(), found.seat()
    assert isinstance(first.stream, Stream)
    assert first.stream is not second.stream
    assert first.stream.waited_for == ["default"]
    found.give(first)
    assert cuda.current is first.stream
    found.give(second)
    assert cuda.current is second.stream
    found.pause()
    assert cuda.current == "default"
    found.give(second)
    found.leave(second, over=True)
    assert cuda.current == "default"
    assert found.seat().stream is second.stream
    assert cuda.waits == 0
    found.settle()
    assert cuda.waits == 1
    found.give(first)
    found.end()
    assert cuda.current == "default"


def test_a_member_that_is_alone_uses_the_devices_default_stream(cuda: SimpleNamespace) -> None:
    found = Turns(CUDA, 1)
    seat = found.seat()
    assert seat.stream is None
    found.give(seat)
    found.settle()
    found.end()
    assert (cuda.current, cuda.waits) == ("default", 0)


def test_each_member_continues_where_it_left_the_generators(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw() -> tuple[float, float]:
        return random.random(), float(torch.rand(()))

    random.seed(1)
    torch.manual_seed(1)
    expected = [draw() for _ in range(4)]
    found = Turns(CPU, 2)
    found.share(prepared(Toy()))
    first, second = found.seat(), found.seat()
    drawn: dict[int, list[tuple[float, float]]] = {0: [], 1: []}
    for at, seat in enumerate((first, second)):
        found.give(seat)
        random.seed(1)
        torch.manual_seed(1)
        drawn[at].append(draw())
    for _ in range(3):
        for at, seat in enumerate((first, second)):
            found.give(seat)
            drawn[at].append(draw())
    assert drawn == {0: expected, 1: expected}


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (MemoryError("out of memory"), False),
    ],
)
def test_what_says_that_a_device_has_no_memory_left(error: Exception, is_it: bool) -> None:
    assert is_out_of_memory(error) == is_it
