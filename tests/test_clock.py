"""A clock that is set back by an hour, between two messages."""

import asyncio
import time
from typing import Any

import pytest
from distributed import batched
from tornado.ioloop import IOLoop

from evodevo.clock import keep_steady


class Comm:
    """What a `BatchedSend` writes to."""

    def __init__(self) -> None:
        self.written: list[Any] = []

    async def write(self, messages: list[Any], **_: Any) -> int:
        self.written += messages
        return 1

    def closed(self) -> bool:
        return False


async def sent(messages: int, set_back: Any) -> list[Any]:
    """Send some messages, setting the clock back after the first; return what was written within a second."""
    comm: Any = Comm()
    keep_steady(IOLoop.current())
    stream = batched.BatchedSend(interval="20ms", loop=IOLoop.current())
    stream.start(comm)
    for number in range(messages):
        stream.send(number)
        await asyncio.sleep(0.005)
        if number == 0:
            set_back()
    for _ in range(200):
        if len(comm.written) == messages:
            break
        await asyncio.sleep(0.005)
    stream.please_stop = True
    return list(comm.written)


def test_messages_are_sent_although_the_clock_was_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now, offset_s = time.time, 0.0

    def set_back() -> None:
        nonlocal offset_s
        offset_s = -3600.0

    monkeypatch.setattr(time, "time", lambda: now() + offset_s)
    monkeypatch.setattr(batched, "time", lambda: time.time())
    assert asyncio.run(sent(3, set_back)) == [0, 1, 2]
