"""Run work units on Dask workers: send one unit to each at a time, receive results, and detect losses.

Deliberate choices about Dask: a unit is restricted to the one worker that is free for it, so nothing is
stolen and a lost worker takes down only its own unit; keys are unique, so equal units stay separate;
functions are sent as import paths and arguments are small records, so no weights cross the wire. Results
arrive on the worker's own stream to the scheduler as soon as they exist; the end of a task follows on the
same stream, so it never overtakes them. Dask's own retries are not used: the controller decides whether to
try again, after the loss is in the journal. A member that several workers train is one unit, which the first
of them reports; `evodevo.run.gangs` manages the others.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import math
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from evodevo.errors import Unfit, UsageError
from evodevo.run.crew import ANYTHING, AttemptLost, AttemptsLost, Inbox, Needs, Reported
from evodevo.run.gangs import GRACE_S, Others
from evodevo.run.pool import Claim, Pool
from evodevo.run.posting import Posting, label, loss
from evodevo.run.records import STREAM, Outcome, WorkUnit
from evodevo.run.roster import Presence, Roster
from evodevo.run.setup import FOLLOW, LEAD, RUN_UNIT
from evodevo.run.share import Share
from evodevo.run.waiting import Undone, blame, end_of, first_of, result_of

if TYPE_CHECKING:
    from distributed import Client, Future, Scheduler

logger = logging.getLogger("evodevo.dispatch")

LONGEST_WAIT_S = 3600.0
QUEUED_S = 10.0
"""A run is called queued if it has sent nothing for this long; those that take turns on a worker are not."""


class Dispatcher:
    """Dispatches the work of all runs to the workers of one scheduler, in the scheduler's event loop."""

    def __init__(self, scheduler: Scheduler, client: Client, clock: Callable[[], float] = time.time) -> None:
        self._scheduler = scheduler
        self._client = client
        self.roster = Roster(clock)
        self._pool = Pool()
        self._postings: dict[str, Posting] = {}
        self._posted_at: dict[str, float] = {}
        """When each run sent its last unit."""
        self._background: set[asyncio.Task[None]] = set()
        scheduler.stream_handlers[STREAM] = self._receive
        for worker in scheduler.workers:
            self.worker_joined(worker)

    def idle(self) -> set[str]:
        """Return the workers that are idle."""
        return set(self._pool.free)

    def why_queued(self, run: str) -> list[str]:
        """Return why a run has had no worker lately although there are some; empty if that is not so."""
        lately = time.monotonic() - self._posted_at.get(run, -math.inf) < QUEUED_S
        queued = not lately and self._pool.all_busy_elsewhere(run)
        return ["all workers are busy with other runs"] if queued else []

    def worker_joined(self, worker: str) -> None:
        """Offer a worker that has connected to the runs, unless it cannot take part."""
        problem = self.roster.join(worker, self._scheduler.workers[worker].extra.get("evodevo"))
        if problem:
            logger.warning("worker %s gets no work: %s", worker, problem)
        else:
            self._pool.join(worker)

    def worker_leaves(self, worker: str, why: str) -> None:
        """Let a worker that must leave finish its leg, give it no other, and close it."""
        present = self.roster.get(worker)
        if present is None or present.leaving:
            return
        logger.warning("worker %s leaves: %s", worker, why)
        present.leaving = why
        if not self._pool.at_work(worker):
            self._scheduler.close_worker(worker)
        self._pool.leave(worker)

    def worker_left(self, worker: str) -> None:
        """Forget a worker that has disconnected; what it had not reported is lost."""
        self._pool.leave(worker)
        self.roster.leave(worker)
        self._pool.match()  # a worker that was avoided may be the best one now

    def enlist(self, run: str, inbox: Inbox, at_once: int = 1) -> Share:
        """Return a run's share of the workers; its messages go to `inbox`.

        `at_once`: number of workers that train a member together.
        """
        return Share(self, self._pool, self.roster, run, inbox, at_once)

    async def call(self, run: str, function: str, *arguments: Any, needs: Needs = ANYTHING) -> Any:
        """Call a function on a worker; raise its `UsageError` only if another fit worker raises one too."""
        refusal: UsageError | None = None
        while True:
            worker = await self._next_free(run, needs)
            try:
                return await self._call(run, worker, function, arguments)
            except Unfit:  # that worker has been refused; another one may be fit
                needs = replace(needs, run=run)
            except UsageError as why:
                if refusal or not self.roster.has_another(worker, needs):
                    raise refusal or why from None
                refusal, needs = why, replace(needs, avoid=worker)

    def post(self, run: str, worker: str, unit: WorkUnit, inbox: Inbox) -> Posting | None:
        """Send a unit to a worker (or team) that was offered; return None if the worker has left."""
        present = self.roster.get(worker)
        if present is None or present.leaving:
            return None
        _, *others = self._pool.use(worker)
        self._posted_at[run] = time.monotonic()
        key = f"{run}-{label(unit)}-{uuid.uuid4().hex[:12]}"
        text = unit.to_text()
        posting = self._postings[key] = Posting(
            unit,
            worker,
            present,
            self._submit(key, worker, LEAD if others else RUN_UNIT, (text,)),
            inbox,
            dict.fromkeys(range(len(unit.assignments))),
            time.monotonic(),
        )
        if others:
            there = [(one, found) for one in others if (found := self.roster.get(one))]
            posting.others = Others(there, _GangOperations(self, run, key, text))
        posting.task = asyncio.create_task(self._follow(key, run, posting))
        posting.task.add_done_callback(lambda _: self._abandon_unstarted(key))
        return posting

    async def close(self) -> None:
        """Stop restarting workers and waiting for gangs, before the scheduler closes."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    async def _next_free(self, run: str, needs: Needs) -> str:
        """Wait for a suitable worker; the caller must release it."""
        offer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        claim = Claim(run, offer.set_result, lambda worker: self.roster.suits(worker, needs), wants=1)
        self._pool.claim(claim)
        try:
            worker = await offer
        except asyncio.CancelledError:
            self._pool.withdraw(claim)
            raise
        held = worker in claim.offered
        claim.offered.discard(worker)
        self._pool.withdraw(claim)
        if not held:
            raise _lost_before_call(worker)
        return worker

    async def _call(self, run: str, worker: str, function: str, arguments: tuple[Any, ...]) -> Any:
        """Call a function on a worker, and release it. Raises `AttemptLost`, `UsageError` or `Unfit`."""
        present = self.roster.get(worker)
        if present is None:
            raise _lost_before_call(worker)
        self._pool.use(worker)
        future = self._submit(
            f"{run}-{function.partition(':')[2]}-{uuid.uuid4().hex}", worker, function, arguments
        )
        result = asyncio.create_task(result_of(future))
        try:
            await first_of(result, None, present.lost)
        except asyncio.CancelledError:
            result.cancel()
            self._abandon(worker, present, future)
            raise
        if not result.done():
            result.cancel()
            future.release()
            raise AttemptLost(loss(worker, present.leaving), worker, "worker")
        future.release()
        failure = None if result.cancelled() else result.exception()
        if isinstance(failure, Unfit):
            self._refuse(run, worker, present, failure)
        self._release(worker, present)
        if result.cancelled():
            raise AttemptLost(f"the call on {worker} was cancelled in the scheduler", worker, "worker")
        try:
            return result.result()
        except (UsageError, Unfit):
            raise
        except Exception as why:
            said = loss(worker, present.leaving, f"{type(why).__name__} on {worker}: {why}")
            raise AttemptLost(said, worker, "worker" if present.leaving else blame(why)) from why

    def _receive(self, worker: str, key: str, reports: str) -> None:
        """Handle a worker's reports about the unit with this key; the scheduler calls this, in order."""
        posting = self._postings.get(key)
        if posting is None or posting.worker != worker:
            return  # the run is over or has abandoned the unit
        posting.progress_at = time.monotonic()
        try:
            self._handle_reports(posting, json.loads(reports))
        except Exception as why:  # raised from here, it would close the worker's stream
            logger.exception("worker %s sent reports that cannot be parsed", worker)
            posting.malformed = f"worker {worker} sent reports that cannot be parsed: {why}"

    def _handle_reports(self, posting: Posting, reports: Sequence[Mapping[str, Any]]) -> None:
        """Put outcomes and losses into the run's inbox; release the worker after the last of the unit."""
        worker = posting.worker
        for report in reports:
            index = report["index"]
            if "gang" in report and posting.others:
                posting.others.begin(*report["gang"])
            posting.began = max(posting.began, index)
            if index not in posting.unreported or not ("outcome" in report or "lost" in report):
                continue
            del posting.unreported[index]
            assignment = posting.unit.assignments[index]
            if "lost" in report:
                why = loss(worker, posting.leaving, report["lost"])
                preempted = posting.leaving is not None
                seconds, cause = report["seconds"], report.get("cause", "own")
                posting.inbox.put(AttemptsLost([assignment], worker, why, preempted, seconds, cause))
            else:
                outcome = Outcome.from_json(report["outcome"])
                posting.inbox.put(Reported(assignment, outcome, worker, report["started_at"]))
            if not posting.unreported:
                self._release(worker, posting.present)  # the task is ending; the next one may be sent

    async def _follow(self, key: str, run: str, posting: Posting) -> None:
        """Wait until a unit has ended, was lost or exceeded its time; settle what it has not reported."""
        worker, present, future, others = posting.worker, posting.present, posting.future, posting.others
        ends = [present.lost] if others is None else [present.lost, others.broken]
        result = asyncio.create_task(end_of(future, worker))
        try:
            while not (result.done() or posting.left_s() <= 0 or any(end.is_set() for end in ends)):
                await first_of(result, min(posting.left_s(), LONGEST_WAIT_S), *ends)
            if others and others.broken.is_set():
                await first_of(result, GRACE_S, present.lost)
            if others and result.done() and posting.unreported:
                await others.settle()  # the news that one was unfit may arrive later
        except asyncio.CancelledError:
            result.cancel()
            self._end_early(posting)
            return
        finally:
            del self._postings[key]
        if result.done() or not posting.unreported:
            future.release()
            if posting.unreported:
                self._settle_ended(run, posting, result.result())
        elif present.lost.is_set():
            future.release()
            posting.settle(Undone(f"worker {worker} was lost", "worker"))
        else:
            self._abandon(worker, present, future)
            each = posting.unit.job.epoch_timeout_s
            late = f"worker {worker} overran limits.epoch_timeout_s = {each or 0:g} and was restarted"
            posting.settle(others.why if others and others.broken.is_set() else Undone(late, "own"))
        result.cancel()
        if others:
            self._in_background(others.settle())

    def _settle_ended(self, run: str, posting: Posting, why: Undone | Unfit | None) -> None:
        """Settle a unit whose task has ended without reporting all of it, for the reason `why` if known."""
        worker, present, others = posting.worker, posting.present, posting.others
        why = Undone(posting.malformed, "raised") if posting.malformed else why
        if isinstance(why, Unfit):
            self._refuse(run, worker, present, why)
            why = None  # nothing was lost: unreported assignments are queued again
        elif others:
            why = None if others.unfit else others.why or why
        elif why and present.lost.is_set():
            why = replace(why, cause="worker")
        self._release(worker, present)
        posting.settle(why)

    def _abandon_unstarted(self, key: str) -> None:
        """Abandon a unit whose `_follow` was cancelled before it started, because the run was over."""
        if posting := self._postings.pop(key, None):
            self._end_early(posting)

    def _end_early(self, posting: Posting) -> None:
        """End a unit whose run is over; workers with unreported work are restarted."""
        if posting.unreported:
            self._abandon(posting.worker, posting.present, posting.future)
            if posting.others:
                posting.others.end()
            return
        posting.future.release()
        if posting.others:
            self._in_background(posting.others.settle())

    def _refuse(self, run: str, worker: str, present: Presence, why: Unfit) -> None:
        """Exclude a worker from a run, before it is released and would be offered to that run again."""
        logger.warning("worker %s gets no work from run %s: %s", worker, run, why)
        if self.roster.get(worker) is present:
            self.roster.refuse(run, worker, str(why))

    def _release(self, worker: str, present: Presence) -> None:
        """Release a worker, unless it is gone and another one has come with its address."""
        if self.roster.get(worker) is not present:
            return
        if present.leaving:
            self._scheduler.close_worker(worker)
        else:
            self._pool.release(worker)

    def _abandon(self, worker: str, present: Presence, future: Future) -> None:
        """Restart the worker's process, because the thread of an unwanted call cannot be stopped.

        The worker gets no other work until then. One without a nanny has to finish the call first.
        """
        self._in_background(self._restart_or_wait(worker, present, future))

    async def _restart_or_wait(self, worker: str, present: Presence, future: Future) -> None:
        """Restart a worker; wait for the end of its call if it has no nanny that would start it again."""
        state = self._scheduler.workers.get(worker)
        if state is not None and state.nanny:
            await self._scheduler.restart_workers(
                [worker], wait_for_workers=False, on_error="return", stimulus_id=f"evodevo-{uuid.uuid4().hex}"
            )
            future.release()
            return
        await future.exception()
        future.release()
        self._release(worker, present)

    def _in_background(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine as a task that `close` cancels."""
        task = asyncio.create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _submit(self, key: str, worker: str, function: str, arguments: tuple[Any, ...]) -> Future:
        return self._client.submit(
            call_by_path,
            function,
            arguments,
            key=key,
            workers=[worker],
            allow_other_workers=False,
            pure=False,
        )


@dataclass(frozen=True)
class _GangOperations:
    """The operations on the other workers of a gang that the dispatcher lends to `evodevo.run.gangs`."""

    dispatcher: Dispatcher
    run: str
    key: str
    text: str

    def submit(self, worker: str, rank: int, host: str, port: int) -> Future:
        return self.dispatcher._submit(f"{self.key}-{rank}", worker, FOLLOW, (self.text, rank, host, port))

    def free(self, worker: str, present: Presence) -> None:
        self.dispatcher._release(worker, present)

    def refuse(self, worker: str, present: Presence, why: Unfit) -> None:
        self.dispatcher._refuse(self.run, worker, present, why)

    def abandon(self, worker: str, present: Presence, future: Future) -> None:
        self.dispatcher._abandon(worker, present, future)


def _lost_before_call(worker: str) -> AttemptLost:
    """Return the error for a worker that was lost between its offer and its use."""
    return AttemptLost(f"worker {worker} was lost before it was given the call", worker, "worker")


def call_by_path(path: str, arguments: tuple[Any, ...]) -> Any:
    """Import `module:function` and call it; this runs on the worker.

    An exception that is not an `Exception` is raised as one, because some would end the worker, and its
    client's task with it.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)(*arguments)
    except Exception:
        raise
    except BaseException as why:
        raise RuntimeError(f"{type(why).__name__}: {why}") from None
