"""What a controller needs of workers: how it asks for them, what it hears of them, where it waits for it."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from evodevo.run.blame import Cause
from evodevo.run.records import Assignment, Outcome, WorkUnit


@dataclass(frozen=True)
class Offered:
    """A worker (of a team its first) is there for the run until the run gives it work or declines it."""

    worker: str


@dataclass(frozen=True)
class Reported:
    """An attempt came to its end, begun at `started_at` (seconds since the epoch)."""

    assignment: Assignment
    outcome: Outcome
    worker: str
    started_at: float


@dataclass(frozen=True)
class AttemptsLost:
    """Attempts that came to no result: a lost worker, a failing disk, a time limit.

    `preempted`: the worker had said that it must go. `seconds`: how long it had been at them. `cause`: whose
    fault that was, as far as one can tell from here.
    """

    assignments: Sequence[Assignment]
    worker: str
    why: str
    preempted: bool
    seconds: float
    cause: Cause = "own"


@dataclass(frozen=True)
class NotBegun:
    """Assignments that a worker was given and did not begin."""

    assignments: Sequence[Assignment]
    worker: str | None = None


@dataclass(frozen=True)
class Rested:
    """The pause of a member that lost an attempt is over."""

    member: str


@dataclass(frozen=True)
class Look:
    """It is time to look whether a worker takes too long."""


Message = Offered | Reported | AttemptsLost | NotBegun | Rested | Look


class Inbox:
    """Messages for one controller. For one event loop."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._some = asyncio.Event()

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: Message) -> None:
        self._messages.append(message)
        self._some.set()

    async def take(self) -> list[Message]:
        """Wait for messages; return all that are there, oldest first."""
        await self._some.wait()
        self._some.clear()
        messages, self._messages = self._messages, []
        return messages


class AttemptLost(Exception):
    """A call on `worker` came to no result; it may do better next time. `cause`: whose fault that was."""

    def __init__(self, why: str, worker: str = "", cause: Cause = "raised") -> None:
        super().__init__(why)
        self.worker = worker
        self.cause = cause

    @property
    def is_infrastructure(self) -> bool:
        """Whether it says nothing about what was called."""
        return self.cause in ("worker", "disk")


@dataclass(frozen=True)
class Needs:
    """What a worker must have to be given work: a GPU, and time for `seconds` (None: not known yet).

    `run`: a worker that this run has refused will not do. `avoid`: a worker that will do only if there is no
    other one that does.
    """

    gpu: bool = False
    seconds: float | None = None
    run: str = ""
    avoid: str | None = None


ANYTHING = Needs()


class Crew(Protocol):
    """The workers that a run has, by and by."""

    def want(self, workers: int, needs: Needs, preferred: Collection[str]) -> None:
        """Say how many workers (or teams) the run could use now, apart from those at work.

        Each comes as `Offered` when it is free; those in `preferred` come first.
        """
        ...

    def idle(self, most: int) -> int:
        """Return how many workers do nothing now, apart from those that are offered; `most` is enough."""
        ...

    def send(self, worker: str, unit: WorkUnit) -> bool:
        """Give a worker that was offered a unit; False if it is gone."""
        ...

    def decline(self, worker: str) -> None:
        """Give a worker back that was offered."""
        ...

    def has_another(self, worker: str) -> bool:
        """Return whether some other worker, at work or not, has what the run needs."""
        ...

    def bench(self, worker: str, seconds: float, why: str) -> None:
        """Have no work for a worker for so long; if they are infinite, as long as it is connected."""
        ...

    def restore(self, worker: str) -> None:
        """A worker that was benched may have work again."""
        ...

    def dismiss(self) -> None:
        """Want nothing any more. Workers that are at work for the run are restarted."""
        ...


class Caller(Protocol):
    """What a controller needs of a dispatcher."""

    async def call(self, run: str, function: str, *arguments: Any, needs: Needs = ANYTHING) -> Any:
        """Call `module:function` on the next free worker that has what it needs; return its result.

        Raises `AttemptLost`, or the `UsageError` that the function raised.
        """
        ...

    def enlist(self, run: str, inbox: Inbox, at_once: int = 1) -> Crew:
        """Return the run's crew, which will report to `inbox`; a unit takes so many workers at once."""
        ...
