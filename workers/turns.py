"""Members that take turns in one process: whose turn it is, and what each then finds in force.

A member in training draws from global generators (python's, numpy's, torch's) and from those of a shared
DataLoader; each finds them where it left them, so that it is bit for bit what it would be alone. On CUDA each
has a stream of its own, so that the kernels of one fill the gaps that another leaves. Of a member that is
alone nothing is saved, and it uses the device's default stream.

On CUDA nothing orders the streams but `Turns.settle`, which waits for all of them. It is called wherever one
member may leave something that others use: when a member has been loaded, has made its first step or is over
(what a workload keeps for all of them is made then), and before and after members are trained together.
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
    """What one of several members has of its own while it waits for its turn.

    `randomness` is where it left the generators; None as long as it has had no turn that ended.
    """

    def __init__(self, stream: "torch.cuda.Stream | None") -> None:
        self.stream = stream
        self.randomness: Randomness | None = None
        self._own: list[torch.Generator] = []
        self._states: list[torch.Tensor] = []

    def save(self, device: torch.device, shared: Sequence[torch.Generator]) -> None:
        """Remember where all generators are; `shared` are those of the data."""
        if self.randomness is None:
            self.randomness = Randomness(device)
        else:
            self.randomness.save()
        self._own, self._states = list(shared), [one.get_state() for one in shared]

    def restore(self) -> None:
        """Set the generators to where they were when they were saved last; the first time, leave them."""
        if self.randomness is not None:
            self.randomness.restore()
        for generator, state in zip(self._own, self._states, strict=True):
            generator.set_state(state)


class Turns:
    """Whose turn it is on the device, of up to `most` members."""

    def __init__(self, device: torch.device, most: int) -> None:
        self._device = device
        self._streams: list[torch.cuda.Stream] = []
        self._several = most > 1
        self._on_streams = self._several and device.type == "cuda"
        self._current: Seat | None = None
        self._shared: list[torch.Generator] = []

    def seat(self) -> Seat:
        """Return a seat for a member that is about to begin, with a stream that is free."""
        if not self._on_streams:
            return Seat(None)
        stream = self._streams.pop() if self._streams else torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.default_stream(self._device))
        return Seat(stream)

    def give(self, seat: Seat) -> None:
        """From here on it is the turn of this seat's member."""
        if seat is self._current:
            return
        self.pause()
        seat.restore()
        if seat.stream is not None:
            torch.cuda.set_stream(seat.stream)
        self._current = seat

    def pause(self) -> None:
        """From here on it is nobody's turn."""
        if self._current is not None:
            self._current.save(self._device, self._shared)
            self.leave(self._current)

    def leave(self, seat: Seat, over: bool = False) -> None:
        """It is not this seat's turn any more; if its member is `over`, it will not be again."""
        if seat is self._current:
            self._current = None
            if seat.stream is not None:
                torch.cuda.set_stream(torch.cuda.default_stream(self._device))
        if over and seat.stream is not None:
            self._streams.append(seat.stream)

    def end(self) -> None:
        """Nobody has a turn any more."""
        if self._current is not None:
            self.leave(self._current)

    def share(self, workload: Any) -> None:
        """Members of this workload share what it has of data, and the generators in them."""
        if not self._several:
            return
        splits = getattr(workload, "splits", None)
        train = getattr(splits, "train", None)
        self._shared = batches.generators(train) if train is not None else []

    def settle(self) -> None:
        """Wait for the kernels of all streams, so that any member may use what another has made."""
        if self._on_streams:
            torch.cuda.synchronize(self._device)


def is_out_of_memory(why: BaseException) -> bool:
    """Whether an error says that the device has no memory left."""
    if isinstance(why, torch.OutOfMemoryError):
        return True
    text = str(why)
    return isinstance(why, RuntimeError) and ("CUDA error: out of memory" in text or "ALLOC_FAILED" in text)


def free_memory() -> None:
    """Give the device back what only waits to be used again; call it when nothing refers to it any more."""
    drop_idle()
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def using_device(function: Callable[..., Answer]) -> Callable[..., Answer]:
    """Decorate what a worker is called for beside units: it uses the device together with other workers."""

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
