"""The connected workers: what each of them is, and what it is fit for."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evodevo.run.crew import ANYTHING, Needs
from evodevo.versions import differences, own_versions

ROOM = 1.25
"""A leg starts on a worker whose end is known only if this many times its expected seconds are left."""
MOST_REASONS = 20


@dataclass(eq=False)
class Presence:
    """One worker, while it is connected. Another one may come with its address."""

    device: str
    ends_at: float | None
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    leaving: str | None = None
    refused: dict[str, str] = field(default_factory=dict)
    """Runs that it must take no part in, and why."""


@dataclass(frozen=True)
class Unused:
    """Connected workers that get no work: how many, and the reasons for the first `MOST_REASONS` of them."""

    count: int
    reasons: Sequence[str]


class Roster:
    """The connected workers, and why some of them get no work."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._present: dict[str, Presence] = {}
        self._unusable: dict[str, str] = {}

    def get(self, worker: str) -> Presence | None:
        """Return a worker that can be given work; None if it is not connected."""
        return self._present.get(worker)

    def join(self, worker: str, about: Mapping[str, Any] | None) -> str | None:
        """Add a worker, described by `about`; return why it cannot be given work, or None if it can."""
        problem = _why_unusable(about)
        if about is None or problem:
            self._unusable[worker] = str(problem)
            return problem
        self._unusable.pop(worker, None)
        self._present[worker] = Presence(about["device"], about["ends_at"])
        return None

    def leave(self, worker: str) -> None:
        """Remove a worker."""
        self._unusable.pop(worker, None)
        if present := self._present.pop(worker, None):
            present.lost.set()

    def refuse(self, run: str, worker: str, why: str) -> None:
        """Exclude a worker from a run while it is connected."""
        if present := self._present.get(worker):
            present.refused[run] = why

    def restore(self, run: str, worker: str, why: str) -> None:
        """Admit a worker to a run again, if `why` is the reason for which it was refused."""
        present = self._present.get(worker)
        if present and present.refused.get(run) == why:
            del present.refused[run]

    def pardon(self, run: str) -> None:
        """Drop all refusals by a run's name, because a new run begins with that name."""
        for present in self._present.values():
            present.refused.pop(run, None)

    def fit(self, needs: Needs = ANYTHING) -> list[str]:
        """Return the workers that meet the needs and are not leaving."""
        return [worker for worker in self._staying() if not self.why_unfit(worker, needs)]

    def suits(self, worker: str, needs: Needs) -> bool:
        """Return whether a connected worker meets the needs, and no other one is preferable."""
        if self.why_unfit(worker, needs):
            return False
        return worker != needs.avoid or not self.has_another(worker, needs)

    def has_another(self, worker: str, needs: Needs) -> bool:
        """Return whether another worker, which is not leaving, meets the needs."""
        return any(
            one != worker and not present.leaving and not self.why_unfit(one, needs)
            for one, present in self._present.items()
        )

    def fit_together(self, needs: Needs = ANYTHING) -> int:
        """Return how many fit workers could form one gang: those of the most frequent kind."""
        return max(Counter(map(self.kind, self.fit(needs))).values(), default=0)

    def problems(self, needs: Needs = ANYTHING) -> list[str]:
        """Return a line for each worker that is unusable, or stays but does not meet the needs."""
        found = {**self._unusable, **{worker: self.why_unfit(worker, needs) for worker in self._staying()}}
        return [f"worker {worker}: {why}" for worker, why in found.items() if why]

    def unused(self, needs: Needs = ANYTHING) -> Unused:
        """Return `problems` for display: their number, and not more reasons than one can read."""
        problems = self.problems(needs)
        return Unused(len(problems), problems[:MOST_REASONS])

    def why_unfit(self, worker: str, needs: Needs) -> str | None:
        present = self._present[worker]
        if why := present.refused.get(needs.run):
            return why
        if needs.gpu and present.device == "cpu":
            return "it sees no GPU, but the config requires one (cluster.device: gpu)"
        if present.ends_at is not None and needs.seconds is not None:
            left = present.ends_at - self._clock()
            if left < ROOM * needs.seconds:
                return f"it ends in {left:.0f} s, too soon for another epoch ({needs.seconds:.0f} s)"
        return None

    def kind(self, worker: str) -> str:
        """Return the kind of a worker's device; all workers of a gang are of one kind."""
        return "cpu" if self._present[worker].device == "cpu" else "gpu"

    def _staying(self) -> list[str]:
        return sorted(worker for worker, present in self._present.items() if not present.leaving)


def _why_unusable(about: Mapping[str, Any] | None) -> str | None:
    if about is None:
        return "it was started without --preload workers.preload"
    if about["problem"]:
        return str(about["problem"])
    differing = differences(own_versions(), about["versions"])
    return f"its versions differ from the scheduler's: {', '.join(differing)}" if differing else None
