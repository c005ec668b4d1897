"""The free workers, and the claims that wait for them. Each worker has at most one holder.

Pure bookkeeping on an event loop, independent of Dask. A claim says how many workers it could use and is told
of each one that it is offered; it keeps the worker until it releases it.

A claim may need several workers at once (`at_once`): it is offered complete teams only. If it is its turn and
too few workers are free, it *gathers*: suitable free workers are kept for it until there are enough. Only one
claim gathers at a time, so no two wait for each other's workers. It goes before all others, so it does not
wait for ever beside claims that take every worker as it comes. A claim gathers only if the connected workers,
free or not, could satisfy it, so none is kept in vain. It holds nothing but that right: a claim that stops
wanting workers loses it without a trace.
"""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass, field
from itertools import chain


@dataclass(eq=False)
class Claim:
    """A run's demand for workers, or for teams of `at_once` workers.

    `suits` says whether a worker qualifies; if one qualifies only later, call `Pool.match` then. `offer` is
    called with each worker that the claim is given; a team goes by its first worker.
    """

    run: str
    offer: Callable[[str], None]
    suits: Callable[[str], bool] = lambda worker: True
    wants: int = 0
    """Workers (or teams) that it could use now, including those on offer that it has neither used nor
    declined."""
    offered: set[str] = field(default_factory=set)
    preferred: Collection[str] = ()
    """Workers that it prefers, alone or as the first of a team."""
    at_once: int = 1
    kind: Callable[[str], Hashable] = lambda worker: None
    """What the workers of a team must have in common, such as the kind of device."""


