"""Carry out a controller's calls in tests: in this process, immediately, without torch or Dask's workers.

`FakeCaller` has the interface of `evodevo.run.dispatch.Caller`. Its "parameters" are a quality and a number
of epochs, in real checkpoints of 16 bytes a network; what a member makes of them depends on its α, its
hyperparameters and its training seed alone.
"""

import asyncio
import json
import math
import random
import struct
import threading
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

from evodevo.config import RunConfig, parse
from evodevo.run import controller, pauses
from evodevo.run.blame import Cause
from evodevo.run.checkpoints import CheckpointError, CheckpointStore
from evodevo.run.controller import Controller
from evodevo.run.crew import ANYTHING, AttemptLost, AttemptsLost, Inbox, Message, Needs, Offered, Reported
from evodevo.run.history import History
from evodevo.run.journal import Journal, Tail
from evodevo.run.records import Assignment, CheckpointRef, Job, NetworkStart, Outcome, WorkUnit
from evodevo.run.setup import DESCRIBE, EXAMINE, JOURNAL, RENDER, SOUP, create_run
from tests.configs import small

Fate = Literal[
    "done", "diverged", "failed", "lost", "lost_late", "preempted", "hang", "raised", "worker", "disk"
]
"""What happens to an attempt; lost_late: it is lost after publishing. The last three are causes."""

STRATEGIES = ["tri_parent", "truncation_pbt", "random_search"]
WORKERS = ("tcp://a", "tcp://b", "tcp://c")
SECONDS = {"load": 0.5, "train": 2.0, "eval": 1.0, "save": 0.25}
PARAMETERS = struct.Struct("<dq")
FOUNDER_QUALITY = 3.0


class FakeClock:
    """A clock that only moves when told to."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def config_of(**changes: Any) -> RunConfig:
    """Return a small config; `changes` are dotted keys with `__` for the dots."""
    defaults = {"search__generations": 4, "search__options": {"initial": "spread"}}
    merged = {**defaults, **changes}
    return parse(small({key.replace("__", "."): value for key, value in merged.items()}))


def quality_of(inherited: float, hyperparameters: Mapping[str, Any], training_seed: int) -> float:
    """Return the quality after an epoch that started with α's; it is also the fom (less is better)."""
    chance = zlib.crc32(json.dumps([dict(hyperparameters), training_seed], sort_keys=True).encode()) / 2**32
    return 0.7 * inherited + chance


def parameters(data: bytes) -> list[tuple[float, int]]:
    """Return the quality and the epochs of each network in a checkpoint."""
    return list(PARAMETERS.iter_unpack(data))


def quality_in(data: bytes) -> float:
    """Return the fom of the member of a checkpoint: the mean of its networks' qualities."""
    found = [quality for quality, _ in parameters(data)]
    return sum(found) / len(found)


