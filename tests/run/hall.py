"""Claims on the workers of a `Pool`, and records of which claim holds which worker."""

from collections import Counter
from collections.abc import Callable, Collection, Hashable

from evodevo.run.pool import Claim, Pool

RUNS = ("one", "two", "three")


class Guest:
    """A run's claim, and the workers that it holds."""

    def __init__(self, claim: Claim) -> None:
        claim.offer = self._take
        self.claim = claim
        self.run = claim.run
        self.had: list[str] = []
        """All workers offered so far, in order."""
        self.working: list[str] = []
        """Workers in use."""

    def _take(self, worker: str) -> None:
        self.had.append(worker)

    @property
    def offered(self) -> set[str]:
        return self.claim.offered

    @property
    def waits(self) -> bool:
        return self.claim.wants > len(self.offered)


class Hall:
    """Guests of one `Pool`; `check` says what must hold at any time."""

    def __init__(self, *workers: str) -> None:
        self.pool = Pool()
        self.guests: list[Guest] = []
        for worker in workers:
            self.pool.join(worker)

    def ask(
        self,
        run: str,
        wants: int = 1,
        prefer: Collection[str] = (),
        suits: Collection[str] | None = None,
        at_once: int = 1,
        kind: Callable[[str], Hashable] = lambda worker: None,
    ) -> Guest:
        """Add a guest; `suits` are the workers that suit it (default: all)."""
        fit = (lambda worker: True) if suits is None else (lambda worker: worker in suits)
        guest = Guest(
            Claim(run, lambda worker: None, fit, wants, preferred=prefer, at_once=at_once, kind=kind)
        )
        self.guests.append(guest)
        self.pool.claim(guest.claim)
        self.check()
        return guest

    def work(self, guest: Guest, worker: str | None = None) -> str:
        """Let the guest use a worker (or team) that it was offered (default: the first)."""
        worker = worker or sorted(guest.offered)[0]
        guest.working += self.pool.use(worker)
        guest.claim.wants -= 1
        self.check()
        return worker

    def finish(self, guest: Guest, worker: str | None = None) -> None:
        """End the work of a worker (default: the one that has worked longest)."""
        worker = worker or guest.working[0]
        guest.working.remove(worker)
        self.pool.release(worker)
        self.check()

    def decline(self, guest: Guest, worker: str) -> None:
        guest.claim.wants -= 1
        self.pool.release(worker)
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
        """Check that the books agree, and that no guest waits for free, suitable, unreserved workers."""
        held = Counter(worker for guest in self.guests for worker in self.holding(guest))
        assert all(count == 1 for count in held.values()), f"two guests hold one worker: {held}"
        assert self.pool.workers == {*held, *self.pool.free}
        assert not held.keys() & self.pool.free.keys()
        for guest in self.guests:
            assert all(self.pool.at_work(worker) for worker in guest.working)
            assert not any(self.pool.at_work(worker) for worker in guest.offered)
            if guest.waits:
                assert len(self.suiting(guest, self.not_kept_from(guest))) < guest.claim.at_once
        for run in RUNS:
            assert self.pool.busy(run) == sum(len(self.holding(g)) for g in self.guests if g.run == run)
        if gathers := [guest for guest in self.guests if guest.claim is self.pool._gathering]:
            (guest,) = gathers
            if self.pool.free and guest.waits:
                assert len(self.suiting(guest, self.pool.workers)) >= guest.claim.at_once

    def holding(self, guest: Guest) -> list[str]:
        """Return the workers that a guest uses or is offered, with whole teams."""
        teams = [self.pool._teams.get(first, (first,)) for first in sorted(guest.offered)]
        return [*guest.working, *(worker for team in teams for worker in team)]

    def suiting(self, guest: Guest, workers: Collection[str]) -> list[str]:
        """Those of the workers that suit, of the most frequent kind if it is a team that is waited for."""
        fit = [worker for worker in workers if guest.claim.suits(worker)]
        if guest.claim.at_once == 1:
            return fit
        most = Counter(map(guest.claim.kind, fit)).most_common(1)
        return [worker for worker in fit if guest.claim.kind(worker) == most[0][0]] if most else []

    def not_kept_from(self, guest: Guest) -> list[str]:
        """Return the free workers that no other claim gathers."""
        gathers = next((one for one in self.guests if one.claim is self.pool._gathering), None)
        if gathers is None or gathers is guest or not gathers.waits:
            return list(self.pool.free)
        return [worker for worker in self.pool.free if not gathers.claim.suits(worker)]
