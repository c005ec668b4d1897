"""The service inside the scheduler: submit, list, watch, cancel and resume runs.

Each run is a task on the scheduler's event loop; file access and computation happen elsewhere (threads,
workers). Requests are Dask RPCs named `evodevo_*`, with arguments and answers as JSON text (Dask's own
encoding turns lists into tuples). Usage errors are returned as `{"error": message}`, so that they do not
appear as tracebacks in the scheduler's log.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from distributed import Client, Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin

from evodevo.clock import keep_steady
from evodevo.config import RunConfig
from evodevo.errors import UsageError
from evodevo.report.evolution import write_evolution
from evodevo.run.checkpoints import CheckpointError
from evodevo.run.controller import Controller
from evodevo.run.crew import ANYTHING, Needs
from evodevo.run.dispatch import Dispatcher
from evodevo.run.extension import extension_of
from evodevo.run.history import load_history
from evodevo.run.journal import JournalError, JournalInUse, Removed, Superseded
from evodevo.run.origin import Found, find_origin
from evodevo.run.repair import Repair
from evodevo.run.reuse import load_known
from evodevo.run.roster import Unused
from evodevo.run.setup import JOURNAL, create_run, job_of
from evodevo.run.view import refuse_live, runs_in
from evodevo.service.reader import Reader
from evodevo.service.recovery import unfinished
from evodevo.service.reservations import Reservations
from evodevo.service.standing import Standing, about_controller, seen_in
from evodevo.service.succession import already_there, exists_already, following, is_done
from evodevo.service.tracking import Tracking
from evodevo.service.trial import describe, parse_fresh, refresh_strategy, refuse_unusable_workers
from evodevo.service.wire import Requests, security_of, to_its_end
from evodevo.versions import differences, own_versions

logger = logging.getLogger("evodevo.service")

CLIENT_INTERVAL_S = 0.001


class Service(SchedulerPlugin):
    """A scheduler plugin that carries out runs; `runs_dir` contains their directories."""

    name = "evodevo"

    def __init__(self, scheduler: Scheduler, runs_dir: str, recover: bool) -> None:
        self.runs_dir = Path(runs_dir).absolute()
        self._scheduler = scheduler
        self._recover = recover
        self._ready = asyncio.Event()
        self._controllers: dict[str, Controller] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopped: dict[str, str] = {}
        """Why runs have stopped, or what went wrong with them, by name."""
        self._reader = Reader()
        self._tracking = Tracking(self.runs_dir)
        self._requests = Requests()
        self._reserved = Reservations()
        """Names of runs that are about to start."""
        self._measured: dict[str, dict[str, Any]] = {}
        """Cache of `trial.describe`."""
        self._starting: asyncio.Task[None] | None = None
        self._failure: str | None = None
        self.no_workers: str | None = None
        """Why no workers will come, set by what provides them; while it is set, no run is started."""
        self.notice: str | None = None
        """What the provider of workers, such as Slurm, says; shown while none is connected."""
        self.prepare: Callable[[str], bool] | None = None
        """Starts to prepare a worker without the preload, and returns whether there is something to prepare;
        `add_worker` is then called again when the worker is ready or has a problem."""

    def install(self) -> None:
        """Add the plugin and its request handlers to the scheduler, and start."""
        keep_steady(self._scheduler.loop)
        self._scheduler.add_plugin(self)
        for handler in (
            self.evodevo_hello,
            self.evodevo_leave,
            self.evodevo_check,
            self.evodevo_submit,
            self.evodevo_runs,
            self.evodevo_read,
            self.evodevo_cancel,
            self.evodevo_resume,
            self.evodevo_repair,
        ):
            self._scheduler.handlers[handler.__name__] = self._requests.in_json(handler)
        self._starting = asyncio.create_task(self._start())

    async def until_ready(self) -> None:
        """Wait until runs can be carried out. Raises `UsageError` if the service could not start."""
        await self._ready.wait()
        if self._failure:
            raise UsageError(self._failure)

    def wanted_workers(self) -> int:
        """Return the number of workers that the runs could use."""
        return sum(controller.wanted_workers() for controller in self._controllers.values())

    def idle_workers(self) -> set[str]:
        """Return the addresses of the idle workers."""
        return self._dispatcher.idle() if self._is_up else set()

    def unused(self) -> Unused:
        """Return the connected workers that get no work from any run."""
        return self._dispatcher.roster.unused() if self._is_up else Unused(0, [])

    def dismiss(self, worker: str) -> None:
        """Give a worker no new work, because it is about to be removed."""
        if self._is_up:
            self._dispatcher.worker_leaves(worker, "it is no longer needed, or its job has ended")

    def standings(self, runs: Iterable[str]) -> dict[str, Standing]:
        """Return the standing of each run."""
        if not self._is_up:
            return {run: Standing(False, None, [self._failure] if self._failure else []) for run in runs}
        resting = self._standing(ANYTHING)
        return {run: self._standing_of(run, resting) for run in runs}

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Prepare a worker that has connected, if necessary, and give it work; called by the scheduler."""
        if self.prepare and self.prepare(worker):
            return
        if self._is_up:
            self._dispatcher.worker_joined(worker)

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        """Take note that a worker has disconnected; called by the scheduler."""
        if self._is_up:
            self._dispatcher.worker_left(worker)

    async def before_close(self) -> None:
        """Stop all runs when the scheduler closes; they can be resumed."""
        await self._requests.close()
        for task in filter(None, [self._starting, *self._tasks.values()]):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._tracking.close()
        if self._is_up:
            await self._dispatcher.close()
            await self._client.close()

    async def evodevo_hello(self, versions: Mapping[str, str]) -> dict[str, Any]:
        """Return the facts that a client shows. Raises `UsageError` if its versions differ."""
        if differing := differences(versions, own_versions()):
            raise UsageError(
                f"versions differ between client and scheduler (client/scheduler): {', '.join(differing)}"
            )
        await self.until_ready()
        unused = self.unused()
        return {
            "runs_dir": str(self.runs_dir),
            "workers": len(self._dispatcher.roster.fit()),
            "unused_workers": unused.count,
            "unused_why": unused.reasons,
        }

    async def evodevo_leave(self, worker: str, why: str) -> None:
        """Let a worker that must leave (preempted, out of time) finish its work, without giving it more."""
        if self._is_up:
            self._dispatcher.worker_leaves(worker, why)

    async def evodevo_check(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Try the workload of a config on a worker, without writing anything."""
        checked = parse_fresh(config)
        start = await asyncio.to_thread(find_origin, checked, self.runs_dir)
        checked, ref = (start.config, start.checkpoint) if start else (checked, None)
        facts = await self._describe(checked, twice=True, start=start)
        await asyncio.to_thread(load_known, checked, self.runs_dir, facts["data"], ref)
        needed = checked.cluster.workers_per_member
        if (there := self._dispatcher.roster.fit_together()) < needed:
            waits = (
                f"the run would wait for {needed} workers (cluster.workers_per_member); now there are {there}"
            )
            facts = {**facts, "warnings": [*facts["warnings"], waits]}
        return facts

    async def evodevo_submit(self, config: Mapping[str, Any]) -> str:
        """Start a new run and return its directory; write nothing if the config has a problem."""
        checked = parse_fresh(config)
        name, directory = checked.run.name, self.runs_dir / checked.run.name
        existing = await asyncio.to_thread(already_there, checked, self.runs_dir)
        exists = exists_already(existing or name, self.runs_dir)
        if name in self._reserved or existing:
            raise exists
        with self._reserved.of(name):
            if removed := self._tasks.get(name):  # its task has not noticed yet that the directory is gone
                removed.cancel()
                await asyncio.wait([removed])
            await self.until_ready()
            self._dispatcher.roster.pardon(name)
            start = await asyncio.to_thread(find_origin, checked, self.runs_dir)
            checked = start.config if start else checked
            facts = await self._describe(checked, start=start)
            versions = {**own_versions(), "torch": facts["torch"]}
            recorded = checked.model_copy(update={"versions": versions})
            if found := facts.get("members"):
                recorded = recorded.with_members_per_device(found["members"], found["stacked"])
            copied = (start.origin, start.data) if start else None
            try:
                await to_its_end(create_run, directory, recorded, facts.get("data"), copied)
            except CheckpointError as why:
                raise UsageError(f"search.start: {why}") from None
            except FileExistsError:  # created by another scheduler's service meanwhile
                raise exists from None
            except OSError as why:
                raise UsageError(f"cannot create the run's directory {directory}: {why}") from why
            self._start_controller(name, retry=False)
        return str(directory)

    async def evodevo_runs(self) -> list[str]:
        """Return the names of all runs in the runs directory."""
        return await asyncio.to_thread(runs_in, self.runs_dir)

    async def evodevo_read(self, run: str, since: int) -> dict[str, Any]:
        """Return the lines of the journal from record `since` on, and the run's standing."""
        await self.until_ready()
        directory = await asyncio.to_thread(self._directory_of, run)
        standing = await asyncio.to_thread(seen_in, directory, self.standings([run])[run])
        excerpt = await asyncio.to_thread(self._reader.read, directory / JOURNAL, since)
        if not excerpt and since == 0:
            raise UsageError(f"{directory / JOURNAL} is empty: the run never started")
        return {"journal": excerpt, **asdict(standing)}

    async def evodevo_cancel(self, run: str) -> None:
        """Stop a run, keeping its files; return when it has stopped."""
        if run not in self._tasks:
            directory = await asyncio.to_thread(self._directory_of, run)
            await asyncio.to_thread(refuse_live, directory)
            history = await asyncio.to_thread(load_history, directory / JOURNAL)
            raise UsageError(f"run {run!r} is not running: it is {history.end or 'interrupted'}")
        task = self._tasks[run]
        if self._controllers[run].mark_cancelled():
            task.cancel()
        await asyncio.wait([task])

    async def evodevo_resume(self, run: str, generations: int | None = None) -> None:
        """Resume an unfinished, cancelled or failed run; with `generations`, also one that is done."""
        directory = await asyncio.to_thread(self._directory_of, run)
        await self.until_ready()
        if run in self._tasks or run in self._reserved:
            raise UsageError(f"run {run!r} is already running")
        with self._reserved.of(run):
            await asyncio.to_thread(refuse_live, directory)
            history = await asyncio.to_thread(load_history, directory / JOURNAL)
            refresh_strategy(history.config)
            if generations is not None:
                generations = await asyncio.to_thread(extension_of, directory, history, generations)
            elif history.end == "done" and not following(history, self.runs_dir):
                raise is_done(run)
            await self._describe(history.config, history.begun.data)
            self._start_controller(run, retry=history.end == "failed", generations=generations)

    async def evodevo_repair(self, run: str, accept: bool) -> dict[str, Any]:
        """Recreate the damaged checkpoints of a run; return an account when done."""
        directory = await asyncio.to_thread(self._directory_of, run)
        await self.until_ready()
        if run in self._tasks or run in self._reserved:
            raise UsageError(f"run {run!r} is running, and recreates the checkpoints that it needs")
        with self._reserved.of(run):
            await asyncio.to_thread(refuse_live, directory)
            repair = Repair(directory, self._dispatcher, about_controller(self._scheduler.address), accept)
            task = self._start_task(run, repair)
        await task
        if not repair.ended and (why := self._stopped.pop(run, None)):
            raise UsageError(f"run {run!r} could not be repaired: {why}")
        return {"problems": repair.problems, "account": repair.account, "seconds": repair.seconds}

    async def _start(self) -> None:
        """Connect a client once the scheduler is up, then resume runs if asked to."""
        try:
            await self._scheduler
            self._client = await Client(
                self._scheduler.address,
                asynchronous=True,
                set_as_default=False,
                name="evodevo-service",
                security=security_of(self._scheduler),
            )
        except Exception as why:
            logger.exception("the service could not start")
            self._failure = f"the service in the scheduler could not start: {type(why).__name__}: {why}"
        else:
            # Dask's clients batch messages for 10 ms; this one sends few, and workers wait for them.
            self._client.scheduler_comm.interval = CLIENT_INTERVAL_S
            self._dispatcher = Dispatcher(self._scheduler, self._client)
        finally:
            self._ready.set()
        if self._recover and not self._failure:
            for name in await asyncio.to_thread(unfinished, self.runs_dir):
                logger.info("resuming run %s", name)
                self._start_controller(name, retry=False)

    @property
    def _is_up(self) -> bool:
        return self._ready.is_set() and self._failure is None

    def _standing_of(self, run: str, resting: Standing) -> Standing:
        """Return the standing of a run; `resting` is that of any run that is not being carried out."""
        controller = self._controllers.get(run)
        base = self._standing(controller.needs, controller.workers_per_member) if controller else resting
        stopped = [self._stopped[run]] if run in self._stopped else []
        waits = (controller.trouble or "") if controller else ""
        queued = self._dispatcher.why_queued(run) if controller and base.workers else []
        problems = [*stopped, *base.problems, *queued]
        return replace(base, live=controller is not None, problems=problems, waits=waits)

    def _standing(self, needs: Needs, at_once: int = 1) -> Standing:
        """Return the standing of a run that has these needs and no controller."""
        roster = self._dispatcher.roster
        workers = len(roster.fit(needs)) if at_once == 1 else roster.fit_together(needs)
        unused = roster.unused(needs)
        said = [text for text in (self.no_workers, self.notice) if text]
        problems = [] if workers else [*said, *unused.reasons]
        return Standing(False, workers, problems, unused.count, unused.reasons)

    def _start_controller(self, name: str, retry: bool, generations: int | None = None) -> None:
        """Start to carry out a run, from wherever its journal ends."""
        place, about = self.runs_dir / name, about_controller(self._scheduler.address)
        self._start_task(
            name, Controller(place, self._dispatcher, about, retry, generations, write_evolution)
        )

    def _start_task(self, name: str, controller: Controller) -> asyncio.Task[None]:
        """Return the new task in which a controller carries out its run."""
        self._controllers[name] = controller
        self._stopped.pop(name, None)
        self._tasks[name] = asyncio.create_task(self._carry_out(name, controller))
        return self._tasks[name]

    async def _carry_out(self, name: str, controller: Controller) -> None:
        """Carry out a run, then submit its next phase; remember what went wrong in `_stopped`."""
        try:
            async with self._tracking.of(name, controller):
                await controller.carry_out()
            may_continue = not isinstance(controller, Repair) and not controller.cancelled
            if may_continue and (config := following(controller.history, self.runs_dir)):
                await self._submit_next_phase(config, controller)
            if controller.warnings:
                self._stopped[name] = "; ".join(controller.warnings)
        except (JournalError, JournalInUse, Removed, Superseded, OSError) as why:
            self._stopped[name] = f"{type(why).__name__}: {why}"
            logger.error("run %s stopped: %s", name, why)
        except Exception as why:
            self._stopped[name] = f"{type(why).__name__}: {why} (a bug in evodevo; see the scheduler's log)"
            logger.exception("run %s stopped", name)
        finally:
            del self._tasks[name], self._controllers[name]

    async def _submit_next_phase(self, config: Mapping[str, Any], controller: Controller) -> None:
        """Submit the phase after a finished run; warn if it cannot start."""
        try:
            await self.evodevo_submit(config)
        except UsageError as why:
            controller.warnings.append(f"the next phase could not start: {why}")

    async def _describe(
        self,
        config: RunConfig,
        data: Mapping[str, str] | None = None,
        twice: bool = False,
        start: Found | None = None,
    ) -> dict[str, Any]:
        """Try the workload of a config; see `trial.describe`. Raises `UsageError`."""
        await self.until_ready()
        job = job_of(config, self.runs_dir / config.run.name, data=data, edition=uuid.uuid4().hex)
        on = self._dispatcher, self._refuse_unusable_workers
        return await describe(config, job, *on, twice, data is None, start, self._measured)

    def _refuse_unusable_workers(self, needs: Needs) -> None:
        """Raise `UsageError` as `trial.refuse_unusable_workers` does."""
        abouts = [state.extra.get("evodevo") for state in self._scheduler.workers.values()]
        refuse_unusable_workers(abouts, self._dispatcher.roster, needs, self.no_workers)

    def _directory_of(self, run: str) -> Path:
        """Return a run's directory. Raises `UsageError` if no run has that name."""
        directory = self.runs_dir / run
        is_name = directory.name == run and run != ".." and "\0" not in run
        if not is_name or not (directory / JOURNAL).exists():
            known = ", ".join(runs_in(self.runs_dir)) or "none"
            if why := self._stopped.get(run):
                raise UsageError(f"run {run!r} stopped: {why}")
            raise UsageError(f"run {run!r} not found in {self.runs_dir}; existing runs: {known}")
        return directory
