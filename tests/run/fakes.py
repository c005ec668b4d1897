"""What carries out a controller's calls in tests: in this process, at once, without torch or Dask's workers.

`FakeCaller` has the interface of `evodevo.run.dispatch.Caller`. Its "parameters" are a quality and a number
of epochs, in real checkpoints of 16 bytes; what a member makes of them depends on its α, its hyperparameters
and its training seed alone.
"""

import asyncio
import json
import random
import struct
import threading
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

from configs import small
from evodevo.config import RunConfig, parse
from evodevo.run import controller
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.controller import Controller
from evodevo.run.dispatch import ANYTHING, Answer, AttemptLost, Needs, Preempted
from evodevo.run.history import History
from evodevo.run.journal import Journal, Tail
from evodevo.run.records import Assignment, CheckpointRef, Job, Outcome
from evodevo.run.setup import DESCRIBE, EXAMINE, JOURNAL, RENDER, RUN_EPOCH, create_run

Fate = Literal["done", "diverged", "failed", "lost", "lost_late", "preempted", "hang"]
"""What becomes of an attempt; lost_late: its worker is lost after it has published."""

STRATEGIES = ["tri_parent", "truncation_pbt", "random_search"]
WORKERS = ("tcp://a", "tcp://b", "tcp://c")
SECONDS = {"load": 0.5, "train": 2.0, "eval": 1.0, "save": 0.25}
PARAMETERS = struct.Struct("<dq")
FOUNDER_QUALITY = 3.0


class FakeClock:
    """Stands still until it is moved."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def config_of(**changes: Any) -> RunConfig:
    """A small config; `changes` are dotted keys with `__` for the dots."""
    defaults = {"search__generations": 4, "search__options": {"initial": "spread"}}
    merged = {**defaults, **changes}
    return parse(small({key.replace("__", "."): value for key, value in merged.items()}))


def quality_of(inherited: float, hyperparameters: Mapping[str, Any], training_seed: int) -> float:
    """What an epoch makes of α's quality; it is the fom, too (less is better)."""
    chance = zlib.crc32(json.dumps([dict(hyperparameters), training_seed], sort_keys=True).encode()) / 2**32
    return 0.7 * inherited + chance