class Pool:
    """The workers of a cluster, shared fairly between runs.

    A free worker goes to the eligible run that holds the fewest workers; ties go to the run that was served
    longest ago. Of the free workers, a run gets one that it prefers, or else the one that has been free for
    longest.
    """

    def __init__(self) -> None:
        self.free: dict[str, None] = {}
        """The workers without a holder, longest free first."""
        self._taken: dict[str, Claim] = {}
        self._claims: list[Claim] = []
        self._busy: Counter[str] = Counter()
        self._served: dict[str, int] = {}
        """The number of the last offer to each run."""
        self._offers = 0
        self._teams: dict[str, tuple[str, ...]] = {}
        """Teams of several workers on offer, by their first worker."""
        self._first_of: dict[str, str] = {}
        """The first worker of its team, for each worker of a team on offer."""
        self._gathering: Claim | None = None

    @property
    def workers(self) -> set[str]:
        return {*self.free, *self._taken}

    def busy(self, run: str) -> int:
        """Return how many workers a run holds now."""
        return self._busy[run]

    def all_busy_elsewhere(self, run: str) -> bool:
        """Return whether a run wants workers and has none because other runs hold them."""
        wants = any(claim.run == run and claim.wants > 0 for claim in self._claims)
        return wants and not self._busy[run] and self._busy.total() > 0

    def at_work(self, worker: str) -> bool:
        """Return whether a worker has a holder that uses it."""
        claim = self._taken.get(worker)
        return claim is not None and worker not in claim.offered and worker not in self._first_of

    def join(self, worker: str) -> None:
        if worker not in self.free and worker not in self._taken:
            self.free[worker] = None
            self.match()

    def leave(self, worker: str) -> None:
        """Remove a worker, whatever it was doing; if it was on offer in a team, withdraw the team."""
        team = self._untake(worker)
        self.free.pop(worker, None)
        if others := [one for one in team if one != worker]:
            self.free.update(dict.fromkeys(others))
        if others or self._gathering:
            self.match()

    def claim(self, claim: Claim) -> None:
        """Add a claim; `claim.wants` may change at any time (call `match` then)."""
        self._claims.append(claim)
        self.match()

    def withdraw(self, claim: Claim) -> None:
        """Remove a claim; workers that it was offered and has not used are released."""
        if claim in self._claims:
            self._claims.remove(claim)
        for worker in list(claim.offered):
            self.release(worker)
        if self._gathering is claim:
            self.match()

    def use(self, worker: str) -> tuple[str, ...]:
        """Mark a worker (or team) as used by the claim that it was offered to; return the team.

        Each worker of a team is released separately.
        """
        if claim := self._taken.get(worker):
            claim.offered.discard(worker)
        team = self._teams.pop(worker, (worker,))
        for one in team:
            self._first_of.pop(one, None)
        return team

    def release(self, worker: str) -> None:
        """Release a worker; if it is only on offer, release its whole team."""
        if team := self._untake(worker):
            self.free.update(dict.fromkeys(team))
            self.match()

    def match(self) -> None:
        """Offer free workers while any claim wants one that suits it."""
        unsuited: set[int] = set()
        while self.free:
            wanting = [
                one for one in self._claims if one.wants > len(one.offered) and id(one) not in unsuited
            ]
            if self._gathering is not None and self._gathering not in wanting and not unsuited:
                self._gathering = None  # it wants no more workers
            if not wanting:
                return
            claim = self._next_of(wanting)
            team = self._team_for(claim)
            if team is None:
                unsuited.add(id(claim))
                continue
            self._give(claim, team)

    def _next_of(self, wanting: list[Claim]) -> Claim:
        if len(wanting) == 1:
            return wanting[0]
        if self._gathering in wanting:
            return self._gathering
        return min(wanting, key=lambda one: (self._busy[one.run], self._served.get(one.run, 0)))

    def _give(self, claim: Claim, team: tuple[str, ...]) -> None:
        for worker in team:
            del self.free[worker]
            self._taken[worker] = claim
        self._busy[claim.run] += len(team)
        self._offers += 1
        self._served[claim.run] = self._offers
        if len(team) > 1:
            self._teams[team[0]] = team
            self._first_of.update(dict.fromkeys(team, team[0]))
        claim.offered.add(team[0])
        claim.offer(team[0])

    def _team_for(self, claim: Claim) -> tuple[str, ...] | None:
        """Return as many free workers as a claim needs at once; None if there are too few."""
        if claim.at_once == 1:
            worker = self._best_for(claim)
            return None if worker is None else (worker,)
        best = self._best_for(claim)
        free = (one for one in self.free if one != best and self._may_have(claim, one))
        found = _first_of_a_kind(claim, free if best is None else chain([best], free))
        if found:
            if self._gathering is claim:
                self._gathering = None
            return tuple(found)
        if self._gathering is None or self._gathering is claim:
            there = (one for one in self.workers if claim.suits(one))
            self._gathering = claim if _first_of_a_kind(claim, there) else None
        return None

    def _may_have(self, claim: Claim, worker: str) -> bool:
        """Return whether a free worker suits a claim and is not kept for another one."""
        if self._gathering is not None and self._gathering is not claim and self._gathering.suits(worker):
            return False
        return claim.suits(worker)

    def _best_for(self, claim: Claim) -> str | None:
        few = len(claim.preferred) <= len(self.free)
        either, other = (claim.preferred, self.free) if few else (self.free, claim.preferred)
        for worker in either:
            if worker in other and self._may_have(claim, worker):
                return worker
        return next(
            (worker for worker in self.free if self._may_have(claim, worker)),
            None,
        )

    def _untake(self, worker: str) -> tuple[str, ...]:
        """Detach a worker from its holder, with its team if that is only on offer; return them."""
        claim = self._taken.get(worker)
        if claim is None:
            return ()
        first = self._first_of.get(worker, worker)
        team = self.use(first) if first in claim.offered else (worker,)
        for one in team:
            del self._taken[one]
        self._busy[claim.run] -= len(team)
        return team


def _first_of_a_kind(claim: Claim, workers: Iterable[str]) -> list[str]:
    """Return the first workers of one kind that complete a team; an empty list if there are too few."""
    by_kind: dict[Hashable, list[str]] = {}
    for worker in workers:
        alike = by_kind.setdefault(claim.kind(worker), [])
        alike.append(worker)
        if len(alike) == claim.at_once:
            return alike
    return []
