"""A strategy as the engine asks it: what it raises or answers wrongly fails the run, with a reason.

Strategies may be a user's own; whatever they do, the service and its other runs go on.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from evodevo.errors import RunFailed
from evodevo.evolution.strategies import Birth, Member, Population, Strategy
from evodevo.run.place import place_of
from evodevo.run.twins import key_of

Answer = TypeVar("Answer")


class Guarded:
    """A strategy whose methods raise nothing but `RunFailed`."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self._name = type(strategy).__name__
        self.population = strategy.population
        self.seed = strategy.seed
        self.pool = strategy.pool
        self.inherits = strategy.inherits

    def key(self, birth: Birth) -> str:
        """Return what is the same for births with the same hyperparameters."""
        return self._ask("birth", key_of, self._strategy.space, birth.genome)

    def needs(self, generation: int, slot: int) -> Sequence[int] | None:
        """Return the slots that a birth needs, ascending, its own among them; None for all."""
        where = f"needs({generation}, {slot})"
        needed = self._ask(where, self._strategy.needs, generation, slot)
        if needed is None:
            return None
        slots = list(needed)
        legal = all(type(at) is int and 0 <= at < self.population for at in slots)
        if not (legal and slots == sorted(set(slots)) and slot in slots):
            raise self._failed(
                where,
                f"returned {needed!r}; it should be None, or slots from 0 to {self.population - 1}, "
                f"ascending, {slot} among them",
            )
        return slots

    def founder(self, generation: int, slot: int) -> Birth:
        where = f"founder({generation}, {slot})"
        return self._checked(where, self._ask(where, self._strategy.founder, generation, slot), None)

    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        where = f"birth({generation}, {slot}, ...)"
        return self._checked(
            where, self._ask(where, self._strategy.birth, generation, slot, parents, own), parents
        )

    def evaluated(self, members: Sequence[Member]) -> Population:
        return self._ask("evaluated(...)", self._strategy.evaluated, members)

    def tell(self, members: Sequence[Member]) -> None:
        self._ask("tell(...)", self._strategy.tell, members)

    def judge(self, member: Member, leg: int) -> bool:
        return bool(self._ask(f"judge({member.id}, {leg})", self._strategy.judge, member, leg))

    def _ask(self, where: str, method: Callable[..., Answer], *arguments: Any) -> Answer:
        try:
            return method(*arguments)
        except BaseException as why:  # also what would end a process or a task
            raise self._failed(where, f"raised {type(why).__name__}: {why}{place_of(why)}") from why

    def _checked(self, where: str, birth: Any, parents: Population | None) -> Birth:
        """Whoever gives parameters, and with inheritance hyperparameters too, is one of the parents."""
        if not isinstance(birth, Birth):
            raise self._failed(where, f"returned {birth!r}, which is not a Birth")
        named = (
            {birth.parent_params}
            if not self.inherits
            else {birth.parent_a, birth.parent_b, birth.parent_params}
        )
        known = parents.members.ids if parents else frozenset()
        if strangers := sorted(name for name in named if name is not None and name not in known):
            raise self._failed(where, f"names {', '.join(strangers)}, not among the parents it was given")
        return birth

    def _failed(self, where: str, what: str) -> RunFailed:
        return RunFailed(f"strategy {self._name}: {where} {what}")
