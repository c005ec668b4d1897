"""Free workers, and who gets them. One holder a worker; whoever waits, waits here.

Pure bookkeeping on an event loop: it knows nothing of Dask. A claim says how many workers it could use, and
hears of each that it is offered; it keeps the worker until it gives it back.
"""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field


@dataclass(eq=False)
class Claim:
    """The wish of a run for workers.

    `suits`: whether a worker will do; one that does may cease to, but never begin to. `offer` is called with
    each worker that the claim is given.
    """

    run: str
    offer: Callable[[str], None]
    suits: Callable[[str], bool] = lambda worker: True
    wants: int = 0
    """Workers that it could use now, including those it was offered and has neither used nor declined."""
    offered: set[str] = field(default_factory=set)
    preferred: Collection[str] = ()
    """Workers that it would rather have than others."""


class Pool:
    """The workers of a cluster, shared fairly by runs.

    A free worker goes to the eligible run that holds the fewest workers; of those free, a run gets one that
    it prefers, or else the one that was free first.
    """

    def __init__(self) -> None:
        self.free: dict[str, None] = {}
        """The workers that nobody has, the one that was free first in front."""
        self._taken: dict[str, Claim] = {}
        self._claims: list[Claim] = []
        self._busy: Counter[str] = Counter()

    @property
    def workers(self) -> set[str]:
        return {*self.free, *self._taken}

    def busy(self, run: str) -> int:
        """How many workers the run has now."""
        return self._busy[run]

    def at_work(self, worker: str) -> bool:
        """Whether somebody has the worker and uses it."""
        return worker in self._taken and worker not in self._taken[worker].offered

    def join(self, worker: str) -> None:
        if worker not in self.free and worker not in self._taken:
            self.free[worker] = None
            self.match()

    def leave(self, worker: str) -> None:
        """The worker is gone, whatever it was doing."""
        self._untake(worker)
        self.free.pop(worker, None)

    def claim(self, claim: Claim) -> None:
        """Take part in the sharing; `claim.wants` may change at any time (call `match` then)."""
        self._claims.append(claim)
        self.match()

    def withdraw(self, claim: Claim) -> None:
        """Want nothing any more; what was offered and not used goes back."""
        if claim in self._claims:
            self._claims.remove(claim)
        for worker in list(claim.offered):
            self.give_back(worker)

    def use(self, worker: str) -> None:
        """The holder has work for the worker that it was offered."""
        if claim := self._taken.get(worker):
            claim.offered.discard(worker)

    def give_back(self, worker: str) -> None:
        if self._untake(worker):
            self.free[worker] = None
            self.match()

    def match(self) -> None:
        """Offer free workers as long as anybody wants one that suits."""
        unsuited: set[int] = set()
        while self.free:
            wanting = [
                one for one in self._claims if one.wants > len(one.offered) and id(one) not in unsuited
            ]
            if not wanting:
                return
            claim = min(wanting, key=lambda one: self._busy[one.run])
            worker = self._best_for(claim)
            if worker is None:
                unsuited.add(id(claim))
                continue
            del self.free[worker]
            self._taken[worker] = claim
            self._busy[claim.run] += 1
            claim.offered.add(worker)
            claim.offer(worker)

    def _best_for(self, claim: Claim) -> str | None:
        few = len(claim.preferred) <= len(self.free)
        either, other = (claim.preferred, self.free) if few else (self.free, claim.preferred)
        for worker in either:
            if worker in other and claim.suits(worker):
                return worker
        return next(
            (worker for worker in self.free if claim.suits(worker)),
            None,
        )

    def _untake(self, worker: str) -> bool:
        claim = self._taken.pop(worker, None)
        if claim is None:
            return False
        self._busy[claim.run] -= 1
        claim.offered.discard(worker)
        return True
