"""Waiting for futures of Dask, without harm to others who wait in the same client."""

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
    """Why a task left work undone, and whose fault that was."""

    why: str
    cause: Cause


async def end_of(future: Future, worker: str) -> Undone | Unfit | None:
    """Wait until a unit's task is over; return why it left work undone, None if it ended by itself."""
    why = await future.exception()
    if isinstance(why, Unfit):
        return why
    if future.cancelled():
        return Undone(f"the call on {worker} was cancelled in the scheduler", "worker")
    return Undone(f"{type(why).__name__} on {worker}: {why}", blame(why)) if why else None


def blame(why: BaseException) -> Cause:
    """Return whose fault it is that a task failed; what Dask itself raises is about its worker."""
    return "worker" if type(why).__module__.startswith("distributed") else cause_of(why)


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
