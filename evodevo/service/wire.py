"""The service's credentials, and its requests and answers as JSON text."""

import asyncio
import copy
import functools
import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from distributed import Scheduler, Security

from evodevo.errors import UsageError
from evodevo.run.journal import JournalError

Handler = Callable[..., Coroutine[Any, Any, Any]]
Answer = TypeVar("Answer")


def security_of(scheduler: Scheduler) -> Security:
    """Return the `Security` of a client in the scheduler's process; it uses the scheduler's certificate."""
    security: Any = copy.copy(scheduler.security)
    security.tls_client_cert = security.tls_scheduler_cert
    security.tls_client_key = security.tls_scheduler_key
    found: Security = security
    return found


class Requests:
    """The requests that are being answered; `close` ends them, before what they use is closed."""

    def __init__(self) -> None:
        self._at_work: set[asyncio.Task[Any]] = set()
        self._closed = False

    def in_json(self, handler: Handler) -> Callable[[str], Awaitable[str]]:
        """Wrap a handler so that it takes its arguments, and returns its answer, as JSON text."""

        @functools.wraps(handler)
        async def answer(arguments: str) -> str:
            task = asyncio.create_task(handler(**json.loads(arguments)))
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)
            try:
                return json.dumps({"result": await task})
            except (UsageError, JournalError) as why:
                return json.dumps({"error": str(why), "shell": getattr(why, "shell", None)})
            except asyncio.CancelledError:
                if not self._closed:
                    raise
                return json.dumps({"error": "the scheduler is closing", "shell": None})

        return answer

    async def close(self) -> None:
        """Cancel the requests, and return when they have ended."""
        self._closed = True
        for task in self._at_work:
            task.cancel()
        await asyncio.gather(*self._at_work, return_exceptions=True)


async def to_its_end(function: Callable[..., Answer], *arguments: Any) -> Answer:
    """Call a function in a thread, and wait until it has returned even if the caller is cancelled."""
    calling = asyncio.create_task(asyncio.to_thread(function, *arguments))
    calling.add_done_callback(lambda it: it.cancelled() or it.exception())
    try:
        return await asyncio.shield(calling)
    finally:
        await asyncio.wait([calling])
