"""Waiting for futures of Dask, without harm to others who wait in the same client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from evodevo.errors import Unfit

if TYPE_CHECKING:
    from distributed import Future


async def end_of(future: Future, worker: str) -> str | Unfit | None:
    """Wait until a unit's task is over; return why it left work undone, None if it ended by itself."""
    why = await future.exception()
    if isinstance(why, Unfit):
        return why
    if future.cancelled():
        return f"the call on {worker} was cancelled in the scheduler"
    return f"{type(why).__name__} on {worker}: {why}" if why else None


async def result_of(future: Future) -> Any:
    """Wait for a result. Shielded: all who wait in a client share a request, and one must not cancel it."""
    waiting = asyncio.ensure_future(_awaited(future))
    waiting.add_done_callback(lambda it: it.cancelled() or it.exception())  # it may be that nobody waits
    return await asyncio.shield(waiting)


async def _awaited(future: Future) -> Any:
    return await future


async def first_of(result: asyncio.Task[Any], timeout_s: float | None, *events: asyncio.Event) -> None:
    """Wait until the call has ended, one of the events has come (its worker is lost), or time is over."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait([result, *waiting], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()
