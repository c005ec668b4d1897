"""Remake damaged checkpoints by training their members again, on the workers that are available.

A missing or altered checkpoint is found when it is needed. The original assignment, with the original seeds,
gives the same bytes, which the sha256 proves, and they get the same name: nothing is journaled. Only if the
bytes differ (other hardware or versions, a program that is not deterministic) has something changed, and
`checkpoints.on_mismatch` decides between an error and a `Replaced` event.

Each checkpoint is made once, when all its inputs exist. One that was made only as an input is deleted
afterwards.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

from evodevo.run import pauses
from evodevo.run.assigning import assignment_of
from evodevo.run.checkpoints import CheckpointError, CheckpointStore
from evodevo.run.copies import find_copy
from evodevo.run.crew import (
    AttemptsLost,
    Message,
    NotBegun,
    Reported,
)
from evodevo.run.events import Replaced
from evodevo.run.history import History
from evodevo.run.journal import Removed
from evodevo.run.recipes import CannotRemakeError, Recipe, Recipes, plan
from evodevo.run.records import Assignment, CheckpointRef, Job, Outcome, WorkUnit
from evodevo.run.setup import JOURNAL, job_of

logger = logging.getLogger("evodevo.mending")

SIGN = "CheckpointError"
"""Text in the reason of a lost attempt that shows that a checkpoint could not be read."""
OTHER_BYTES = (
    "the remade checkpoint has other bytes than the original (other hardware or versions, or a program that "
    "is not deterministic)"
)


class Mending:
    """The damaged checkpoints of one run; the caller gives its units to workers and passes messages on to it.

    `accepts`: other bytes are accepted. `needed` returns the names of the checkpoints that must stay.
    """

    def __init__(
        self,
        history: History,
        directory: Path,
        store: CheckpointStore,
        accepts: bool,
        needed: Callable[[], Collection[str]],
    ) -> None:
        self.failed: dict[str, str] = {}
        """Reasons for the checkpoints that could not be remade, by name."""
        self.copied = 0
        self.made = 0
        self.epochs = 0
        """Member-epochs that were trained again."""
        self.held: set[str] = set()
        """Names of checkpoints in use, which must not be deleted."""
        self.history = history
        self._directory = directory
        self.store = store
        self._accepts = accepts
        self._needed = needed
        self._space = history.config.space()
        self._jobs: dict[int, Job] = {}
        self._ready: deque[Recipe] = deque()
        self._steps: dict[str, Recipe] = {}
        """Unfinished steps, by the name of the checkpoint that they make."""
        self._missing: dict[str, set[str]] = {}
        """The unfinished inputs of each step."""
        self._followers: dict[str, list[str]] = {}
        self._users: Counter[str] = Counter()
        """How many steps, or callers that need it for now, use a checkpoint."""
        self._targets: set[str] = set()
        self._made_here: set[str] = set()
        self._actual: dict[str, CheckpointRef] = {}
        """Replacements for checkpoints that got other bytes, by the names of the originals."""
        self._attempts: Counter[str] = Counter()
        self._unlucky: Counter[str] = Counter()
        """Attempts that were lost to workers and disks."""
        self._waiting: dict[str, set[str]] = {}
        """The checkpoints that each waiting member waits for."""

    @property
    def ready(self) -> int:
        """Number of units that workers could start now."""
        return len(self._ready)

    @property
    def busy(self) -> bool:
        """Whether any checkpoint is still to be remade."""
        return bool(self._steps)

    @property
    def account(self) -> str:
        """A summary of what was done; empty if nothing was."""
        found = []
        if self.made:
            found.append(
                f"{_counted(self.made, 'checkpoint')} remade "
                f"by training {_counted(self.epochs, 'member-epoch')}"
            )
        if self.copied:
            found.append(f"{_counted(self.copied, 'checkpoint')} restored from a copy")
        return "; ".join(found)

    def problems(self) -> list[str]:
        """Return a line for each checkpoint that could not be remade."""
        return [
            f"checkpoint {name} is damaged and could not be remade: {why}"
            for name, why in self.failed.items()
        ]

    async def need(self, refs: Iterable[CheckpointRef], for_now: bool = False) -> bool:
        """Start to remake those of `refs` that are damaged; return whether any was damaged.

        With `for_now` they are held only until `release`. Raises `CannotRemakeError`, and `CheckpointError`
        if the store cannot be read.
        """
        refs, recipes, whole = list(refs), Recipes(self.history), dict[str, bool]()
        reasons: dict[str, str | None] = {}
        copied = self.copied
        while True:
            steps, unknown = plan(recipes, refs, whole, self._steps)
            if not unknown:
                break
            reasons |= await self.look(unknown)
            whole = {name: why is None for name, why in reasons.items()}
        if for_now:
            self._users.update(ref.name for ref in refs)
        else:
            self._targets.update(ref.name for ref in refs)
        for step in steps:
            self._begin(step)
        if steps:
            told = [why for ref in refs if (why := reasons.get(ref.name))]
            logger.warning(
                "run %s: %s; to be remade: %s, %s",
                self.history.config.run.name,
                "; ".join(told),
                _counted(len(steps), "checkpoint"),
                _counted(sum(step.epochs for step in steps), "member-epoch"),
            )
        return self.copied > copied or any(ref.name in self._steps for ref in refs)

    async def release(self, refs: Iterable[CheckpointRef]) -> None:
        """Release checkpoints that were needed for now."""
        refs = list(refs)
        self._users.subtract(ref.name for ref in refs)
        await self._delete(self._used_up(refs))

    async def takes_over(self, message: AttemptsLost) -> bool:
        """Return whether attempts were lost to damaged inputs; if so, their members wait for these."""
        if SIGN not in message.why:
            return False
        try:
            if not await self.need([ref for one in message.assignments for ref in one.inputs]):
                return False
        except CheckpointError as why:
            logger.warning("run %s: %s", self.history.config.run.name, why)
            return False
        except CannotRemakeError as why:
            self.failed[why.name] = str(why)
            return False
        for one in message.assignments:
            self._waiting[one.member] = {ref.name for ref in one.inputs}
        return True

    def freed(self) -> list[str]:
        """Return, once, the members that no longer wait for any checkpoint."""
        found = [member for member, names in self._waiting.items() if self._steps.keys().isdisjoint(names)]
        for member in found:
            del self._waiting[member]
        return found

    def next_unit(self) -> WorkUnit | None:
        """Return the next unit for a worker; None if none is ready."""
        if not self._ready:
            return None
        step = self._ready.popleft()
        generations = self.history.generations_at(step.life, step.leg)
        if generations not in self._jobs:
            history, config = self.history, self.history.config.with_generations(generations)
            self._jobs[generations] = job_of(config, self._directory, history.run_id, history.begun.data)
        return WorkUnit(self._jobs[generations], [self._assignment(step)])

    def put_back(self, unit: WorkUnit) -> None:
        """Queue a unit again that was not begun."""
        for assignment in unit.assignments:
            self._queue(assignment)

    async def take(self, message: Message, put: Callable[[Message], None]) -> list[Replaced]:
        """Process a message about units; return the events to be journaled, and note errors in `failed`.

        As with members, lost workers and failing disks do not count; after a pause, `put` gets a message.
        """
        match message:
            case Reported() if message.outcome.status == "done":
                return await self._take_result(message.assignment, message.outcome)
            case Reported():
                why = (message.outcome.error or message.outcome.status).strip()
                await self._again(message.assignment, why, True, put)
            case AttemptsLost():
                counts = message.cause in ("own", "raised") and not message.preempted
                for assignment in message.assignments:
                    await self._again(assignment, message.why, counts, put)
            case NotBegun():
                for assignment in message.assignments:
                    self._queue(assignment)
        return []

    async def _take_result(self, assignment: Assignment, outcome: Outcome) -> list[Replaced]:
        made, ref = outcome.checkpoint, assignment.remakes
        assert ref is not None
        step = self._steps.get(ref.name)
        if step is None or made is None:
            await self._fail(ref.name, "no checkpoint was made")
            return []
        if made == ref:
            await self._done(step)
            return []
        is_target = ref.name in self._targets
        if not self._accepts:
            await self._fail(
                ref.name,
                f"{OTHER_BYTES}; restore the file, or accept the new parameters with "
                f"`evodevo verify {self.history.config.run.name} --repair --accept`",
            )
            await self._delete([made.name])
            return []
        logger.warning("run %s: %s has other bytes as %s", self.history.config.run.name, ref.name, made.name)
        self._actual[ref.name] = made
        self.held.add(made.name)
        await self._done(step)
        return [Replaced(step.life.id, step.leg, made)] if is_target else []

    async def _again(
        self, assignment: Assignment, why: str, counts: bool, put: Callable[[Message], None]
    ) -> None:
        """Try again after a failed attempt, unless the checkpoint exists after all or too many have failed.

        Raises `Removed` if the run's directory is gone, which would go unnoticed while nothing is journaled.
        """
        assert assignment.remakes is not None
        name = assignment.remakes.name
        step = self._steps.get(name)
        if step is None:
            return
        try:
            if await asyncio.to_thread(self.store.damage, step.ref) is None:  # lost after it was published
                await self._done(step)
                return
            if SIGN in why and await self.need(assignment.inputs):
                self._wait(step)
                return
        except CheckpointError as trouble:
            why = f"{why}; {trouble}"
        except CannotRemakeError as problem:
            await self._fail(name, str(problem))
            return
        self._attempts[name] += counts
        if self._attempts[name] >= self.history.config.limits.max_attempts:
            await self._fail(name, why)
        elif counts:
            self._ready.append(step)
        else:
            if not await asyncio.to_thread((self._directory / JOURNAL).exists):
                raise Removed(f"{self._directory / JOURNAL} was removed while the run was at work")
            self._unlucky[name] += 1
            logger.warning("run %s: %s waits: %s", self.history.config.run.name, name, why)
            loop = asyncio.get_running_loop()
            loop.call_later(pauses.pause_s(self._unlucky[name]), put, NotBegun([assignment]))

    async def look(self, refs: Iterable[CheckpointRef]) -> dict[str, str | None]:
        """Return what is wrong with each checkpoint, or None; restore those that have a copy elsewhere."""
        return await asyncio.to_thread(self._look, list(refs))

    def _look(self, refs: Iterable[CheckpointRef]) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for ref in refs:
            found[ref.name] = why = self.store.damage(ref)
            if why and (data := find_copy(self._directory, self.history, ref)) is not None:
                logger.warning("run %s: %s; restored from a copy", self.history.config.run.name, why)
                self.store.clear(ref.name)
                self.store.write({ref.name: data})
                self.copied += 1
                found[ref.name] = None
        return found

    def _begin(self, step: Recipe) -> None:
        self._steps[step.ref.name] = step
        self.held.add(step.ref.name)
        for ref in step.inputs:
            self._users[ref.name] += 1
            self.held.add(ref.name)
        self._wait(step)

    def _wait(self, step: Recipe) -> None:
        """Make a step wait for its unfinished inputs, or mark it as ready."""
        name = step.ref.name
        self._missing[name] = {ref.name for ref in step.inputs} & self._steps.keys()
        for other in self._missing[name]:
            self._followers.setdefault(other, []).append(name)
        if not self._missing[name]:
            self._ready.append(step)

    def _assignment(self, step: Recipe) -> Assignment:
        """Return the assignment of the original training, with the inputs that exist now."""
        first = assignment_of(self.history, self._space, step.life, step.leg)
        return replace(first.with_inputs(lambda ref: self._actual.get(ref.name, ref)), remakes=step.ref)

    def _queue(self, assignment: Assignment) -> None:
        if assignment.remakes and (step := self._steps.get(assignment.remakes.name)):
            self._ready.append(step)

    async def _done(self, step: Recipe) -> None:
        self._finish(step)
        self._made_here.add(step.ref.name)
        self.made += 1
        self.epochs += step.epochs
        await self._delete(self._used_up([*step.inputs, step.ref]))

    def _finish(self, step: Recipe) -> None:
        """Remove a finished step, and mark those as ready for which it was the last missing input."""
        del self._steps[step.ref.name]
        for ref in step.inputs:
            self._users[ref.name] -= 1
        for name in self._followers.pop(step.ref.name, ()):
            self._missing[name].discard(step.ref.name)
            if name in self._steps and not self._missing[name]:
                self._ready.append(self._steps[name])

    def _used_up(self, refs: Iterable[CheckpointRef]) -> list[str]:
        """Stop holding checkpoints that no step needs; return the files to delete, without targets."""
        found = []
        for ref in refs:
            at_hand = ref.name in self._steps or self._users[ref.name] > 0
            if ref.name in self.held and not at_hand:
                actual = self._actual.get(ref.name, ref).name
                self.held -= {ref.name, actual}
                if ref.name in self._made_here and ref.name not in self._targets:
                    found.append(actual)
        return found

    async def _delete(self, names: Iterable[str]) -> None:
        doomed = set(names).difference(self._needed())
        try:
            if doomed:
                await asyncio.to_thread(self.store.delete, sorted(doomed))
        except CheckpointError as why:
            logger.warning("run %s: %s", self.history.config.run.name, why)

    async def _fail(self, name: str, why: str) -> None:
        """Give up a checkpoint and everything that is made from it."""
        self.failed[name] = why
        doomed, inputs = [name], list[CheckpointRef]()
        while doomed:
            one = doomed.pop()
            step = self._steps.pop(one, None)
            if step is None:
                continue
            self.held.discard(one)
            if step in self._ready:
                self._ready.remove(step)
            inputs += step.inputs
            self._users.subtract(ref.name for ref in step.inputs)
            for follower in self._followers.pop(one, ()):
                self.failed.setdefault(follower, f"{one}, which it is made from, cannot be remade: {why}")
                doomed.append(follower)
        await self._delete(self._used_up(inputs))


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def is_remake(message: Message) -> bool:
    """Return whether a message is about a checkpoint that is being remade."""
    match message:
        case Reported():
            return message.assignment.remakes is not None
        case AttemptsLost() | NotBegun():
            return any(one.remakes for one in message.assignments)
    return False
