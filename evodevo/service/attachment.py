"""Install the service in a running scheduler, and prepare workers that were started without the preload.

The scheduler prepares workers with a call to each, not with a Dask `WorkerPlugin`: a worker that cannot
import a registered plugin fails to start, so workers without evodevo would be locked out of a cluster that
others use too. A failed call leaves the worker unchanged.
"""

import asyncio
import importlib
import logging
import os
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dask.utils import format_bytes
from distributed import Client, Scheduler, Worker
from distributed.diagnostics.plugin import SchedulerPlugin

from evodevo.errors import UsageError
from evodevo.versions import differences, own_versions

if TYPE_CHECKING:
    from distributed.scheduler import WorkerState

    from evodevo.service.plugin import Service

logger = logging.getLogger("evodevo.attach")

JOIN = "workers.join:join"
"""Import path of the function that prepares a worker."""
PATIENCE_S = 60.0
"""Longest wait for workers that are being prepared; slower ones join when they are ready."""
SHORT_TTL_S = 300.0
"""Dask's default for distributed.scheduler.worker-ttl; a shorter one causes a warning."""
PAGE_TOKEN = "EVODEVO_PAGE_TOKEN"


async def install(runs_dir: str, versions: Mapping[str, str], dask_scheduler: Scheduler) -> dict[str, Any]:
    """Install the service in the scheduler of this process, unless it is already installed.

    Returns `was_there` and `warnings`, or `error` with the message of a `UsageError`.
    """
    differing = differences(versions, own_versions())
    if differing:
        return {
            "error": "versions differ between client and scheduler (client/scheduler): "
            f"{', '.join(differing)}"
        }
    attachment: Any = dask_scheduler.plugins.get(Attachment.name)
    was_there = attachment is not None
    if attachment is None:
        attachment = Attachment(dask_scheduler, runs_dir)
        dask_scheduler.add_plugin(attachment)
        attachment.begun = asyncio.create_task(attachment.begin())
    try:
        await asyncio.shield(attachment.begun)
    except UsageError as why:
        return {"error": str(why)}
    if was_there:
        await attachment.try_again()
    return {"was_there": was_there or attachment.found_service, "warnings": attachment.warnings()}


async def prepare_worker(dask_worker: Worker) -> dict[str, Any]:
    """Prepare the worker of this process and return the facts about it.

    The import, which may include torch, runs in a thread so that the worker's event loop stays responsive.
    """
    module, _, function = JOIN.partition(":")
    joins = getattr(await asyncio.to_thread(importlib.import_module, module), function)
    facts: dict[str, Any] = joins(dask_worker)
    return facts


class Attachment(SchedulerPlugin):
    """A scheduler plugin that prepares the scheduler's workers, both connected and future ones."""

    name = "evodevo-attach"

    def __init__(self, scheduler: Scheduler, runs_dir: str) -> None:
        self.begun: asyncio.Task[None]
        self.found_service = False
        self._scheduler = scheduler
        self._runs_dir = runs_dir
        self._service: Service | None = None
        self._client: Client | None = None
        self._pending: dict[WorkerState, asyncio.Task[None]] = {}
        self._prepared: dict[WorkerState, dict[str, Any]] = {}

    async def begin(self) -> None:
        """Prepare the connected workers, then install the service; on failure, undo both and raise."""
        try:
            await self._begin()
        except BaseException:
            self._scheduler.remove_plugin(self.name)
            if self.found_service and self._service:
                self._service.prepare = None
            for state in self._prepared:
                state.extra.pop("evodevo", None)
            await self.before_close()
            raise

    async def _begin(self) -> None:
        from evodevo.service.page import Pages
        from evodevo.service.plugin import Service
        from evodevo.service.wire import security_of

        self._client = await Client(
            self._scheduler.address,
            asynchronous=True,
            set_as_default=False,
            name=self.name,
            security=security_of(self._scheduler),
        )
        service: Any = self._scheduler.plugins.get(Service.name)
        self._service = service
        self.found_service = service is not None
        if self._service:
            await self._service.until_ready()
            self._service.prepare = self.prepare
        for worker in self._scheduler.workers:
            self.prepare(worker)
        await self._until_prepared()
        self._refuse_if_none_can_train()
        if self._service is None:
            self._service = Service(self._scheduler, self._runs_dir, recover=False)
            self._service.prepare = self.prepare
            self._service.install()
            Pages(self._scheduler, self._service, os.environ.get(PAGE_TOKEN)).install()
            await self._service.until_ready()

    async def try_again(self) -> None:
        """Prepare the workers that had a problem again."""
        for state, facts in list(self._prepared.items()):
            if problem_of(facts):
                del self._prepared[state], state.extra["evodevo"]
                self.prepare(state.address)
        await self._until_prepared()

    async def _until_prepared(self) -> None:
        if self._pending:
            await asyncio.wait(self._pending.values(), timeout=PATIENCE_S)

    async def before_close(self) -> None:
        for task in self._pending.values():
            task.cancel()
        await asyncio.gather(*self._pending.values(), return_exceptions=True)
        if self._client:
            await self._client.close()

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        self.prepare(worker)

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        self._prepared = {state: facts for state, facts in self._prepared.items() if state.address != worker}

    def prepare(self, worker: str) -> bool:
        """Start preparing a worker and return True, or return False if there is nothing to do.

        The service is told when the worker is ready.
        """
        state = self._scheduler.workers[worker]
        if "evodevo" in state.extra or self._client is None:
            return False
        if state not in self._pending:
            task = asyncio.create_task(self._prepare(state, self._client))
            self._pending[state] = task
            task.add_done_callback(lambda _: self._pending.pop(state, None))
        return True

    async def _prepare(self, state: "WorkerState", client: Client) -> None:
        worker = state.address
        answers = await client.run(prepare_worker, workers=[worker], on_error="return")
        if self._scheduler.workers.get(worker) is not state:
            return
        facts = facts_of(answers[worker])
        if facts["problem"]:
            logger.warning("worker %s cannot be prepared: %s", worker, facts["problem"])
        state.extra["evodevo"] = self._prepared[state] = facts
        if self._service:
            self._service.add_worker(self._scheduler, worker)

    def warnings(self) -> list[str]:
        """Return warnings about the current workers and the scheduler's settings."""
        connected = self._scheduler.workers.values()
        problems = [text for facts in self._prepared.values() if (text := problem_of(facts))]
        found = [f"{text} ({count})" for text, count in _counted(problems)]
        if self._pending:
            count = _workers(len(self._pending), "is", "are")
            found.append(f"{count} not ready yet, and will join later")
        good = [
            state for state in connected if state in self._prepared and not problem_of(self._prepared[state])
        ]
        found += harms(
            [self._prepared[state] for state in good],
            [state.memory_limit for state in good if state.nanny],
            self._scheduler.worker_ttl,
        )
        return found

    def _refuse_if_none_can_train(self) -> None:
        """Raise `UsageError` if there are workers and every one is known to be unable to train."""
        abouts = [state.extra.get("evodevo") for state in self._scheduler.workers.values()]
        problems = [problem_of(about) if about else None for about in abouts]
        if problems and all(problems):
            lines = [f"{text} ({count})" for text, count in _counted(filter(None, problems))]
            raise UsageError("\n  ".join(["no worker of this cluster can train:", *lines]))


