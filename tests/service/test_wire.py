"""Requests to a service that is closed while it answers them."""

import asyncio
import json
import threading

import pytest

from evodevo.service.wire import Requests, to_its_end


def test_a_request_has_ended_when_the_service_is_closed_and_its_client_is_told() -> None:
    ended: list[str] = []

    async def evodevo_wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("request")

    async def story() -> str:
        requests = Requests()
        answer = asyncio.create_task(requests.in_json(evodevo_wait)("{}"))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await requests.close()
        ended.append("service")
        return await answer

    assert "closing" in json.loads(asyncio.run(story()))["error"]
    assert ended == ["request", "service"]


def test_a_caller_that_is_cancelled_waits_until_its_thread_has_returned() -> None:
    begun, may_end, done = threading.Event(), threading.Event(), threading.Event()

    def create() -> None:
        begun.set()
        may_end.wait()
        done.set()

    async def story() -> None:
        creating = asyncio.create_task(to_its_end(create))
        await asyncio.to_thread(begun.wait)
        creating.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        is_early = creating.done()
        may_end.set()
        assert not is_early
        with pytest.raises(asyncio.CancelledError):
            await creating
        assert done.is_set()

    asyncio.run(story())


def test_what_a_thread_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(to_its_end(divmod, 1, 0))
