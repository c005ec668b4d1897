"""Calls that ask `Places` for workers, and books of who holds what."""

import asyncio
from collections import Counter
from dataclasses import dataclass

from evodevo.run.places import Places

RUNS = ("one", "two", "three")


@dataclass(eq=False)
class Call:
    run: str
    prefer: str | None
    task: asyncio.Task[str]

    @property
    def worker(self) -> str | None:
        """The worker that it holds."""
        done = self.task.done() and not self.task.cancelled()
        return self.task.result() if done else None


class Hall:
    """Calls on the workers of one `Places`."""

    def __init__(self, *workers: str) -> None:
        self.places = Places()
        self.calls: list[Call] = []
        for worker in workers:
            self.places.join(worker)

    def ask(self, run: str, prefer: str | None = None, suits: str | None = None) -> Call:
        """`suits`: the workers that do, as one text; all of them where nothing is said."""
        fit = (lambda worker: True) if suits is None else (lambda worker: worker in suits)
        call = Call(run, prefer, asyncio.create_task(self.places.take(run, prefer, fit)))
        self.calls.append(call)
        return call

    async def settled(self) -> None:
        """Everything that can happen now has happened, and the books agree."""
        for _ in range(4):
            await asyncio.sleep(0)
        held = Counter(call.worker for call in self.holding)
        assert all(count == 1 for count in held.values()), f"two calls hold one worker: {held}"
        assert self.places.workers >= set(held)
        if self.waiting:
            assert self.places.workers == set(held), "a call waits while a worker is free"
        for run in RUNS:
            assert self.places.busy(run) == sum(call.run == run for call in self.holding)

    @property
    def holding(self) -> list[Call]:
        return [call for call in self.calls if call.worker]

    @property
    def waiting(self) -> list[Call]:
        return [call for call in self.calls if not call.task.done()]

    def finish(self, call: Call) -> None:
        assert call.worker is not None
        self.calls.remove(call)
        self.places.give_back(call.worker)

    async def cancel(self, call: Call) -> None:
        call.task.cancel()
        await asyncio.wait([call.task])
        assert call.task.cancelled()
        self.calls.remove(call)

    async def free(self) -> set[str]:
        """Which workers can be had at once: they are taken, all, and given back."""
        workers = self.places.workers - {call.worker for call in self.holding}
        calls = [self.ask("three") for _ in workers]
        await self.settled()
        had = {call.worker for call in calls if call.worker}
        for call in calls:
            self.finish(call)
        return had

    async def close(self) -> None:
        for call in self.waiting:
            await self.cancel(call)
