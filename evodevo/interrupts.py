"""Handle interrupts of the command line, even if their exception is lost."""

import contextlib
import signal
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

Each = TypeVar("Each")
_interrupted = threading.Event()


@contextlib.contextmanager
def remembered_interrupts() -> Iterator[None]:
    """Within the block, raise `KeyboardInterrupt` on Ctrl-C and SIGTERM, and remember them.

    Exceptions are lost if a signal arrives during a callback of the interpreter; distributed has one in the
    garbage collector.
    """

    def handle(number: int, frame: Any) -> None:
        _interrupted.set()
        raise KeyboardInterrupt

    _interrupted.clear()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler in (signal.default_int_handler, signal.SIG_DFL):  # unless it is ignored, as under nohup
            signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def heeding_interrupts(rounds: Iterable[Each]) -> Iterator[Each]:
    """Yield from `rounds`; raise `KeyboardInterrupt` once an interrupt was remembered."""
    for each in rounds:
        if _interrupted.is_set():
            raise KeyboardInterrupt
        yield each
