"""Claims on the workers of a `Pool`, and books of who holds what."""

from collections import Counter
from collections.abc import Collection

from evodevo.run.pool import Claim, Pool

RUNS = ("one", "two", "three")


class Guest:
    """One claim of a run, and the workers that it has."""

    def __init__(self, claim: Claim) -> None:
        claim.offer = self._take
        self.claim = claim
        self.run = claim.run
        self.had: list[str] = []
        """Every worker that it was offered, in that order."""
        self.working: list[str] = []
        """Those that it uses."""

    def _take(self, worker: str) -> None:
        self.had.append(worker)

    @property
    def offered(self) -> set[str]:
        return self.claim.offered

    @property
    def holding(self) -> list[str]:
        return [*self.working, *sorted(self.offered)]


class Hall:
    """Guests of one `Pool`; `check` says what must hold at any time."""

    def __init__(self, *workers: str) -> None:
        self.pool = Pool()
        self.guests: list[Guest] = []
        for worker in workers:
            self.pool.join(worker)

    def ask(
        self, run: str, wants: int = 1, prefer: Collection[str] = (), suits: Collection[str] | None = None
    ) -> Guest:
        """`suits`: the workers that will do; all of them if nothing is said."""
        fit = (lambda worker: True) if suits is None else (lambda worker: worker in suits)
        guest = Guest(Claim(run, lambda worker: None, fit, wants, preferred=prefer))
        self.guests.append(guest)
        self.pool.claim(guest.claim)
        self.check()
        return guest

    def work(self, guest: Guest, worker: str | None = None) -> str:
        """The guest has work for a worker that it was offered: the first, if nothing is said."""
        worker = worker or sorted(guest.offered)[0]
        self.pool.use(worker)
        guest.working.append(worker)
        guest.claim.wants -= 1
        self.check()
        return worker

    def finish(self, guest: Guest, worker: str | None = None) -> None:
        """The work of a worker is over: the one that has been at it for longest, if nothing is said."""
        worker = worker or guest.working[0]
        guest.working.remove(worker)
        self.pool.give_back(worker)
        self.check()

    def decline(self, guest: Guest, worker: str) -> None:
        guest.claim.wants -= 1
        self.pool.give_back(worker)
        self.check()

    def want(self, guest: Guest, wants: int) -> None:
        guest.claim.wants = wants
        self.pool.match()
        self.check()

    def withdraw(self, guest: Guest) -> None:
        self.pool.withdraw(guest.claim)
        guest.claim.wants = 0
        self.check()

    def leave(self, worker: str) -> None:
        self.pool.leave(worker)
        for guest in self.guests:
            guest.working = [one for one in guest.working if one != worker]
        self.check()

    def busy(self) -> list[int]:
        return [self.pool.busy(run) for run in RUNS]

    def check(self) -> None:
        """The books agree, and nobody waits for a worker that is free and suits."""
        held = Counter(worker for guest in self.guests for worker in guest.holding)
        assert all(count == 1 for count in held.values()), f"two guests hold one worker: {held}"
        assert self.pool.workers == {*held, *self.pool.free}
        assert not held.keys() & self.pool.free.keys()
        for guest in self.guests:
            assert all(self.pool.at_work(worker) for worker in guest.working)
            assert not any(self.pool.at_work(worker) for worker in guest.offered)
            if guest.claim.wants > len(guest.offered):
                assert not any(guest.claim.suits(worker) for worker in self.pool.free)
        for run in RUNS:
            assert self.pool.busy(run) == sum(len(g.holding) for g in self.guests if g.run == run)
