"""A function of tensors at fixed places as one CUDA graph; on a CPU it is called as it is."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch

WARM_UP = 3
"""Calls before the one that is captured: libraries make their choices, and a compiler compiles."""


_FAILED: list[torch.cuda.CUDAGraph] = []
"""Graphs whose capture failed: the allocator may refer to them still, so they live as long as the process."""


def captured(run: Callable[[], None], rewind: Callable[[], Any], device: torch.device) -> Callable[[], None]:
    """Return what replays `run`; it is called several times meanwhile, and what it changes is not put back.

    `rewind` is called before each of these calls. What waits for the GPU (`.item()`, a shape that depends on
    values) raises `RuntimeError`. Random numbers that `run` draws on the GPU come from its default generator,
    and go on there as if `run` had been called.
    """
    if device.type != "cuda":
        return run
    current = torch.cuda.current_stream(device)
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    side.wait_stream(current)
    generator = torch.cuda.default_generators[device.index or 0]
    before, common, own = generator.get_state(), generator.graphsafe_get_state(), generator.clone_state()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.stream(side), _nothing_filled():
            for number in range(WARM_UP):
                rewind()
                with _no_waiting() if number else contextlib.nullcontext():
                    run()
            rewind()
        side.synchronize()
        draws = not torch.equal(before, generator.get_state())
        generator.graphsafe_set_state(own)
        # Other threads of the worker (files, messages) may go on meanwhile.
        with _nothing_filled(), torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
            run()
    except BaseException:
        _FAILED.append(graph)
        torch.cuda.set_stream(current)  # a capture that fails leaves its own in place
        current.wait_stream(side)
        with contextlib.suppress(RuntimeError):
            torch.cuda.synchronize(device)
        raise
    finally:
        generator.graphsafe_set_state(common)
    current.wait_stream(side)
    return _drawing(graph, generator, own) if draws else graph.replay


def _drawing(
    graph: torch.cuda.CUDAGraph, generator: torch.Generator, own: torch.Generator
) -> Callable[[], None]:
    """Return what replays a graph whose random numbers come from a generator, where that is then.

    A graph reads seed and offset from the device's memory, where torch writes them at each replay. Before
    torch 2.13 that is one place for each state of a generator, so graphs in several streams would read each
    other's: each is captured with a state of its `own`. A state also stays with what was captured with it,
    and one with which a capture failed (before 2.13) is of no more use, so it is not the default generator's.
    """

    def replay() -> None:
        own.set_state(generator.get_state())
        graph.replay()
        generator.set_state(own.get_state())

    return replay


@contextlib.contextmanager
def _nothing_filled() -> Iterator[None]:
    """Let deterministic algorithms do without the kernel that fills each new tensor."""
    settings: Any = torch.utils.deterministic
    before = settings.fill_uninitialized_memory
    settings.fill_uninitialized_memory = False
    try:
        yield
    finally:
        settings.fill_uninitialized_memory = before


@contextlib.contextmanager
def _no_waiting() -> Iterator[None]:
    """Let torch raise an error where it would wait for the GPU: in a capture that leaves things behind."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that it does not find everything
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
