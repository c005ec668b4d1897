"""Capture a function of tensors at fixed addresses as one CUDA graph; on a CPU it is called directly."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch

WARM_UP = 3
"""Number of calls before capture, in which libraries choose algorithms and a compiler compiles."""


_FAILED: list[torch.cuda.CUDAGraph] = []
"""Graphs whose capture failed, kept until the process ends because the allocator may still refer to them."""


def captured(run: Callable[[], None], rewind: Callable[[], Any], device: torch.device) -> Callable[[], None]:
    """Return a function that replays `run`, after calling it several times, whose effects are not undone.

    `rewind` is called before each of these calls. Operations that wait for the GPU (`.item()`, a shape that
    depends on values) raise `RuntimeError`. Random numbers that `run` draws on the GPU come from its default
    generator, which advances at each replay as in a call of `run`.
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
        # Other threads of the worker (files, messages) may continue meanwhile.
        with _nothing_filled(), torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
            run()
    except BaseException:
        _FAILED.append(graph)
        torch.cuda.set_stream(current)  # a failed capture leaves its stream current
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
    """Return a function that replays a graph with random numbers from the present state of a generator.

    A graph reads seed and offset from device memory, where torch writes them at each replay. Before torch
    2.13 there is one address per state of a generator, so graphs in several streams would read each other's:
    each is captured with a separate state, `own`. A state also remains bound to graphs captured with it, and
    is unusable after a failed capture (before 2.13), so it is not the default generator's.
    """

    def replay() -> None:
        own.set_state(generator.get_state())
        graph.replay()
        generator.set_state(own.get_state())

    return replay


@contextlib.contextmanager
def _nothing_filled() -> Iterator[None]:
    """Disable, for deterministic algorithms, the kernel that fills each new tensor."""
    settings: Any = torch.utils.deterministic
    before = settings.fill_uninitialized_memory
    settings.fill_uninitialized_memory = False
    try:
        yield
    finally:
        settings.fill_uninitialized_memory = before


@contextlib.contextmanager
def _no_waiting() -> Iterator[None]:
    """Make torch raise an error instead of waiting for the GPU; failing within a capture has side effects."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that it does not detect everything
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
