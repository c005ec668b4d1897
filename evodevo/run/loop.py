"""The main loop of a run, which connects pacing, journal, workers and checkpoints.

    pacing: births -> journal -> pack -> a worker -> its result -> journal -> pacing looks again

Messages that arrive while a record is being written are journaled together afterwards.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from evodevo.errors import RunFailed
from evodevo.run import packing, stopping, stragglers
from evodevo.run.assigning import assignment_of
from evodevo.run.conduct import Conduct
from evodevo.run.course import Course
from evodevo.run.crew import (
    AttemptsLost,
    Caller,
    Inbox,
    Look,
    Message,
    Needs,
    NotBegun,
    Offered,
    Reported,
    Rested,
)
from evodevo.run.events import Births, Blame, End, Event, Lost, Result
from evodevo.run.history import History
from evodevo.run.keeper import Keeper
from evodevo.run.life import Life, Mean
from evodevo.run.mending import Mending, is_remake
from evodevo.run.pacing import Pacing
from evodevo.run.pauses import pause_s
from evodevo.run.records import Assignment, Job, Outcome, WorkUnit
from evodevo.run.stragglers import Stragglers
from evodevo.run.twins import Twins

logger = logging.getLogger("evodevo.loop")


class Loop:
    """The loop of one controller, from the first birth to the last result.

    `write` puts events into the journal and then into `history`; `needs` returns what a worker must have now.
    """

    def __init__(
        self,
        history: History,
        job: Job,
        pacing: Pacing,
        keeper: Keeper,
        mending: Mending,
        caller: Caller,
        write: Callable[..., Awaitable[None]],
        needs: Callable[[], Needs],
    ) -> None:
        self._history = history
        self._job = job
        self._pacing = pacing
        self._keeper = keeper
        self._mending = mending
        self._write = write
        self._needs = needs
        self._config = history.config
        self._space = self._config.space()
        self._inbox = Inbox()
        self._crew = caller.enlist(job.run, self._inbox, job.workers)
        self._backlog = packing.Backlog()
        self._conduct = Conduct()
        self._course = Course(history, pacing.lag, pacing.strategy.judge)
        self._twins = Twins(history, self._space)
        self._troubled_on: dict[str, str] = {}
        """For each member that lost an attempt at the current leg, the worker of the last one."""
        self._resting: dict[str, asyncio.TimerHandle] = {}
        """Timers of members that pause before their next attempt."""
        self._stragglers = Stragglers(
            self._config.limits.straggler_factor if job.workers == 1 else None, job.members_per_device
        )
        self._overdue: list[tuple[str, str]] = []
        """Members whose workers take too long, each with that worker."""
        self._watch: asyncio.TimerHandle | None = None
        self._offered: list[str] = []
        self._since = time.time()
        for life in history.pending.values():
            self._begin(life)

    def dismiss(self) -> None:
        """Stop the timers, and want nothing more of workers."""
        for timer in self._resting.values():
            timer.cancel()
        if self._watch:
            self._watch.cancel()
        self._crew.dismiss()

    async def run(self) -> tuple[End, str | None]:
        """Continue the run until nothing is left to do. Raises `RunFailed`."""
        history = self._history
        await self._keeper.collect()
        stopping.check_failures(history, history.over)
        await self._share()
        await self._give_birth()
        self._look_out()
        while history.pending or (self._pacing.waiting() and not stopping.is_enough(history)):
            self._place()
            if not self._inbox or self._keeper.crowded:  # serving workers comes first
                await self._keeper.collect()
            await self._take(await self._inbox.take())
            await self._share()
            await self._give_birth()
        await self._keeper.collect()
        return "done", stopping.reason(history)

    async def _take(self, messages: Sequence[Message]) -> None:
        """Journal what the messages say, all of it together; then act on it.

        Free workers are given what is ready before that, so they do not wait for the disk.
        """
        events: list[Event] = []
        replaced: list[Event] = []
        for message in messages:
            if is_remake(message):
                replaced += await self._mending.take(message, self._inbox.put)
                self._keeper.has_strays = True
                continue
            counted = self._stragglers.filter(message, time.monotonic())
            if counted is None:
                self._keeper.has_strays = True
                continue
            match message := counted:
                case Reported():
                    events.append(self._verdict(message))
                case AttemptsLost():
                    if not await self._mending.takes_over(message):
                        events += self._losses(message)
                case Offered():
                    self._offered.append(message.worker)
                case Look():
                    self._look_out()
                case Rested():
                    del self._resting[message.member]
                    self._queue(self._history.by_id[message.member])
                case NotBegun():
                    for assignment in message.assignments:
                        self._queue(self._history.by_id[assignment.member])
        self._hand_out()
        await self._write(*replaced, *events)
        for problem in self._mending.problems():
            raise RunFailed(problem)
        for member in self._mending.freed():
            self._queue(self._history.by_id[member])
        history, over = self._history, []
        for event in events:
            assert isinstance(event, Result | Lost)
            life = history.by_id[event.member]
            if life.outcome is None:
                self._try_again(life, event)
            elif isinstance(event, Result) and not isinstance(life, Mean):
                self._pacing.over(life)
                over.append(life)
        for event in events:
            if isinstance(event, Result):
                self._keeper.note(event.outcome)
                stopping.check_budget(history, event.outcome, self._pacing.generations_kept)
        stopping.check_failures(history, over)

    def _verdict(self, message: Reported) -> Result | Lost:
        """Return the event for a report; a failure counts once the workload has failed on two workers."""
        life = self._history.by_id[message.assignment.member]
        worker, outcome = message.worker, message.outcome
        if outcome.status != "failed":
            self._troubled_on.pop(life.id, None)
            if self._conduct.succeeded(worker):
                self._crew.restore(worker)
            return self._result(message)
        if self._is_doubtful(life, worker):
            why = f"it failed on {worker}; that counts if it fails on another worker too:\n{outcome.error}"
            self._troubled_on[life.id] = worker
            self._blame_worker(worker, outcome.error or "")
            self._keeper.has_strays = True
            seconds = round(outcome.busy_s, 3)
            return Lost(life.id, why, worker=worker, seconds=seconds, blame="unconfirmed")
        self._clear(life, worker)
        self._troubled_on.pop(life.id, None)
        return self._result(message)

    def _is_doubtful(self, life: Life, worker: str) -> bool:
        """Return whether an error may be the worker's fault and another worker can tell."""
        if not self._config.limits.confirm_failures or self._job.workers > 1:
            return False
        if life.raised_on is None and self._crew.has_another(worker):
            return True
        return life.raised_on in (None, worker) and self._conduct.suspects(worker)

    def _blame_worker(self, worker: str, why: str) -> None:
        """Record a worker's failure; bench the worker if others do better."""
        seconds = self._conduct.troubled(worker)
        if seconds and self._job.workers == 1:
            lines = why.strip().splitlines() or [""]
            until = f"for {seconds:g} s" if math.isfinite(seconds) else "until it is restarted"
            said = f"it fails while others succeed, and gets no work {until}: {lines[-1]}"
            self._crew.bench(worker, seconds, said)

    def _clear(self, life: Life, worker: str) -> bool:
        """Return whether a failed member had failed on another worker before, and clear that worker if so."""
        if life.raised_on in (None, worker):
            return False
        if self._conduct.cleared(life.raised_on):
            self._crew.restore(life.raised_on)
        return True

    def _result(self, message: Reported) -> Result:
        life = self._history.by_id[message.assignment.member]
        found = self._course.result(life, message.outcome)
        if found.outcome.checkpoint != message.outcome.checkpoint:
            self._keeper.has_strays = True  # another leg's checkpoint is kept
        return replace(found, worker=message.worker, started_at=message.started_at)

    def _losses(self, message: AttemptsLost) -> list[Event]:
        """Return an event for each attempt, plus a result for each member that has used up its attempts.

        If several attempts were lost together, it is not known which was at fault: they do not count, and
        each member travels alone from then on. History therefore does not depend on which members shared a
        task. A lost worker or a failing disk does not count either.
        """
        self._keeper.has_strays = True
        seconds = round(message.seconds / len(message.assignments), 3)
        shared = len(message.assignments) > 1
        if message.cause == "worker":
            self._conduct.cleared(message.worker)  # its successor at this address is another process
        events: list[Event] = []
        lives = [self._history.by_id[assignment.member] for assignment in message.assignments]
        why, worker = message.why, message.worker
        for life in lives:
            blame = self._blame(message, life)
            events.append(Lost(life.id, why, message.preempted, shared, worker, seconds, blame))
            if not (message.preempted or shared) and self._has_had_enough(life, blame):
                events.append(Result(life.id, Outcome("failed", error=_no_end_of(life, why))))
        if not message.preempted and message.cause != "worker":
            self._troubled_on.update((life.id, worker) for life in lives)
            confirmed = [life for life in lives if message.cause == "raised" and self._clear(life, worker)]
            if not confirmed:
                self._blame_worker(worker, why)
        return events

    def _blame(self, message: AttemptsLost, life: Life) -> Blame:
        if message.cause == "raised":
            return "unconfirmed" if self._is_doubtful(life, message.worker) else "own"
        return message.cause

    def _has_had_enough(self, life: Life, blame: Blame) -> bool:
        limits = self._config.limits
        if blame == "own":
            return life.charged + 1 >= limits.max_attempts
        most = limits.max_lost_workers
        return blame == "worker" and most is not None and life.lost_workers + 1 >= most

    def _try_again(self, life: Life, event: Event) -> None:
        """Queue a member for its next leg or its next attempt, after a pause if that may help."""
        if isinstance(event, Lost) and life.unlucky and not event.preempted:
            loop, rested = asyncio.get_running_loop(), Rested(life.id)
            self._resting[life.id] = loop.call_later(pause_s(life.unlucky), self._inbox.put, rested)
        else:
            self._queue(life)

    def _begin(self, life: Life) -> None:
        """Queue a member, unless it waits for the outcome of one with the same hyperparameters."""
        if isinstance(life, Mean) or self._twins.is_first(life):
            self._queue(life)

    async def _share(self) -> None:
        """Give members the outcomes of others that they waited for."""
        for life in self._twins.freed():
            self._queue(life)
        if results := self._twins.results():
            await self._write(*results)
            lives = [self._history.by_id[result.member] for result in results]
            for life in lives:
                self._pacing.over(life)
            stopping.check_failures(self._history, lives)

    async def _give_birth(self) -> None:
        """Create all births that are possible now; between portions the event loop gets its turn."""
        history = self._history
        for averaging in self._pacing.averagings():
            await self._write(averaging)
            mean = history.means[averaging.member]
            self._pacing.averaging(mean)
            self._queue(mean)
        while births := self._pacing.births(self._places(), begin=not stopping.is_enough(history)):
            await self._write(Births(births))
            for born in births:
                life = history.by_id[born.member]
                self._pacing.born(life)
                self._begin(life)
            await self._share()

    def _places(self) -> int:
        """Return for how many members born now there would be a worker."""
        if not self._offered:
            return 0
        waiting = len(self._backlog) + self._pacing.waiting()
        size = self._unit_size(waiting, len(self._offered))
        return max(0, size * len(self._offered) - len(self._backlog))

    def _place(self) -> None:
        """Give workers on offer what is ready, and request as many more as there is work for."""
        self._hand_out()
        waiting = 0
        if not self._offered and not stopping.is_enough(self._history):
            waiting = self._pacing.waiting()
        needs = self._needs() if waiting else replace(self._needs(), avoid=self._backlog.avoided)
        units = self._mending.ready + len(self._backlog) + waiting
        if not units:
            units = len(self._overdue)
        self._crew.want(units, needs, self._backlog.preferred)
        for worker in self._offered:
            self._crew.decline(worker)
        self._offered.clear()

    def _hand_out(self) -> None:
        """Give workers on offer what is ready, checkpoints that others wait for first."""
        while self._offered and (remake := self._mending.next_unit()):
            if not self._crew.send(self._offered.pop(0), remake):
                self._mending.put_back(remake)
        avoided = []
        while self._offered and self._backlog:
            size = self._unit_size(len(self._backlog), len(self._offered))
            worker = self._offered.pop(0)
            avoids = self._backlog.is_avoided(worker) and self._crew.has_another(worker)
            lives = self._backlog.take(worker, size, not avoids)
            if not lives:  # all waiting members avoid it; a birth may use it
                avoided.append(worker)
                continue
            if not self._send(worker, lives):
                for life in lives:
                    self._queue(life)
        self._offered += avoided
        if not self._backlog:
            self._start_twice()

    def _send(self, worker: str, lives: Sequence[Life]) -> bool:
        unit = WorkUnit(self._job, [self._assignment(life) for life in lives], self._since)
        sent = self._crew.send(worker, unit)
        if sent:
            self._stragglers.sent(worker, unit.assignments, time.monotonic())
        return sent

    def _start_twice(self) -> None:
        """Start overdue members a second time, on workers that nothing else needs."""
        for member, slow in self._overdue:
            if self._offered and self._stragglers.is_alone_at(member, slow):
                other = self._offered.pop(0)
                if self._send(other, [self._history.by_id[member]]):
                    logger.warning("%s is slow on %s, so it is also started on %s", member, slow, other)
        self._overdue = [pair for pair in self._overdue if self._stragglers.is_alone_at(*pair)]

    def _look_out(self) -> None:
        """Find members whose workers take too long, and schedule the next check."""
        self._overdue = self._stragglers.overdue(time.monotonic())
        if self._config.limits.straggler_factor is not None:
            loop = asyncio.get_running_loop()
            self._watch = loop.call_later(stragglers.LOOK_EVERY_S, self._inbox.put, Look())

    def _unit_size(self, ready: int, offered: int) -> int:
        fixed = self._config.cluster.members_per_task
        if self._job.workers > 1:
            return 1
        idle = offered + self._crew.idle(ready - offered)
        at_once = self._job.members_per_device
        return packing.unit_size(
            None if fixed == "auto" else fixed, ready, idle, self._history.leg_s(), at_once
        )

    def _queue(self, life: Life) -> None:
        """Queue a member, preferably for the worker that holds its parameters in memory."""
        before = life if life.legs else self._history.by_id.get(life.birth.parent_params or "")
        self._backlog.add(life, before.worker if before else None, self._troubled_on.get(life.id))

    def _assignment(self, life: Life) -> Assignment:
        return assignment_of(self._history, self._space, life, len(life.legs))


def _no_end_of(life: Life, why: str) -> str:
    """Return the error of a member whose attempts were all lost, the last one for the reason `why`."""
    dropped = life.losses - len(life.lost)
    gap = [f"(the reasons for the first {dropped} are in the journal)"] if dropped else []
    return "\n".join(["no attempt came to an end:", *gap, *life.lost, why])
