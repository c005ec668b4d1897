"""Train one of several members with the same hyperparameters, and share its outcome with the others.

That applies if each member trains from scratch. It also applies if genomes grow in phases (`search.phases`),
in which all members of a phase start with the same parameters; there it is limited to members of a generation
and the one before, whose checkpoints are kept. Such members have the same training seed
(`evodevo.evolution.rng.genome_seed`), so history does not depend on which of them is trained. Pure.
"""

import json
from collections.abc import Iterator
from dataclasses import replace

from evodevo.evolution.space import Genome, Space
from evodevo.run.events import Result
from evodevo.run.history import History
from evodevo.run.life import Life
from evodevo.run.records import Outcome


def key_of(space: Space, genome: Genome) -> str:
    """Return a text that is equal for genomes with the same hyperparameters."""
    return json.dumps(space.express(genome), sort_keys=True, ensure_ascii=False)


class Twins:
    """The members of one run that wait for the outcome of another one."""

    def __init__(self, history: History, space: Space) -> None:
        self._history = history
        self._space = space
        self._first: dict[str, Life] = {}
        """The member that is or was trained, for each key."""
        self._followers: dict[str, list[Life]] = {}
        """Waiting members, by the key of the member that they wait for."""
        self._grows = history.config.search.phases is not None and history.inherits
        self._latest: dict[str, int] = {}
        """The latest generation that has a member with a key, if genomes grow."""
        if not history.inherits or self._grows:
            for life in history.births:
                if life.outcome and life.status != "failed" and (self._grows or not life.same_as):
                    self._note(self._key(life), life)

    def is_first(self, life: Life) -> bool:
        """Return whether a member is to be trained; otherwise it waits for a result from `results`."""
        if self._history.inherits and not self._grows:
            return True
        key = self._key(life)
        self._note(key, life)
        if key not in self._history.known and self._first[key] is life:
            return True
        self._followers.setdefault(key, []).append(life)
        return False

    def _note(self, key: str, life: Life) -> None:
        """Record a member as the first with a key, or as a further one."""
        gone = self._grows and self._latest.get(key, life.generation) < life.generation - 1
        if key not in self._first or (gone and not life.same_as):
            self._first[key] = life
        if self._grows:
            self._latest[key] = life.generation

    def results(self) -> list[Result]:
        """Return the results of waiting members whose outcome is known; they wait no longer."""
        found = []
        for key in list(self._followers):
            if outcome := self._outcome(key):
                whose = self._whose(key)
                shared = replace(outcome.without_times(), notes=(f"as {whose}",))
                found += [Result(life.id, shared, same_as=whose) for life in self._followers.pop(key)]
        return found

    def freed(self) -> Iterator[Life]:
        """Yield members to be trained because the one that they waited for has failed."""
        for key in list(self._followers):
            if key in self._first and self._first[key].status == "failed":
                self._first[key], *others = self._followers.pop(key)
                if others:
                    self._followers[key] = others
                yield self._first[key]

    def _key(self, life: Life) -> str:
        return key_of(self._space, life.birth.genome)

    def _outcome(self, key: str) -> Outcome | None:
        """Return the outcome that followers take, unless it failed, which may be chance."""
        if key in self._history.known:
            return self._history.known[key][1]
        life = self._first[key]
        return None if life.status == "failed" else life.outcome

    def _whose(self, key: str) -> str:
        return self._history.known[key][0] if key in self._history.known else self._first[key].id
