"""Free workers, and who gets them. One holder a worker; whoever waits, waits here.

Pure bookkeeping on an event loop: it knows nothing of Dask. A claim says how many workers it could use, and
hears of each that it is offered; it keeps the worker until it gives it back.

A claim may need several workers at once (`at_once`): it is offered teams, whole ones or none. If it is its
turn and too few are free, it *gathers*: free workers that suit it are kept for it until they are enough. Only
one claim gathers at a time, so that no two wait for each other's workers; it goes before all others, so that
it does not wait for ever beside claims that take every worker as it comes; and only one that the workers
which are there, free or not, could satisfy gathers, so that none is kept for nothing. Nothing is held while
it gathers but that right: a claim that ceases to want loses it with no trace.
"""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass, field
from itertools import chain


@dataclass(eq=False)
class Claim:
    """The wish of a run for workers, or for teams of `at_once` workers.

    `suits`: whether a worker will do; where one begins to that did not, call `Pool.match`. `offer` is called
    with each worker that the claim is given, of a team with its first, by which the whole team goes.
    """

    run: str
    offer: Callable[[str], None]
    suits: Callable[[str], bool] = lambda worker: True
    wants: int = 0
    """Workers (or teams) that it could use now, those included that it has neither used nor declined."""
    offered: set[str] = field(default_factory=set)
    preferred: Collection[str] = ()
    """Workers that it would rather have than others, or have as the first of a team."""
    at_once: int = 1
    kind: Callable[[str], Hashable] = lambda worker: None
    """What workers of one team must have in common, such as a kind of device."""


class Pool:
    """The workers of a cluster, shared fairly by runs.

    A free worker goes to the eligible run that holds the fewest workers, of several to the one that was last
    given a worker longest ago; of those free, a run gets one that it prefers, or else the one that was free
    first.
    """

    def __init__(self) -> None:
        self.free: dict[str, None] = {}
        """The workers that nobody has, the one that was free first in front."""
        self._taken: dict[str, Claim] = {}
        self._claims: list[Claim] = []
        self._busy: Counter[str] = Counter()
        self._served: dict[str, int] = {}
        """For each run the number of the offer that was its last."""
        self._offers = 0
        self._teams: dict[str, tuple[str, ...]] = {}
        """Teams of several workers that are offered, by their first."""
        self._first_of: dict[str, str] = {}
        """The first of its team, for each worker in such a team."""
        self._gathering: Claim | None = None

    @property
    def workers(self) -> set[str]:
        return {*self.free, *self._taken}

    def busy(self, run: str) -> int:
        """How many workers the run has now."""
        return self._busy[run]

    def at_work(self, worker: str) -> bool:
        """Whether somebody has the worker and uses it."""
        claim = self._taken.get(worker)
        return claim is not None and worker not in claim.offered and worker not in self._first_of

    def join(self, worker: str) -> None:
        if worker not in self.free and worker not in self._taken:
            self.free[worker] = None
            self.match()

    def leave(self, worker: str) -> None:
        """The worker is gone, whatever it was doing. A team that it was offered in is offered no more."""
        team = self._untake(worker)
        self.free.pop(worker, None)
        if others := [one for one in team if one != worker]:
            self.free.update(dict.fromkeys(others))
        if others or self._gathering:
            self.match()

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
        if self._gathering is claim:
            self.match()

    def use(self, worker: str) -> tuple[str, ...]:
        """The holder has work for the worker (or team) that it was offered; returns the team.

        Each worker of a team is given back by itself.
        """
        if claim := self._taken.get(worker):
            claim.offered.discard(worker)
        team = self._teams.pop(worker, (worker,))
        for one in team:
            self._first_of.pop(one, None)
        return team

    def give_back(self, worker: str) -> None:
        """The worker is free; if it is offered, its whole team is."""
        if team := self._untake(worker):
            self.free.update(dict.fromkeys(team))
            self.match()

    def match(self) -> None:
        """Offer free workers as long as anybody wants one that suits."""
        unsuited: set[int] = set()
        while self.free:
            wanting = [
                one for one in self._claims if one.wants > len(one.offered) and id(one) not in unsuited
            ]
            if self._gathering is not None and self._gathering not in wanting and not unsuited:
                self._gathering = None  # it wants nothing any more
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
        """Free workers for a claim, as many as it needs at once, or None."""
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
        """Whether a free worker suits a claim and is not kept for another one."""
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
        """Take a worker from its holder, with its team if that is only offered; return who is free then."""
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
    """Return the first workers of one kind that are enough for a team; none if they are too few."""
    by_kind: dict[Hashable, list[str]] = {}
    for worker in workers:
        alike = by_kind.setdefault(claim.kind(worker), [])
        alike.append(worker)
        if len(alike) == claim.at_once:
            return alike
    return []
