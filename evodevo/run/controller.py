"""One run being carried out: strategy, journal, checkpoint store and dispatcher, put together.

    ask the strategy -> journal the births -> call run_epoch for each -> journal the outcomes -> tell

Everything the controller knows is in its `History`, and the history changes only by a record that is
already on disk. So a controller that is killed at any point is replaced by a new one that reads the journal.
"""

import asyncio
import logging
import shutil
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from evodevo.config import RunConfig
from evodevo.errors import RunFailed, UsageError
from evodevo.evolution.rng import training_seed
from evodevo.evolution.strategies import Strategy
from evodevo.run import files
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.dispatch import AttemptLost, Caller, Needs, Preempted
from evodevo.run.history import End, History, Life
from evodevo.run.journal import Journal, JournalError, Record
from evodevo.run.records import Assignment, Job, Outcome

logger = logging.getLogger("evodevo.controller")

JOURNAL = "journal.jsonl"
EXHIBITS = "exhibits"
"""Directory, in the run's, for what the workload has to show of the best member: pictures and texts."""
RUN_EPOCH = "workers.epoch:run_epoch"
EXAMINE = "workers.epoch:examine"
DESCRIBE = "workers.describe:describe"
RENDER = "evodevo.report.products:write_products"


def create_run(directory: Path, config: RunConfig) -> None:
    """Make the directory of a new run, with its journal begun: all of it or nothing.

    Raises `FileExistsError` where there is one.
    """
    if directory.exists():
        raise FileExistsError(f"{directory} is there already")
    unborn = directory.with_name(f".{directory.name}.{uuid.uuid4().hex[:8]}")
    unborn.mkdir(parents=True)
    try:
        files.write_new(unborn / "config.yaml", config.to_yaml().encode())
        with Journal(unborn / JOURNAL) as journal:
            journal.append(
                {"kind": "run", "format": 1, "id": uuid.uuid4().hex[:8], "config": config.to_json()}
            )
        _rename_to_new(unborn, directory)
    except BaseException:
        shutil.rmtree(unborn, ignore_errors=True)
        raise
    files.flush_directory(directory.parent)


def _rename_to_new(unborn: Path, directory: Path) -> None:
    """Of two who make the same directory at once the kernel refuses one, by an error of several names."""
    try:
        unborn.rename(directory)
    except OSError as why:
        if directory.exists():
            raise FileExistsError(f"{directory} is there already") from why
        raise


def job_of(config: RunConfig, directory: Path, run_id: str = "") -> Job:
    """What every assignment of the run has in common.

    At a url that runs share, each has a directory of its own, also where two have the same name.
    """
    url = config.checkpoints.url
    return Job(
        run=config.run.name,
        workload=config.workload.model_dump(),
        metric=config.objective.metric,
        checkpoints_url=f"{url.rstrip('/')}/{config.run.name}-{run_id}" if url else str(directory / "params"),
        data_root=config.data.root,
        threads=config.cluster.threads_per_member,
        epoch_timeout_s=config.limits.epoch_timeout_s,
    )


def needs_of(config: RunConfig, epoch_s: float | None = None) -> Needs:
    """What a worker must have to train the run's members, whose epochs take so many seconds."""
    return Needs(gpu=config.cluster.device == "gpu", seconds=epoch_s)


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
            for generation in range(self.history.completed()):
                self._stop_if_too_many_failed(generation)
                self._tell(strategy, generation)
            while (generation := self.history.completed()) < self._config.search.generations:
                limit = self._config.limits.wall_time_s
                if limit is not None and self.history.elapsed_s > limit:
                    return "done", f"limits.wall_time_s = {limit:g} is used up"
                await self._generation(strategy, generation)
        except RunFailed as why:
            return "failed", str(why)
        return "done", None

    async def _generation(self, strategy: Strategy, generation: int) -> None:
        if generation == len(self.history.generations):
            await self._write(self._births(strategy, generation))
        await self._collect()
        try:
            async with asyncio.TaskGroup() as members:
                for life in self.history.generations[generation]:
                    if life.outcome is None:
                        members.create_task(self._live(life))
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from several
        self._stop_if_too_many_failed(generation)
        self._tell(strategy, generation)
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
        parent = self.history.by_id.get(life.birth.parent_params or "")
        hyperparameters = self._config.space().express(life.birth.genome)
        while life.outcome is None:
            assignment = Assignment(
                job=self._job,
                member=life.id,
                attempt=len(life.lost) + 1,
                hyperparameters=hyperparameters,
                parent=self.history.parent_checkpoint(life),
                epoch=life.epoch,
                training_seed=life.training_seed,
            )
            try:
                answer = await self._caller.call(
                    self._job.run,
                    RUN_EPOCH,
                    assignment,
                    prefer=parent.worker if parent else None,
                    timeout_s=self._job.epoch_timeout_s,
                    needs=self.needs,
                )
            except AttemptLost as why:
                preempted = isinstance(why, Preempted)
                await self._write(
                    {"kind": "lost", "member": life.id, "why": str(why), "preempted": preempted}
                )
                if len(life.lost) - life.preempted >= self._config.limits.max_attempts:
                    error = "no attempt came to an end:\n" + "\n".join(life.lost)
                    await self._write(_outcome(life, Outcome("failed", error=error), None, None))
            else:
                await self._write(_outcome(life, answer.result, answer.worker, answer.started_at))
                self._stop_if_over_budget(answer.result)

    def _tell(self, strategy: Strategy, generation: int) -> None:
        strategy.tell([life.as_member() for life in self.history.generations[generation]])

    def _stop_if_too_many_failed(self, generation: int) -> None:
        lives = self.history.generations[generation]
        failed = [life for life in lives if life.status == "failed"]
        if len(failed) > self._config.limits.max_failed_fraction * len(lives):
            raise RunFailed(
                f"{len(failed)} of {len(lives)} members of generation {generation} failed "
                f"(limits.max_failed_fraction = {self._config.limits.max_failed_fraction:g}); "
                f"the first, {failed[0].id}:\n{failed[0].outcome.error if failed[0].outcome else ''}"
            )
        if not any(life.fom is not None for life in lives):
            raise RunFailed(
                f"no member of generation {generation} has a finite {self._job.metric}: all diverged"
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
