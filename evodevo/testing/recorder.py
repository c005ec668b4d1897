"""Record the calls of a strategy, and their answers."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from evodevo.evolution.fitness import is_usable
from evodevo.evolution.population import Birth, Member, Population
from evodevo.evolution.strategies import Strategy


@dataclass(frozen=True)
class Asked:
    """A call of a strategy's method, and its answer.

    `members`: the parents of a birth, the members told, or the one judged. `own`: the position of a birth's
    predecessor, or the leg that is judged. `born`: the birth whose second parameter parent is asked for.
    """

    method: str
    generation: int
    slot: int
    members: tuple[Member, ...]
    own: int
    answer: Any
    touched: bool = False
    """Whether the call changed the members."""
    born: Birth | None = None

    def ask(self, strategy: Strategy) -> Any:
        """Return the answer of a strategy to the same call."""
        match self.method:
            case "founder":
                return strategy.founder(self.generation, self.slot)
            case "needs":
                needed = strategy.needs(self.generation, self.slot)
                return None if needed is None else list(needed)
            case "birth":
                parents = strategy.evaluated(self.members)
                return strategy.birth(self.generation, self.slot, parents, self.own)
            case "beta":
                assert self.born is not None
                parents = strategy.evaluated(self.members)
                return strategy.beta(self.generation, self.slot, parents, self.own, self.born)
            case "judge":
                return strategy.judge(self.members[0], self.own)
        strategy.tell(self.members)
        return None

    def with_failures(self, fom: float | None) -> "Asked":
        """Return the same call, with that fom for the parents that failed and for one more."""
        usable = [at for at, one in enumerate(self.members) if is_usable(one.fom)]
        kept = set(usable[1:] if len(usable) > 1 else usable)
        members = tuple(one if at in kept else replace(one, fom=fom) for at, one in enumerate(self.members))
        return replace(self, members=members)

    def __str__(self) -> str:
        members = ", ".join(f"{one.id} with fom {one.fom}" for one in self.members)
        match self.method:
            case "birth" | "beta":
                return f"{self.method}({self.generation}, {self.slot}, parents: {members}; own={self.own})"
            case "judge":
                return f"judge({members}, {self.own})"
            case "tell":
                return f"tell({members})"
        return f"{self.method}({self.generation}, {self.slot})"


class Recorder(Strategy):
    """A strategy that passes each call on to another one, and records it in `asked`."""

    def __init__(self, strategy: Strategy) -> None:
        super().__init__(
            strategy.space, strategy.population, strategy.mode, strategy.seed, strategy.options, strategy.pool
        )
        self._strategy = strategy
        self.inherits, self.phases = strategy.inherits, strategy.phases
        self.keeps_to_bounds = strategy.keeps_to_bounds  # type: ignore[misc]
        self.asked: list[Asked] = []

    @property
    def label(self) -> str:
        return self._strategy.label

    def needs(self, generation: int, slot: int) -> Sequence[int] | None:
        needed = self._strategy.needs(generation, slot)
        self._note("needs", generation, slot, (), 0, None if needed is None else list(needed))
        return needed

    def founder(self, generation: int, slot: int) -> Birth:
        birth = self._strategy.founder(generation, slot)
        self._note("founder", generation, slot, (), 0, birth)
        return birth

    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        members = tuple(parents.members)
        before = repr(members)
        birth = self._strategy.birth(generation, slot, parents, own)
        self._note("birth", generation, slot, members, own, birth, before)
        return birth

    def beta(self, generation: int, slot: int, parents: Population, own: int, birth: Birth) -> str:
        members = tuple(parents.members)
        before, born = repr(members), copy.deepcopy(birth)
        answer = self._strategy.beta(generation, slot, parents, own, birth)
        self._note("beta", generation, slot, members, own, answer, before, born)
        return answer

    def evaluated(self, members: Sequence[Member]) -> Population:
        return self._strategy.evaluated(members)

    def tell(self, members: Sequence[Member]) -> None:
        before = repr(tuple(members))
        self._strategy.tell(members)
        self._note("tell", 0, 0, tuple(members), 0, None, before)

    def judge(self, member: Member, leg: int) -> bool:
        before = repr((member,))
        answer = self._strategy.judge(member, leg)
        self._note("judge", 0, 0, (member,), leg, answer, before)
        return answer

    def _note(
        self,
        method: str,
        generation: int,
        slot: int,
        members: tuple[Member, ...],
        own: int,
        answer: Any,
        before: str = "()",
        born: Birth | None = None,
    ) -> None:
        kept = copy.deepcopy(answer) if isinstance(answer, Birth) else answer
        touched = bool(members) and repr(members) != before
        self.asked.append(Asked(method, generation, slot, members, own, kept, touched, born))


def same_answer(one: Any, other: Any) -> bool:
    """Return whether two answers are equal in type, value and order, as the journal would have them."""
    return repr(one) == repr(other)


def text_of(birth: Any) -> str:
    """Return a short text of an answer."""
    if not isinstance(birth, Birth):
        return repr(birth)
    parents = f"{birth.parent_a}, {birth.parent_b}, {birth.parent_params}"
    return f"{dict(birth.genome)!r} of ({parents})"
