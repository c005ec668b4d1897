"""A Ctrl-C that is lost in a callback of the interpreter still has an effect."""

import gc
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from evodevo.interrupts import heeding_interrupts, remembered_interrupts


class Interrupts:
    """Interrupts this process during its deletion, which no exception can leave."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):  # the handler runs here, between two instructions
            pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_was_lost_is_raised_in_the_next_round() -> None:
    rounds = []

    def two() -> Iterator[int]:
        yield 1
        thing: Any = Interrupts()
        del thing
        gc.collect()
        yield 2

    with remembered_interrupts(), pytest.raises(KeyboardInterrupt):
        for number in heeding_interrupts(two()):
            rounds.append(number)
    assert rounds == [1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_raised_at_once_where_it_can_be_and_forgotten_by_the_next_command(
    number: int,
) -> None:
    with remembered_interrupts(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
    with remembered_interrupts():
        assert list(heeding_interrupts([1, 2])) == [1, 2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_handler_is_put_back_and_an_ignored_signal_stays_ignored(number: int) -> None:
    before = signal.getsignal(number)
    with suppress(ValueError), remembered_interrupts():
        assert signal.getsignal(number) is not before
        raise ValueError
    assert signal.getsignal(number) is before
    signal.signal(number, signal.SIG_IGN)
    try:
        with remembered_interrupts():
            assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)
