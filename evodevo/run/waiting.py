"""Wait for Dask futures without disturbing others that wait in the same client."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evodevo.errors import Unfit
from evodevo.run.blame import Cause, cause_of

if TYPE_CHECKING:
    from distributed import Future


@dataclass(frozen=True)
class Undone:
    """Why a task left work undone, and what was at fault."""

    why: str
    cause: Cause


async def end_of(future: Future, worker: str) -> Undone | Unfit | None:
    """Wait until a unit's task has ended; return why it left work undone, or None if it ended normally."""
    why = await future.exception()
    if isinstance(why, Unfit):
        return why
    if future.cancelled():
        return Undone(f"the call on {worker} was cancelled in the scheduler", "worker")
    return Undone(f"{type(why).__name__} on {worker}: {why}", blame(why)) if why else None


def blame(why: BaseException) -> Cause:
    """Return the cause of a task's failure; errors of Dask itself are attributed to its worker."""
    return "worker" if type(why).__module__.startswith("distributed") else cause_of(why)


async def result_of(future: Future) -> Any:
    """Wait for a result, shielded: all waiters of a client share a request, which none must cancel."""
    waiting = asyncio.ensure_future(_awaited(future))
    waiting.add_done_callback(lambda it: it.cancelled() or it.exception())  # possibly nobody waits any more
    return await asyncio.shield(waiting)


async def _awaited(future: Future) -> Any:
    return await future


async def first_of(result: asyncio.Task[Any], timeout_s: float | None, *events: asyncio.Event) -> None:
    """Wait until `result` is done, an event is set (such as a lost worker), or `timeout_s` has passed."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait([result, *waiting], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()
