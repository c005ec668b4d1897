"""Guard the engine against strategies: an exception or a wrong answer fails the run, with a reason.

A strategy may be a user's; whatever it does, the service and its other runs continue.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, TypeVar

import numpy as np

from evodevo.errors import RunFailed
from evodevo.evolution.strategies import Birth, Member, Population, Strategy
from evodevo.run.place import place_of, place_of_method
from evodevo.run.twins import key_of

Answer = TypeVar("Answer")
LONGEST_SHOWN = 80


class Guarded:
    """A strategy whose methods raise only `RunFailed`."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self._name = strategy.label
        self._space = strategy.space
        self._in_bounds = strategy.keeps_to_bounds
        self.population = strategy.population
        self.seed = strategy.seed
        self.pool = strategy.pool
        self.inherits = strategy.inherits
        self.keeps_to_itself = strategy.keeps_to_itself
        self.phases = strategy.phases
        self.ploidy: int | None = None
        """The number of networks that a birth must have if it names any; None allows any number."""
        self._told: set[str] = set()

    def key(self, birth: Birth) -> str:
        """Return a text that is equal for births with the same hyperparameters."""
        return key_of(self._space, birth.genome)

    def needs(self, generation: int, slot: int) -> Sequence[int] | None:
        """Return the slots that a birth needs, ascending and including its own; None for all."""
        where = f"needs({generation}, {slot})"
        needed = self._ask(where, self._strategy.needs, generation, slot)
        if needed is None:
            return None
        slots: list[Any] = self._ask(where, list, needed)
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

    def beta(self, generation: int, slot: int, parents: Population, own: int, birth: Birth) -> str:
        where = f"beta({generation}, {slot}, ...)"
        answer = self._ask(where, self._strategy.beta, generation, slot, parents, own, birth)
        if type(answer) is not str or answer not in parents.members.ids or answer in parents.failed:
            raise self._failed(where, f"returned {answer!r}; it should be a parent that has a fom")
        return answer

    def evaluated(self, members: Sequence[Member]) -> Population:
        return self._ask("evaluated(...)", self._strategy.evaluated, members)

    def tell(self, members: Sequence[Member]) -> None:
        if not self.inherits:
            self._told.update(member.id for member in members)
        self._ask("tell(...)", self._strategy.tell, members)

    def judge(self, member: Member, leg: int) -> bool:
        where = f"judge({member.id}, {leg})"
        answer = self._ask(where, self._strategy.judge, member, leg)
        if not isinstance(answer, bool | np.bool_):
            raise self._failed(where, f"returned {answer!r}; it should be True or False")
        return bool(answer)

    def _ask(self, where: str, method: Callable[..., Answer], *arguments: Any) -> Answer:
        try:
            return method(*arguments)
        except BaseException as why:  # including those that end a process or a task
            told = f"{where} raised {type(why).__name__}: {why}{place_of(why, method=method)}"
            raise RunFailed(f"strategy {self._name}: {told}") from why

    def _checked(self, where: str, birth: Any, parents: Population | None) -> Birth:
        """Return a birth if its genome is in the space and every member that it names is a parent.

        Without inheritance it may also name any member that the strategy was told about.
        """
        if not isinstance(birth, Birth):
            told = f"returned {_short(birth)}, which is not a Birth"
            raise self._failed(where, f"{told}; return Birth(genome, parent_a=..., parent_params=...)")
        is_mapping = isinstance(birth.genome, Mapping)
        if not (is_mapping and self._space.contains(birth.genome)) and (flaw := self._flaw(birth.genome)):
            raise self._failed(where, f"returned a genome {flaw}")
        if birth.networks and len(birth.networks) != (self.ploidy or len(birth.networks)):
            count = len(birth.networks)
            raise self._failed(where, f"returned {count} networks, but search.ploidy is {self.ploidy}")
        for network in birth.networks:
            if network.genome is not None and (flaw := self._flaw(network.genome)):
                raise self._failed(where, f"returned a network with a genome {flaw}")
        givers = [birth.parent_params, *(network.parent for network in birth.networks)]
        known = self._known(parents) if parents else frozenset()
        named = [name for name in (birth.parent_a, birth.parent_b, *givers) if name is not None]
        strangers = [
            str(name)
            for name in named
            if type(name) is not str or (name not in known and name not in self._told)
        ]
        if strangers := sorted(set(strangers)):
            told = f"names {', '.join(map(_short, strangers))}, not among the parents that it was given"
            raise self._failed(where, f"{told}; a parent is named by its id, such as 'g000s002'")
        if parents and (failed := [name for name in givers if name in parents.failed]):
            raise self._failed(where, f"takes the parameters of {failed[0]}, which failed and has none")
        if birth.training_seed is not None and type(birth.training_seed) is not int:
            raise self._failed(where, f"has the training seed {birth.training_seed!r}; give an int or None")
        return birth

    def _known(self, parents: Population) -> Set[str]:
        """Return the members that a birth may name: those given, and in phases those they continued from."""
        if self.phases is None:
            return parents.members.ids
        continued_from = {one.birth.parent_params for one in parents.members} - {None}
        return {*parents.members.ids, *map(str, continued_from)}

    def _flaw(self, genome: Any) -> str | None:
        """Return what is wrong with a genome and what would be right; None if it is valid."""
        loci = self._space.loci
        if not isinstance(genome, Mapping):
            return f"{genome!r}, which is not a mapping of loci to values"
        if missing := [name for name in loci if name not in genome]:
            return f"without {', '.join(missing)}; the loci are {', '.join(loci)}"
        if unknown := [str(name) for name in genome if name not in loci]:
            return f"with {', '.join(unknown)}, which is not a locus; the loci are {', '.join(loci)}"
        for name, locus in loci.items():
            value = genome[name]
            if self._in_bounds and not locus.contains(value):
                plain = "; convert it with numpy's .item()" if isinstance(value, np.generic) else ""
                return f"with {name} = {value!r}, which should be {_domain(locus)}{plain}"
        return None

    def _failed(self, where: str, what: str) -> RunFailed:
        """Return the error for a method's wrong answer; `where` is the call."""
        place = place_of_method(getattr(self._strategy, where.partition("(")[0]))
        return RunFailed(f"strategy {self._name}: {where} {what}{place}")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _domain(locus: Any) -> str:
    match locus.type:
        case "float" | "int":
            return f"{'a float' if locus.type == 'float' else 'an int'} from {locus.low} to {locus.high}"
        case "choice":
            return f"one of {locus.choices!r}"
        case "bool":
            return "True or False"
    return repr(locus.value)