class FakeCaller:
    """Carries out units in the order in which they come, or in one that `shuffle` draws.

    `fate` says what becomes of an attempt. `watch` sees each assignment when its turn comes, before anything
    is done about it. `trouble` names what befalls calls of other functions: an exception, or None for ever.
    """

    def __init__(
        self,
        fate: Callable[[Assignment], Fate] = lambda assignment: "done",
        watch: Callable[[Assignment], None] = lambda assignment: None,
        shuffle: random.Random | None = None,
        clock: FakeClock | None = None,
        trouble: Mapping[str, Exception | None] | None = None,
        workers: Sequence[str] = WORKERS,
        epochs_before: int = 0,
    ) -> None:
        """`epochs_before`: of the parameters that founders start from."""
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.units: list[WorkUnit] = []
        self.assignments: list[Assignment] = []
        self.placed: list[tuple[str, str]] = []
        """Member and worker of each assignment."""
        self.needs: list[Needs] = []
        self.benched: dict[str, float] = {}
        self.benchings: list[tuple[str, float]] = []
        """Workers that were benched, and for how long."""
        self.hanging = asyncio.Event()
        self.workers = workers
        self._fate = fate
        self._watch = watch
        self._shuffle = shuffle
        self._clock = clock or FakeClock()
        self._trouble = trouble or {}
        self._epochs_before = epochs_before
        self._turns: list[asyncio.Future[None]] = []
        self._controller: asyncio.Task[Any] | None = None
        self._controller_waits = asyncio.Event()
        self.failure: Exception | None = None

    def enlist(self, run: str, inbox: Inbox, at_once: int = 1) -> "FakeCrew":
        """Let no worker begin before the controller has nothing left to do."""
        self._controller = asyncio.current_task()
        take = inbox.take

        async def taken() -> list[Message]:
            self._controller_waits.set()
            messages = await take()
            self._controller_waits.clear()
            return messages

        inbox.take = taken  # type: ignore[method-assign]
        return FakeCrew(self, inbox)

    def give_up(self, why: Exception) -> None:
        """End the run with a failure of this fake, such as an assertion of `watch`."""
        self.failure = why
        if self._controller:
            self._controller.cancel()

    async def call(self, run: str, function: str, *arguments: Any, needs: Needs = ANYTHING) -> Any:
        self.calls.append((function, arguments))
        await self._turn()
        if function in self._trouble:
            why = self._trouble[function]
            if why is None:
                await self._hang()
            raise why or AssertionError("a hanging call continued")
        answers: dict[str, Callable[..., Any]] = {
            EXAMINE: self._examine,
            SOUP: self._soup,
            RENDER: lambda directory: [],
            DESCRIBE: lambda job, founders, twice: {"torch": "0", "metrics": [], "facts": []},
        }
        try:
            return answers[function](*arguments)
        except CheckpointError as why:
            raise AttemptLost(f"{type(why).__name__} on a worker: {why}", cause="disk") from why

    async def attempt(self, job: Job, assignment: Assignment, worker: str, inbox: Inbox) -> None:
        """Carry out one assignment of a unit, to its end or forever."""
        self.placed.append((assignment.member, worker))
        await self._controller_waits.wait()
        await self._turn()
        started_at = self._clock.now
        self.assignments.append(assignment)
        self._watch(assignment)
        fate = self._fate(assignment)
        if fate == "hang":
            await self._hang()
        try:
            outcome, why = self._leg(job, assignment, fate)
        except CheckpointError as damaged:
            outcome, why = None, f"{type(damaged).__name__}: {damaged}"
        if outcome:
            inbox.put(Reported(assignment, outcome, worker, started_at))
        else:
            cause: Cause = fate if fate in ("raised", "worker", "disk") else "own"
            inbox.put(AttemptsLost([assignment], worker, why, fate == "preempted", 1.0, cause))

    def _leg(self, job: Job, assignment: Assignment, fate: Fate) -> tuple[Outcome | None, str]:
        """Return the outcome, or why the attempt was lost."""
        store = CheckpointStore(job.checkpoints_url)
        if assignment.mean_of:
            return self._mean(job, assignment, fate, store)
        own = assignment.parent, assignment.epoch, assignment.training_seed, assignment.hyperparameters
        starts = assignment.networks or (NetworkStart(*own),)
        trained = [self._network(assignment, store, at, start) for at, start in enumerate(starts)]
        attempt = f"attempt {assignment.attempt} of {assignment.member}"
        if fate == "preempted":
            return None, f"{attempt} had to go"
        if fate in ("lost", "raised", "worker", "disk"):
            return None, f"{attempt} was lost"
        self._clock.now += sum(SECONDS.values())
        if fate == "failed":
            return Outcome("failed", error=f"Traceback of {assignment.member}", seconds=SECONDS), ""
        if fate == "diverged":
            return Outcome("diverged", metrics={"train_loss": 9.0}, seconds=SECONDS), ""
        quality = sum(one for one, _ in trained) / len(trained)
        ref = self._published(store, assignment, b"".join(PARAMETERS.pack(*one) for one in trained))
        if fate == "lost_late":
            return None, f"{attempt} was lost, but published"
        metrics = {job.metric: quality, "validation_accuracy": 1 / (1 + quality)}
        return Outcome("done", quality, metrics, ref, SECONDS), ""

    def _network(
        self, assignment: Assignment, store: CheckpointStore, at: int, start: NetworkStart
    ) -> tuple[float, int]:
        """Return a network's quality after a leg, and the number of its epochs."""
        inherited, epochs = parameters(store.read(start.parent))[at] if start.parent else (FOUNDER_QUALITY, 0)
        before = self._epochs_before if start.parent else 0
        assert epochs == before + start.epoch, f"{assignment.member} inherits {epochs} epochs"
        quality = quality_of(inherited, start.hyperparameters, start.training_seed)
        return quality, epochs + assignment.epochs

    def _mean(
        self, job: Job, assignment: Assignment, fate: Fate, store: CheckpointStore
    ) -> tuple[Outcome | None, str]:
        """Make a mean: a little better than the best of its members, without training."""
        if fate not in ("done", "failed"):
            return None, f"attempt {assignment.attempt} of {assignment.member} was lost"
        if fate == "failed":
            return Outcome("failed", error="the networks differ", seconds=SECONDS), ""
        found = zip(*(parameters(store.read(ref)) for ref in assignment.mean_of), strict=True)
        means = [(0.9 * min(one for one, _ in place), place[0][1]) for place in found]
        assert {epochs for _, epochs in means} == {assignment.epoch}
        quality = sum(one for one, _ in means) / len(means)
        ref = self._published(store, assignment, b"".join(PARAMETERS.pack(*one) for one in means))
        return Outcome("done", quality, {job.metric: quality}, ref, SECONDS), ""

    def _published(self, store: CheckpointStore, assignment: Assignment, data: bytes) -> CheckpointRef:
        """Publish like a worker: bytes equal to those of a checkpoint that is made again get its name."""
        ref = store.ref(assignment.checkpoint_stem, data)
        if (again := assignment.remakes) and again.has_content_of(ref):
            ref = again
            store.clear(ref.name)
        store.write({ref.name: data})
        return ref

    def _soup(
        self,
        job: Job,
        mode: str,
        candidates: Sequence[CheckpointRef],
        hyperparameters: Any,
        remakes: CheckpointRef | None = None,
    ) -> dict[str, Any]:
        """Make a soup of the first two, a little better than the first."""
        store = CheckpointStore(job.checkpoints_url)
        qualities = [quality_in(store.read(ref)) for ref in candidates]
        assert qualities == sorted(qualities)
        best = parameters(store.read(candidates[0]))
        quality = 0.9 * qualities[0]
        data = b"".join(PARAMETERS.pack(0.9 * one, epochs) for one, epochs in best)
        ref = store.ref("soup-a0", data)
        if remakes and remakes.has_content_of(ref):
            ref = remakes
            store.clear(ref.name)
        store.write({ref.name: data})
        of = list(range(min(2, len(candidates))))
        return {"of": of, "fom": quality, "metrics": {job.metric: quality}, "checkpoint": asdict(ref)}

    def _examine(
        self, job: Job, ref: CheckpointRef, hyperparameters: Any, directory: str
    ) -> dict[str, float]:
        return {"test_loss": quality_in(CheckpointStore(job.checkpoints_url).read(ref)) + 0.5}

    async def _turn(self) -> None:
        """Wait until all simultaneous calls have arrived, and then for this call's turn."""
        turn = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        asyncio.get_running_loop().call_soon(self._next)
        await turn

    def _next(self) -> None:
        turn = self._turns.pop(self._shuffle.randrange(len(self._turns)) if self._shuffle else 0)
        if not turn.done():
            turn.set_result(None)

    async def _hang(self) -> None:
        self.hanging.set()
        await asyncio.Event().wait()