class FakeCaller:
    """Answers calls in the order in which they come, or in one that `shuffle` draws.

    `fate` says what becomes of an attempt. `watch` sees each assignment when it comes, before anything is
    done about it. `trouble` names what befalls calls of other functions: an exception, or None for ever.
    """

    def __init__(
        self,
        fate: Callable[[Assignment], Fate] = lambda assignment: "done",
        watch: Callable[[Assignment], None] = lambda assignment: None,
        shuffle: random.Random | None = None,
        clock: FakeClock | None = None,
        trouble: Mapping[str, Exception | None] | None = None,
    ) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.assignments: list[Assignment] = []
        self.prefers: list[str | None] = []
        self.needs: list[Needs] = []
        self.hanging = asyncio.Event()
        self._fate = fate
        self._watch = watch
        self._shuffle = shuffle
        self._clock = clock or FakeClock()
        self._trouble = trouble or {}
        self._turns: list[asyncio.Future[None]] = []

    async def call_when_free(
        self,
        run: str,
        function: str,
        prepare: Callable[[], Awaitable[Sequence[Any]]],
        *,
        prefer: str | None = None,
        timeout_s: float | None = None,
        needs: Needs = ANYTHING,
    ) -> Answer:
        return await self.call(
            run, function, *await prepare(), prefer=prefer, timeout_s=timeout_s, needs=needs
        )

    async def call(
        self,
        run: str,
        function: str,
        *arguments: Any,
        prefer: str | None = None,
        timeout_s: float | None = None,
        needs: Needs = ANYTHING,
    ) -> Answer:
        self.calls.append((function, arguments))
        worker = WORKERS[len(self.calls) % len(WORKERS)]
        await self._turn()
        started_at = self._clock.now
        if function in self._trouble:
            why = self._trouble[function]
            if why is None:
                await self._hang()
            raise why or AssertionError("a hanging call went on")
        answers: dict[str, Callable[..., Any]] = {
            EXAMINE: self._examine,
            RENDER: lambda directory: [],
            DESCRIBE: lambda job, hyperparameters: {"torch": "0", "metrics": [], "facts": []},
        }
        if function != RUN_EPOCH:
            return Answer(answers[function](*arguments), worker, started_at)
        assignment: Assignment = arguments[0]
        self.assignments.append(assignment)
        self.prefers.append(prefer)
        self.needs.append(needs)
        self._watch(assignment)
        fate = self._fate(assignment)
        if fate == "hang":
            await self._hang()
        return Answer(self._epoch(assignment, fate), worker, started_at)

    def _epoch(self, assignment: Assignment, fate: Fate) -> Outcome:
        store = CheckpointStore(assignment.job.checkpoints_url)
        inherited, epochs = FOUNDER_QUALITY, 0
        if assignment.parent:
            inherited, epochs = PARAMETERS.unpack(store.read(assignment.parent))
        assert epochs == assignment.epoch, f"{assignment.member} inherits {epochs} epochs"
        if fate == "preempted":
            raise Preempted(f"attempt {assignment.attempt} of {assignment.member} had to go")
        if fate == "lost":
            raise AttemptLost(f"attempt {assignment.attempt} of {assignment.member} was lost")
        self._clock.now += sum(SECONDS.values())
        if fate == "failed":
            return Outcome("failed", error=f"Traceback of {assignment.member}", seconds=SECONDS)
        if fate == "diverged":
            return Outcome("diverged", metrics={"train_loss": 9.0}, seconds=SECONDS)
        quality = quality_of(inherited, assignment.hyperparameters, assignment.training_seed)
        ref = store.publish(assignment.checkpoint_stem, PARAMETERS.pack(quality, epochs + 1))
        if fate == "lost_late":
            raise AttemptLost(f"attempt {assignment.attempt} of {assignment.member} was lost, but published")
        metrics = {assignment.job.metric: quality, "validation_accuracy": 1 / (1 + quality)}
        return Outcome("done", quality, metrics, ref, SECONDS)

    def _examine(
        self, job: Job, ref: CheckpointRef, hyperparameters: Any, directory: str
    ) -> dict[str, float]:
        quality, _ = PARAMETERS.unpack(CheckpointStore(job.checkpoints_url).read(ref))
        return {"test_loss": quality + 0.5}

    async def _turn(self) -> None:
        """Wait until all calls that come at this moment are here, and then for the own place among them."""
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


def befall(fate: Fate, *members: str) -> FakeCaller:
    """Every attempt of these members ends so."""
    return FakeCaller(lambda assignment: fate if assignment.member in members else "done")


def new_run(directory: Path, config: RunConfig | None = None) -> Path:
    """The directory of a run that is about to begin."""
    with patch("os.fsync", lambda descriptor: None):
        create_run(directory, config or config_of())
    return directory


def history_of(directory: Path) -> History:
    return History.of(Tail(directory / JOURNAL).read())


@contextmanager
def small_machine(clock: FakeClock | None = None) -> Iterator[None]:
    """Controllers in here take the time from `clock` and flush nothing; their threads have ended after it."""
    before = set(threading.enumerate())
    timed = patch.object(controller, "Journal", lambda path: Journal(path, clock or FakeClock()))
    with timed, patch("os.fsync", lambda descriptor: None):
        try:
            yield
        finally:
            for thread in set(threading.enumerate()) - before:
                thread.join(5)
                assert not thread.is_alive(), f"{thread} was left behind"


def carry_out(
    directory: Path, caller: FakeCaller, retry: bool = False, clock: FakeClock | None = None
) -> History:
    """Have a controller carry out the run; returns what its journal says then."""
    with small_machine(clock):
        asyncio.run(Controller(directory, caller, {"host": "here"}, retry).carry_out())
    return history_of(directory)


def stop(directory: Path, caller: FakeCaller, by_user: bool = False) -> asyncio.Task[None]:
    """Begin or carry on a run, and cancel its task when a call hangs; returns the task, which is done."""

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
    """A new run, carried out to its end."""
    return carry_out(new_run(directory, config), caller or FakeCaller())


def story(history: History) -> list[tuple[Any, ...]]:
    """All that must be the same in equal histories: births and outcomes, in their order."""
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
