"""Interface between a controller and its workers: requests, messages, and the inbox that holds them."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from evodevo.run.blame import Cause
from evodevo.run.records import Assignment, Outcome, WorkUnit


@dataclass(frozen=True)
class Offered:
    """A worker (of a team, the first) is reserved for the run until the run sends it work or declines it."""

    worker: str


@dataclass(frozen=True)
class Reported:
    """An attempt that began at `started_at` (seconds since the epoch) ran to its end."""

    assignment: Assignment
    outcome: Outcome
    worker: str
    started_at: float


@dataclass(frozen=True)
class AttemptsLost:
    """Attempts that ended without a result: a lost worker, a failing disk, a time limit.

    `preempted`: the worker had announced that it must leave. `seconds`: how long it had worked on them.
    `cause`: what was at fault, as far as the sender can tell.
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
    """It is time to check whether a worker takes too long."""


Message = Offered | Reported | AttemptsLost | NotBegun | Rested | Look


class Inbox:
    """Messages for one controller, on one event loop."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._some = asyncio.Event()

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: Message) -> None:
        self._messages.append(message)
        self._some.set()

    async def take(self) -> list[Message]:
        """Wait for messages; return all that have arrived, oldest first."""
        await self._some.wait()
        self._some.clear()
        messages, self._messages = self._messages, []
        return messages


class AttemptLost(Exception):
    """A call on `worker` ended without a result; the next one may succeed. `cause`: what was at fault."""

    def __init__(self, why: str, worker: str = "", cause: Cause = "raised") -> None:
        super().__init__(why)
        self.worker = worker
        self.cause = cause

    @property
    def is_infrastructure(self) -> bool:
        """Whether the loss says nothing about the function that was called."""
        return self.cause in ("worker", "disk")


@dataclass(frozen=True)
class Needs:
    """Requirements on a worker: a GPU, and time for `seconds` of work (None: not known yet).

    `run`: a worker that this run has refused does not qualify. `avoid`: a worker that qualifies only if no
    other one does.
    """

    gpu: bool = False
    seconds: float | None = None
    run: str = ""
    avoid: str | None = None


ANYTHING = Needs()


class Crew(Protocol):
    """The workers of one run, which are offered to it as they become free."""

    def want(self, workers: int, needs: Needs, preferred: Collection[str]) -> None:
        """Set how many workers (or teams) the run could use now, in addition to those at work.

        Each arrives as `Offered` when it is free; those in `preferred` come first.
        """
        ...

    def idle(self, most: int) -> int:
        """Return how many workers are idle, not counting those on offer, up to `most`."""
        ...

    def send(self, worker: str, unit: WorkUnit) -> bool:
        """Send a unit to a worker on offer; return False if the worker is gone."""
        ...

    def decline(self, worker: str) -> None:
        """Release a worker on offer."""
        ...

    def has_another(self, worker: str) -> bool:
        """Return whether another worker, busy or not, meets the run's needs."""
        ...

    def bench(self, worker: str, seconds: float, why: str) -> None:
        """Withhold work from a worker for `seconds`; if they are infinite, until it disconnects."""
        ...

    def restore(self, worker: str) -> None:
        """End the bench of a worker."""
        ...

    def dismiss(self) -> None:
        """Request no more workers, and restart those that are at work for the run."""
        ...


class Caller(Protocol):
    """The part of a dispatcher that a controller uses."""

    async def call(self, run: str, function: str, *arguments: Any, needs: Needs = ANYTHING) -> Any:
        """Call `module:function` on the next free worker that meets `needs`; return its result.

        Raises `AttemptLost`, or the `UsageError` that the function raised.
        """
        ...

    def enlist(self, run: str, inbox: Inbox, at_once: int = 1) -> Crew:
        """Return the run's crew, which reports to `inbox`; each unit takes `at_once` workers."""
        ...