def facts_of(answer: dict[str, Any] | BaseException) -> dict[str, Any]:
    """Return the facts that a worker answered with; for an error, facts that name it as the problem."""
    if isinstance(answer, dict):
        return answer
    if is_import_error(answer):
        version = own_versions()["evodevo"]
        problem = f"it cannot import what it needs ({answer}): install evodevo {version} and torch there"
    elif is_disallowed(answer):
        problem = f"it does not accept code ({answer}): start it with --preload workers.preload"
    else:
        problem = f"preparing it failed: {_text(answer)}"
    return {"device": "none", "ends_at": None, "problem": problem, "versions": {}}


def problem_of(facts: Mapping[str, Any]) -> str | None:
    """Return why a worker with these facts cannot train; None if it can."""
    if facts["problem"]:
        return str(facts["problem"])
    differing = differences(own_versions(), facts["versions"])
    return f"its versions differ from the scheduler's: {', '.join(differing)}" if differing else None


def harms(
    workers: list[Mapping[str, Any]], memory_limits: list[int], worker_ttl_s: float | None
) -> list[str]:
    """Return a sentence for each setting of an existing cluster that can cost epochs or block data loaders.

    `workers` are the facts about workers that can train; `memory_limits` (bytes, 0: none) are the limits of
    those with a nanny, which enforces them.
    """
    found = []
    if daemonic := sum(facts["daemonic"] for facts in workers):
        found.append(
            f"{_workers(daemonic, 'is', 'are')} daemonic, so data loaders cannot have processes there: "
            "start workers with DASK_DISTRIBUTED__WORKER__DAEMON=False"
        )
    if deaf := sum(not facts["heeds_signals"] for facts in workers):
        found.append(
            f"{_workers(deaf, 'does', 'do')} not run in the main thread of a process, so SIGTERM "
            "costs the epoch in progress"
        )
    if limits := [limit for limit in memory_limits if limit]:
        found.append(
            f"{_workers(len(limits), 'has', 'have')} a memory limit (lowest: {format_bytes(min(limits))}): "
            "Dask restarts a worker that comes near it, which costs the epoch; --memory-limit 0 disables it"
        )
    if worker_ttl_s and worker_ttl_s < SHORT_TTL_S:
        found.append(
            f"distributed.scheduler.worker-ttl is {worker_ttl_s:g} s: a worker that is too busy to report "
            "for that long counts as lost, with its epoch"
        )
    return found


def is_import_error(why: BaseException) -> bool:
    """Return whether a process lacks a module or a name in one; workers may send only an error's text."""
    return re.match(r"(ModuleNotFound|Import|Attribute)Error\b", _text(why)) is not None


def is_disallowed(why: BaseException) -> bool:
    """Return whether Dask's configuration forbids the request (blocked-handlers; pickle in old versions)."""
    return re.match(r"ValueError\b.*disallowed", _text(why)) is not None


def _text(why: BaseException) -> str:
    return str(why) if type(why) is Exception else f"{type(why).__name__}: {why}"


def _workers(count: int, verb: str, plural: str) -> str:
    return f"1 worker {verb}" if count == 1 else f"{count} workers {plural}"


def _counted(problems: Iterable[str]) -> list[tuple[str, str]]:
    """Return each distinct problem with the number of workers that have it."""
    counts: dict[str, int] = {}
    for problem in problems:
        counts[problem] = counts.get(problem, 0) + 1
    return [(problem, "1 worker" if count == 1 else f"{count} workers") for problem, count in counts.items()]
