"""Interrupts of the command line, heeded also where the exception that they raise is lost."""

import contextlib
import signal
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

Each = TypeVar("Each")
_interrupted = threading.Event()


@contextlib.contextmanager
def remembered_interrupts() -> Iterator[None]:
    """Ctrl-C and SIGTERM raise `KeyboardInterrupt`, and are remembered too.

    They may come while a callback of the interpreter's is at work (distributed has one in the garbage
    collector), where what is raised is lost.
    """

    def handle(number: int, frame: Any) -> None:
        _interrupted.set()
        raise KeyboardInterrupt

    _interrupted.clear()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler in (signal.default_int_handler, signal.SIG_DFL):  # not where it is ignored, as under nohup
            signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def heeding_interrupts(rounds: Iterable[Each]) -> Iterator[Each]:
    """The same, until there was an interrupt: then `KeyboardInterrupt`, if it was not raised already."""
    for each in rounds:
        if _interrupted.is_set():
            raise KeyboardInterrupt
        yield each
