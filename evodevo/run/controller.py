"""One run being carried out: strategy, journal, checkpoint store and dispatcher, put together.

    ask the strategy -> journal the births -> call run_epoch for each -> journal the outcomes -> tell

Everything the controller knows is in its `History`, and the history changes only by a record that is
already on disk. So a controller that is killed at any point is replaced by a new one that reads the journal.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from evodevo.errors import RunFailed, UsageError
from evodevo.evolution.rng import training_seed
from evodevo.evolution.strategies import Strategy
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.dispatch import AttemptLost, Caller, Needs, Preempted
from evodevo.run.history import End, History, Life
from evodevo.run.journal import Journal, JournalError, Record
from evodevo.run.records import Assignment, Outcome
from evodevo.run.setup import EXAMINE, EXHIBITS, JOURNAL, RENDER, RUN_EPOCH, job_of, needs_of

logger = logging.getLogger("evodevo.controller")

ENOUGH_TO_JUDGE = 5
"""Of fewer members, `limits.max_failed_fraction` in a steady run is a part of so many."""


class Controller:
    """Carries out the run in `directory`, from wherever its journal ends.

    `about` goes into the journal's `controller` record (where this controller is). With `retry`, members
    of the last generation that failed are tried again.
    """

    def __init__(
        self, directory: Path, caller: Caller, about: Mapping[str, Any], retry: bool = False
    ) -> None:
        self.directory = directory
        self.history = History()
        self._caller = caller
        self._about = {"kind": "controller", "retry": retry, **about}
        self.warnings: list[str] = []
        """What went wrong that did not stop the run."""
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="evodevo-disk")
        self._journal: Journal | None = None
        self._in_turn = asyncio.Lock()
        """Births, outcomes and the deletion of what nobody needs go one after the other."""
        self._cancelled = False

    async def carry_out(self) -> None:
        """Run to the end; when cancelled (the scheduler closes), the run can be resumed.

        Raises `JournalInUse`, `JournalError` or `Superseded`, and `OSError` where the disk fails.
        """
        opening = self._disk.submit(Journal, self.directory / JOURNAL)
        try:
            self._journal = await asyncio.shield(asyncio.wrap_future(opening))
            self.history = History.of(self._journal.records)
            if not self._journal.records:
                raise JournalError(f"{self._journal.path} is empty: the run was never begun")
            self._config = self.history.config
            self._job = job_of(self._config, self.directory, self.history.run_id)
            self._store = await self._on_disk(CheckpointStore, self._job.checkpoints_url)
            await self._write(self._about)
            status, reason = await self._evolve()
            await self._write(
                {"kind": "end", "status": status, "reason": reason, "test": await self._test(status)}
            )
            await self._render()
        except asyncio.CancelledError:
            if not self._cancelled:
                raise
            await self._end_for_user(opening)
        finally:
            await self._on_disk(_close, opening)
            self._disk.shutdown(wait=False)

    @property
    def records(self) -> Sequence[Record] | None:
        """The journal's records, all of them on disk; None before it is opened."""
        return self._journal.records if self._journal else None

    @property
    def needs(self) -> Needs:
        """What a worker must have to train a member of this run, as far as is known yet."""
        return needs_of(self.history.config, self.history.epoch_s()) if self.history.run_id else Needs()

    def wanted_workers(self) -> int:
        """How many workers the run could use from now on; between two generations still all."""
        if not self.history.run_id:
            return 1
        search, done = self.history.config.search, self.history.completed()
        if self.history.steady:
            return max(1, search.generations - done)
        if done < search.generations - 1 or len(self.history.generations) == done < search.generations:
            return search.population
        return max(1, sum(life.outcome is None for life in self.history.generations[-1]))

    def mark_cancelled(self) -> bool:
        """Say, before cancelling the task, that a user wants it: then the journal says so too.

        False where somebody said so before; cancelling a second time would interrupt the first.
        """
        first, self._cancelled = not self._cancelled, True
        return first

    async def _end_for_user(self, opening: Future[Journal]) -> None:
        """What was on its way to the disk gets there first; a run that has ended stays as it ended."""
        self._journal = await self._on_disk(opening.result)
        self.history = History.of(self._journal.records)
        if self.history.end is None:
            reason = "cancelled by a user"
            await self._write({"kind": "end", "status": "cancelled", "reason": reason, "test": {}})

    async def _evolve(self) -> tuple[End, str | None]:
        strategy = self._config.strategy()
        await self._collect()
        try:
            await (self._steadily(strategy) if strategy.steady else self._by_generations(strategy))
        except RunFailed as why:
            return "failed", str(why)
        if self.history.completed() < self._config.search.generations:
            return "done", f"limits.wall_time_s = {self._config.limits.wall_time_s:g} is used up"
        return "done", None

    async def _by_generations(self, strategy: Strategy) -> None:
        """The members of a generation are at work together; the next is born when all of them are done."""
        for generation in range(self.history.completed()):
            self._take_in(strategy, generation)
        while (generation := self.history.completed()) < self._config.search.generations:
            if self._time_is_up():
                return
            if generation == len(self.history.generations):
                await self._write(self._births(strategy, generation))
            await self._collect()
            async with _together() as members:
                for life in self.history.generations[generation]:
                    if life.outcome is None:
                        members.create_task(self._live(life))
            self._take_in(strategy, generation)
            await self._collect()

    def _take_in(self, strategy: Strategy, generation: int) -> None:
        lives = self.history.generations[generation]
        self._stop_if_too_many_failed(lives, len(lives), f"of generation {generation}")
        strategy.tell([life.as_member() for life in lives])

    async def _steadily(self, strategy: Strategy) -> None:
        """One child at a time waits for a worker, and is born when it has one, of what is known by then."""
        strategy.tell([life.as_member() for life in self.history.lives() if life.outcome])
        self._stop_if_too_many_failed_so_far()
        async with _together() as members:
            for life in list(self.history.lives()):
                if life.outcome is None:
                    members.create_task(self._live_steadily(strategy, life))
            while len(self.history.generations) < self._config.search.generations:
                if self._time_is_up():
                    return
                placed = asyncio.Event()
                members.create_task(self._be_born_and_live(strategy, placed))
                await placed.wait()

    async def _be_born_and_live(self, strategy: Strategy, placed: asyncio.Event) -> None:
        """With no birth where the time is up before there is a worker."""
        life: Life | None = None

        async def born() -> Life:
            nonlocal life
            async with self._in_turn:  # after the outcome that has freed its worker
                if self._time_is_up():
                    raise _TimeIsUp
                await self._write(self._births(strategy, len(self.history.generations)))
            life = self.history.generations[-1][0]
            placed.set()
            return life

        try:
            while life is None:
                await self._attempt(born)
        except _TimeIsUp:
            placed.set()
        else:
            await self._live_steadily(strategy, life)

    async def _live_steadily(self, strategy: Strategy, life: Life) -> None:
        await self._live(life)
        strategy.tell([life.as_member()])
        self._stop_if_too_many_failed_so_far()
        await self._collect()

    def _births(self, strategy: Strategy, generation: int) -> dict[str, Any]:
        seed = self._config.run.seed
        births = [
            {
                "genome": dict(birth.genome),
                "parent_a": birth.parent_a,
                "parent_b": birth.parent_b,
                "parent_params": birth.parent_params,
                "training_seed": training_seed(seed, generation, slot)
                if birth.training_seed is None
                else birth.training_seed,
            }
            for slot, birth in enumerate(strategy.ask(generation))
        ]
        return {"kind": "births", "generation": generation, "births": births}

    async def _live(self, life: Life) -> None:
        """Attempt after attempt, until one comes to an outcome or there were enough."""

        async def itself() -> Life:
            return life

        parent = self.history.by_id.get(life.birth.parent_params or "")
        while life.outcome is None:
            await self._attempt(itself, parent.worker if parent else None)

    async def _attempt(self, member: Callable[[], Awaitable[Life]], prefer: str | None = None) -> None:
        """One attempt at the epoch of a member, who is asked for when there is a worker."""
        life: Life | None = None

        async def assignment() -> Sequence[Assignment]:
            nonlocal life
            life = await member()
            return [self._assignment(life)]

        try:
            answer = await self._caller.call_when_free(
                self._job.run,
                RUN_EPOCH,
                assignment,
                prefer=prefer,
                timeout_s=self._job.epoch_timeout_s,
                needs=self.needs,
            )
        except AttemptLost as why:
            if life is not None:
                await self._lose(life, why)
        else:
            assert life is not None
            async with self._in_turn:
                await self._write(_outcome(life, answer.result, answer.worker, answer.started_at))
            self._stop_if_over_budget(answer.result)

    def _assignment(self, life: Life) -> Assignment:
        return Assignment(
            job=self._job,
            member=life.id,
            attempt=len(life.lost) + 1,
            hyperparameters=self._config.space().express(life.birth.genome),
            parent=self.history.parent_checkpoint(life),
            epoch=life.epoch,
            training_seed=life.training_seed,
        )

    async def _lose(self, life: Life, why: AttemptLost) -> None:
        preempted = isinstance(why, Preempted)
        await self._write({"kind": "lost", "member": life.id, "why": str(why), "preempted": preempted})
        if len(life.lost) - life.preempted >= self._config.limits.max_attempts:
            error = "no attempt came to an end:\n" + "\n".join(life.lost)
            await self._write(_outcome(life, Outcome("failed", error=error), None, None))

    def _time_is_up(self) -> bool:
        limit = self._config.limits.wall_time_s
        return limit is not None and self.history.elapsed_s > limit

    def _stop_if_too_many_failed_so_far(self) -> None:
        """In a steady run, whose generations have one member each."""
        done = [life for life in self.history.lives() if life.outcome]
        if len(done) >= ENOUGH_TO_JUDGE or len(done) == self._config.search.generations:
            self._stop_if_too_many_failed(done, len(done), "so far")
        elif done:
            self._stop_if_too_many_failed(done, ENOUGH_TO_JUDGE, "at the beginning")

    def _stop_if_too_many_failed(self, lives: Sequence[Life], of: int, which: str) -> None:
        """Raises `RunFailed`, with the first one's error."""
        failed = [life for life in lives if life.status == "failed"]
        if len(failed) > self._config.limits.max_failed_fraction * of:
            raise RunFailed(
                f"{len(failed)} of {len(lives)} members {which} failed "
                f"(limits.max_failed_fraction = {self._config.limits.max_failed_fraction:g}); "
                f"{_first_error(failed)}"
            )
        if of == len(lives) and not any(life.fom is not None for life in lives):
            fate = f"{len(failed)} failed, {len(lives) - len(failed)} diverged; {_first_error(failed)}"
            raise RunFailed(
                f"no member {which} has a finite {self._job.metric}: {fate if failed else 'all diverged'}"
            )

    def _stop_if_over_budget(self, outcome: Outcome) -> None:
        """Two generations and the best can be there at once; better said at the first checkpoint."""
        budget = self._config.checkpoints.max_bytes
        if budget is None or outcome.checkpoint is None:
            return
        needed = outcome.checkpoint.size_bytes * (2 * self._config.search.population + 1)
        if needed > budget:
            raise RunFailed(
                f"checkpoints of {outcome.checkpoint.size_bytes:,} bytes need up to {needed:,} bytes for a "
                f"population of {self._config.search.population}; checkpoints.max_bytes is {budget:,}"
            )

    async def _collect(self) -> None:
        """Delete the checkpoints that nothing needs. A store that fails now is tried again next time."""
        async with self._in_turn:  # who is born meanwhile could publish, and is not among the pending
            pending = [life.id for life in self.history.lives() if life.outcome is None]
            try:
                await self._on_disk(self._store.collect, self.history.needed_checkpoints(), pending)
            except OSError as why:
                logger.warning("run %s: could not delete old checkpoints: %s", self._job.run, why)

    async def _test(self, status: End) -> dict[str, float]:
        """Metrics of the best member on the test split, which nothing was selected by; and its exhibits."""
        best = self.history.best
        if status != "done" or best is None or best.outcome is None or best.outcome.checkpoint is None:
            return {}
        hyperparameters = self._config.space().express(best.birth.genome)
        for _ in range(self._config.limits.max_attempts):
            try:
                answer = await self._caller.call(
                    self._job.run,
                    EXAMINE,
                    self._job,
                    best.outcome.checkpoint,
                    hyperparameters,
                    str(self.directory / EXHIBITS),
                    needs=self.needs,
                )
            except (AttemptLost, UsageError) as why:
                logger.warning("run %s: test evaluation: %s", self._job.run, why)
            else:
                metrics: dict[str, float] = answer.result
                return metrics
        return {}

    async def _render(self) -> None:
        """Tables, schedule, best checkpoint and plots; they can be made again with `evodevo report`."""
        try:
            await self._caller.call(self._job.run, RENDER, str(self.directory))
        except (AttemptLost, UsageError) as why:
            logger.warning("run %s: no report: %s", self._job.run, why)
            self.warnings.append(f"no report (`evodevo report {self._job.run}` makes it): {why}")

    async def _write(self, record: Mapping[str, Any]) -> None:
        """First to disk, then into the history."""
        assert self._journal is not None
        self.history.apply(await self._on_disk(self._journal.append, record))

    async def _on_disk(self, function: Any, *arguments: Any) -> Any:
        """Run a file operation off the event loop, one after the other; once begun it is not interrupted."""
        return await asyncio.shield(
            asyncio.get_running_loop().run_in_executor(self._disk, function, *arguments)
        )


class _TimeIsUp(Exception):
    pass


@asynccontextmanager
async def _together() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group that raises what the first of its tasks raised."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from several


def _close(opening: Future[Journal]) -> None:
    """Close the journal that was, or was not, opened; it runs after the opening, on the same thread."""
    if opening.exception() is None:
        opening.result().close()


def _outcome(life: Life, outcome: Outcome, worker: str | None, started_at: float | None) -> dict[str, Any]:
    return {
        "kind": "outcome",
        "member": life.id,
        "outcome": outcome.to_json(),
        "worker": worker,
        "started_at": started_at,
    }


def _first_error(failed: Sequence[Life]) -> str:
    """What the first of those that failed says; nothing where none did."""
    return "".join(f"the first, {life.id}:\n{life.outcome.error}" for life in failed[:1] if life.outcome)
