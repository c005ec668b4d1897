"""A local cluster that is interrupted while it is made."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from evodevo.service.cluster import _interrupts_held_back


def test_an_interrupt_is_raised_when_the_cluster_is_made_and_is_then_closed() -> None:
    told: list[str] = []

    @contextmanager
    def cluster() -> Iterator[None]:
        signal.raise_signal(signal.SIGINT)
        told.append("made")
        try:
            yield
        finally:
            told.append("closed")

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), ExitStack() as stack:
        with _interrupts_held_back():
            stack.enter_context(cluster())
        told.append("used")
    assert told == ["made", "closed"]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_an_interrupt_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with _interrupts_held_back():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
