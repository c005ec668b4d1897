"""The service's credentials, and its requests and answers as JSON text."""

import copy
import functools
import json
from collections.abc import Awaitable, Callable
from typing import Any

from distributed import Scheduler, Security

from evodevo.errors import UsageError
from evodevo.run.journal import JournalError

Handler = Callable[..., Awaitable[Any]]


def security_of(scheduler: Scheduler) -> Security:
    """Return the `Security` of a client in the scheduler's process; it uses the scheduler's certificate."""
    security: Any = copy.copy(scheduler.security)
    security.tls_client_cert = security.tls_scheduler_cert
    security.tls_client_key = security.tls_scheduler_key
    found: Security = security
    return found


def in_json(handler: Handler) -> Handler:
    """Wrap a handler so that it takes its arguments, and returns its answer, as JSON text."""

    @functools.wraps(handler)
    async def answer(arguments: str) -> str:
        try:
            return json.dumps({"result": await handler(**json.loads(arguments))})
        except (UsageError, JournalError) as why:
            return json.dumps({"error": str(why), "shell": getattr(why, "shell", None)})

    return answer
