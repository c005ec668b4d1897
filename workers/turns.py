"""Members that take turns in one process, each with its own random state and CUDA stream.

A member in training draws from global generators (Python's, NumPy's, torch's) and from those of a shared
DataLoader; each is restored to where the member left it, so that results are bit for bit those of a member
alone. On CUDA each member has a separate stream, so that the kernels of one fill the gaps of another. For a
member that is alone nothing is saved, and it uses the device's default stream.

On CUDA the streams are ordered only by `Turns.settle`, which waits for all of them. It is called whenever a
member may have made something that others use: after a member is loaded, after its first step and at its end
(a workload makes then what it keeps for all), and before and after members are trained together.
"""

import functools
import gc
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch

from workers import batches
from workers.preload import current_room
from workers.seeding import Randomness
from workers.static.shelf import drop_idle

Answer = TypeVar("Answer")


class Seat:
    """The state that one of several members keeps between its turns.

    `randomness` is the state in which it left the generators; None before the end of its first turn.
    """

    def __init__(self, stream: "torch.cuda.Stream | None") -> None:
        self.stream = stream
        self.randomness: Randomness | None = None
        self._own: list[torch.Generator] = []
        self._states: list[torch.Tensor] = []

    def save(self, device: torch.device, shared: Sequence[torch.Generator]) -> None:
        """Save the state of all generators; `shared` are those of the data."""
        if self.randomness is None:
            self.randomness = Randomness(device)
        else:
            self.randomness.save()
        self._own, self._states = list(shared), [one.get_state() for one in shared]

    def restore(self) -> None:
        """Restore the generators' saved state, if any."""
        if self.randomness is not None:
            self.randomness.restore()
        for generator, state in zip(self._own, self._states, strict=True):
            generator.set_state(state)


class Turns:
    """The turns of up to `most` members on a device."""

    def __init__(self, device: torch.device, most: int) -> None:
        self._device = device
        self._streams: list[torch.cuda.Stream] = []
        self._several = most > 1
        self._on_streams = self._several and device.type == "cuda"
        self._current: Seat | None = None
        self._shared: list[torch.Generator] = []

    def seat(self) -> Seat:
        """Return a seat with a free stream for a member that is about to begin."""
        if not self._on_streams:
            return Seat(None)
        stream = self._streams.pop() if self._streams else torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.default_stream(self._device))
        return Seat(stream)

    def give(self, seat: Seat) -> None:
        """Begin the turn of this seat's member, and end the present one."""
        if seat is self._current:
            return
        self.pause()
        seat.restore()
        if seat.stream is not None:
            torch.cuda.set_stream(seat.stream)
        self._current = seat

    def pause(self) -> None:
        """End the present turn, if any, and save its member's state."""
        if self._current is not None:
            self._current.save(self._device, self._shared)
            self.leave(self._current)

    def leave(self, seat: Seat, over: bool = False) -> None:
        """End this seat's turn without saving; if its member is `over`, reuse its stream."""
        if seat is self._current:
            self._current = None
            if seat.stream is not None:
                torch.cuda.set_stream(torch.cuda.default_stream(self._device))
        if over and seat.stream is not None:
            self._streams.append(seat.stream)

    def end(self) -> None:
        """End all turns."""
        if self._current is not None:
            self.leave(self._current)

    def share(self, workload: Any) -> None:
        """Register the generators in the workload's training data, which its members share."""
        if not self._several:
            return
        splits = getattr(workload, "splits", None)
        train = getattr(splits, "train", None)
        self._shared = batches.generators(train) if train is not None else []

    def settle(self) -> None:
        """Wait for the kernels of all streams, so that members can use each other's results."""
        if self._on_streams:
            torch.cuda.synchronize(self._device)


def is_out_of_memory(why: BaseException) -> bool:
    """Return whether an error means that the device ran out of memory."""
    if isinstance(why, torch.OutOfMemoryError):
        return True
    text = str(why)
    return isinstance(why, RuntimeError) and ("CUDA error: out of memory" in text or "ALLOC_FAILED" in text)


def free_memory() -> None:
    """Release cached memory of the device; call it when nothing refers to it any more."""
    drop_idle()
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def using_device(function: Callable[..., Answer]) -> Callable[..., Answer]:
    """Decorate a function called on a worker outside of units, to share the device with other workers."""

    @functools.wraps(function)
    def used(*arguments: Any, **named: Any) -> Answer:
        if (room := current_room()) is None:
            return function(*arguments, **named)
        room.enter(lambda: None)
        try:
            return function(*arguments, **named)
        finally:
            free_memory()
            room.leave()

    return used