class FakeCrew:
    """A run's workers: each is offered when it is free and wanted, preferred ones first."""

    def __init__(self, caller: FakeCaller, inbox: Inbox) -> None:
        self._caller = caller
        self._inbox = inbox
        self._free = list(caller.workers)
        self._offered: set[str] = set()
        self._wants = 0
        self._avoid: str | None = None
        self._preferred: Collection[str] = ()
        self._at_work: set[asyncio.Task[None]] = set()

    def want(self, workers: int, needs: Needs, preferred: Collection[str]) -> None:
        self._caller.needs.append(needs)
        self._wants, self._preferred, self._avoid = workers, preferred, needs.avoid
        self._match()

    def idle(self, most: int) -> int:
        return len(self._free)

    def send(self, worker: str, unit: WorkUnit) -> bool:
        if worker not in self._offered:
            return False
        self._offered.remove(worker)
        self._caller.units.append(unit)
        task = asyncio.create_task(self._carry_out(worker, unit))
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)
        return True

    def decline(self, worker: str) -> None:
        if worker in self._offered:
            self._offered.remove(worker)
            self._free.append(worker)
            self._match()

    def has_another(self, worker: str) -> bool:
        return any(one != worker and one not in self._caller.benched for one in self._caller.workers)

    def bench(self, worker: str, seconds: float, why: str) -> None:
        """Bench a worker; a finite benching ends immediately, since time does not pass here."""
        self._caller.benched[worker] = seconds
        self._caller.benchings.append((worker, seconds))
        if math.isfinite(seconds):
            asyncio.get_running_loop().call_soon(self.restore, worker)
        self.decline(worker)

    def restore(self, worker: str) -> None:
        if self._caller.benched.pop(worker, None):
            self._match()

    def dismiss(self) -> None:
        self._wants = 0
        for task in self._at_work:
            task.cancel()

    async def _carry_out(self, worker: str, unit: WorkUnit) -> None:
        try:
            for assignment in unit.assignments:
                await self._caller.attempt(unit.job, assignment, worker, self._inbox)
        except Exception as why:
            self._caller.give_up(why)
        self._free.append(worker)
        self._match()

    def _match(self) -> None:
        while self._wants > len(self._offered):
            free = [one for one in self._free if one not in self._caller.benched]
            free = [one for one in free if one != self._avoid or not self.has_another(one)]
            if not free:
                return
            worker = next((one for one in self._preferred if one in free), free[0])
            self._free.remove(worker)
            self._offered.add(worker)
            self._inbox.put(Offered(worker))


def befall(fate: Fate, *members: str) -> FakeCaller:
    """Return a caller for which every attempt of these members has this fate."""
    return FakeCaller(lambda assignment: fate if assignment.member in members else "done")


def new_run(directory: Path, config: RunConfig | None = None) -> Path:
    """Create the directory of a run, and return it."""
    with patch("os.fsync", lambda descriptor: None):
        create_run(directory, config or config_of())
    return directory


def history_of(directory: Path) -> History:
    return History.of(Tail(directory / JOURNAL).read())


@contextmanager
def small_machine(clock: FakeClock | None = None) -> Iterator[None]:
    """Within the block controllers use `clock`, flush nothing and pause for no time.

    Their threads must have ended afterwards.
    """
    before = set(threading.enumerate())
    timed = patch.object(controller, "Journal", lambda path, beats: Journal(path, clock or FakeClock()))
    at_once = patch.object(pauses, "FIRST_S", 0.0)
    with timed, at_once, patch("os.fsync", lambda descriptor: None):
        try:
            yield
        finally:
            for thread in set(threading.enumerate()) - before:
                thread.join(5)
                assert not thread.is_alive(), f"{thread} was left behind"


def carry_out(
    directory: Path,
    caller: FakeCaller,
    retry: bool = False,
    clock: FakeClock | None = None,
    generations: int | None = None,
) -> History:
    """Have a controller carry out the run; return its history afterwards."""
    with small_machine(clock):
        try:
            asyncio.run(Controller(directory, caller, {"host": "here"}, retry, generations).carry_out())
        except asyncio.CancelledError:
            if caller.failure:
                raise caller.failure from None
            raise
    return history_of(directory)


def stop(directory: Path, caller: FakeCaller, by_user: bool = False) -> asyncio.Task[None]:
    """Begin or resume a run, and cancel its task when a call hangs; return the task, which is done."""

    async def main() -> asyncio.Task[None]:
        controller = Controller(directory, caller, {})
        task = asyncio.create_task(controller.carry_out())
        await asyncio.wait_for(caller.hanging.wait(), 10)
        if by_user:
            controller.mark_cancelled()
        task.cancel()
        await asyncio.wait([task])
        return task

    with small_machine():
        return asyncio.run(main())


def finished(directory: Path, config: RunConfig | None = None, caller: FakeCaller | None = None) -> History:
    """Carry out a new run to its end."""
    return carry_out(new_run(directory, config), caller or FakeCaller())


def story(history: History) -> list[tuple[Any, ...]]:
    """Return all that must be the same in equal histories: births and outcomes, in order."""
    return [
        (
            life.id,
            life.birth,
            life.training_seed,
            life.epoch,
            life.status,
            life.fom,
            life.outcome.checkpoint.sha256 if life.outcome and life.outcome.checkpoint else None,
        )
        for life in history.lives()
    ]
