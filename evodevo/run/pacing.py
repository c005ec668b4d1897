"""Decide which births may happen now, and what is born, from the strategy's needs and the finished members.

Pure: no clock, no files, no Dask. A pacing is told of every birth and every finished life in journal order,
whether it happens now or is read again after a restart.

  generations, pools   A child is born as soon as the members that it needs are done: the whole generation
                       before it, or its mating pool. The number and speed of workers affect when it is
                       born, and nothing else. No slot runs far ahead: a birth in generation g + 1 waits
                       for all of g - 2, so the checkpoints that must be kept stay bounded.
  steady               A child is born when a worker is available, from the last `population` members that
                       are done. It succeeds the one among them that has been done for longest and has no
                       successor yet. Which members are done depends on the workers; the journal has it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace

from evodevo.evolution.population import Window
from evodevo.evolution.rng import genome_seed, training_seed
from evodevo.evolution.strategies import Birth, Member, Population, Strategy
from evodevo.run.bearing import Bearing
from evodevo.run.events import Averaging, Born, mean_id, member_id
from evodevo.run.guard import Guarded
from evodevo.run.history import History
from evodevo.run.life import Life, Mean
from evodevo.run.means import Means

DRIFT = 3
"""A birth waits for the whole generation that is this many before its own."""

PORTION = 500
"""Maximum number of births per call: at some 50 us each, they block an event loop for 25 ms."""


class Pacing(ABC):
    """Base class of the paces, which numbers births and derives their places and seeds."""

    def __init__(self, strategy: Strategy, generations: int) -> None:
        self.strategy = Guarded(strategy)
        self.bearing = Bearing(strategy, self.strategy)
        self.population = strategy.population
        self.generations = generations

    @abstractmethod
    def born(self, life: Life) -> None:
        """Record a birth."""

    @abstractmethod
    def over(self, life: Life) -> None:
        """Record that a life is finished, so that children may depend on it."""

    @abstractmethod
    def births(self, places: int, begin: bool = True) -> list[Born]:
        """Return the births that happen now, if workers are available for `places` more members.

        Returns at most `PORTION`; call it again, after `born`, for the others. Without `begin` no generation
        starts that has no members yet.
        """

    def averagings(self) -> list[Averaging]:
        """Return the means that births wait for and that were not requested yet; by default none."""
        return []

    def averaging(self, mean: Mean) -> None:  # noqa: B027
        """Record that a mean was requested."""

    @abstractmethod
    def waiting(self) -> int:
        """Return how many births would happen if there were workers for them."""

    @abstractmethod
    def open(self, life: Life) -> bool:
        """Return whether no birth so far depends on this member, or could have."""

    @abstractmethod
    def may_inherit(self, life: Life) -> bool:
        """Return whether a future child can inherit from a member of the last generations."""

    @property
    def lag(self) -> int:
        """A birth happens only after the whole generation that is this many before its own."""
        return DRIFT

    @property
    @abstractmethod
    def generations_kept(self) -> int:
        """Maximum number of generations of checkpoints that can exist at once, besides the best."""

    def _born(self, generation: int, slot: int, birth: Birth) -> Born:
        seed = birth.training_seed
        if not self.strategy.inherits:
            birth = replace(birth, parent_params=None)
        if not self.strategy.inherits or self.strategy.phases:
            seed = genome_seed(self.strategy.seed, self.strategy.key(birth)) if seed is None else seed
        if seed is None:
            seed = training_seed(self.strategy.seed, generation, slot)
        return Born(member_id(generation, slot), generation, slot, birth, seed)

    def _child(self, generation: int, slot: int, parents: Population, own: int) -> Born:
        """Return a child, or a founder if no parent has a fom and there is nothing to inherit."""
        if not parents.has_survivors:
            return self._born(generation, slot, self.bearing.founder(generation, slot))
        return self._born(generation, slot, self.bearing.child(generation, slot, parents, own))


def pacing_of(strategy: Strategy, history: History) -> Pacing:
    """Return the pacing of a run as its history stands."""
    search = history.config.search
    made: Pacing
    if history.begun.pace == "steady":
        made = Steady(strategy, search.generations)
    else:
        shared = search.initialisation == "shared" or history.start is not None
        limits = search.goal, search.plateau, search.phases, history.config.limits.member_epochs
        ends_early = any(limit is not None for limit in limits)
        drift = 1 if ends_early else DRIFT  # births must not depend on which members are done
        made = ByGeneration(strategy, search.generations, search.recombining, shared, drift)
    made.bearing = Bearing(strategy, made.strategy, search.ploidy, search.genomes != "one")
    for mean in history.means.values():
        made.averaging(mean)
    for life in history.births:
        made.born(life)
    for life in history.over:
        made.over(life)
    return made


class ByGeneration(Pacing):
    """Births that happen as soon as the members that they need are done.

    From generation `recombining` on, if given, members keep their hyperparameters and continue from the mean
    of the generation before. `shared`: all founders start with the same parameters. `drift`: with 1, no
    generation starts before the one before it is complete.
    """

    def __init__(
        self,
        strategy: Strategy,
        generations: int,
        recombining: int | None = None,
        shared: bool = False,
        drift: int = DRIFT,
    ) -> None:
        super().__init__(strategy, generations)
        self._drift = drift
        self._means = Means(generations if recombining is None else recombining, strategy.mode, shared)
        self._stages: list[_Stage] = []
        self._first = 0
        """The oldest generation that is not born as a whole."""
        self._stage(0)

    def born(self, life: Life) -> None:
        if self._means.are_for(self.generations - 1):
            self._means.born(life)
        self._stage(life.generation).member_born(life.slot)
        while self._first < len(self._stages) and not self._stages[self._first].unborn:
            self._stages[self._first].forget_needs()
            if self._first:
                self._stages[self._first - 1].forget_members()
            self._first += 1

    def over(self, life: Life) -> None:
        stage, following = self._stage(life.generation), life.generation + 1
        all_children_are_born = following < self._first
        stage.member_done(None if all_children_are_born else life.as_member())
        if following < self.generations:
            self._stage(following).parent_done(life.slot, whole=stage.count == self.population)

    def births(self, places: int, begin: bool = True) -> list[Born]:
        found: list[Born] = []
        for stage in self._at_work():
            if not stage.ready or not (begin or len(stage.unborn) < self.population):
                continue
            if self._awaits_mean(stage.generation):
                continue
            slots = sorted(stage.ready & stage.unborn)[: PORTION - len(found)]
            stage.ready.difference_update(slots)
            found += [self._birth(stage, slot) for slot in slots]
        return found

    def averagings(self) -> list[Averaging]:
        found = []
        for stage in self._at_work():
            before = stage.generation - 1
            if stage.ready and self._awaits_mean(stage.generation) and not self._means.asked(before):
                of = self._means.related(self._whole(before))
                found.append(Averaging(mean_id(before), before, of))
        return found

    def averaging(self, mean: Mean) -> None:
        self._means.add(mean)

    def _awaits_mean(self, generation: int) -> bool:
        """Return whether the births of a generation need a mean that is not there yet, if one is made."""
        if not self._means.are_for(generation):
            return False
        if self._means.asked(generation - 1):
            return not self._means.there(generation - 1)
        return len(self._means.related(self._whole(generation - 1))) > 1

    def waiting(self) -> int:
        return 0

    def open(self, life: Life) -> bool:
        if self._means.asked(life.generation):
            return False
        if life.generation + 1 >= len(self._stages):
            return True
        stage = self._stages[life.generation + 1]
        if not stage.unborn:
            return False
        needs = (stage.needs[slot] for slot in range(self.population) if slot not in stage.unborn)
        return all(needed is not None and life.slot not in needed for needed in needs)

    def may_inherit(self, life: Life) -> bool:
        if life.generation + 1 >= len(self._stages):
            return True
        return self._stages[life.generation + 1].wants(life.slot)

    @property
    def lag(self) -> int:
        return 1 if self.strategy.pool is None and self.strategy.needs(1, 0) is None else self._drift

    @property
    def generations_kept(self) -> int:
        if self.strategy.pool is None and self.strategy.needs(1, 0) is None:
            return 2
        return 3 if self.strategy.keeps_to_itself else DRIFT + 2

    def _birth(self, stage: "_Stage", slot: int) -> Born:
        generation = stage.generation
        if generation == 0:
            return self._born(0, slot, self.bearing.founder(0, slot))
        if mean := self._means.good(generation - 1):
            own = self._stages[generation - 1].done[slot]
            return self._born(generation, slot, self.bearing.of_mean(own, mean))
        done, needed = self._stages[generation - 1].done, stage.needs[slot]
        if needed is None:
            return self._child(generation, slot, self._whole(generation - 1), slot)
        if stage.parents is None or stage.parents[0] != needed:  # neighbours often have the same needs
            stage.parents = needed, self.strategy.evaluated([done[at] for at in needed])
        return self._child(generation, slot, stage.parents[1], needed.index(slot))

    def _whole(self, generation: int) -> Population:
        """Return a whole generation, evaluated once for all of its children."""
        stage = self._stages[generation]
        if stage.evaluated is None:
            stage.evaluated = self.strategy.evaluated([stage.done[at] for at in range(self.population)])
        return stage.evaluated

    def _needs(self, generation: int, slot: int) -> Sequence[int] | None:
        if generation == 0:
            return ()
        return None if self._means.are_for(generation) else self.strategy.needs(generation, slot)

    def _at_work(self) -> Iterable["_Stage"]:
        """Yield the generations in which births may happen, oldest first."""
        for at in range(self._first, len(self._stages)):
            if at < self._drift or self._stages[at - self._drift].count == self.population:
                yield self._stages[at]

    def _stage(self, generation: int) -> "_Stage":
        """Return the stage of a generation, and create it on first use."""
        while len(self._stages) <= generation:
            at = len(self._stages)
            before = set(self._stages[-1].done) if at else set()
            needs = {slot: self._needs(at, slot) for slot in range(self.population)}
            self._stages.append(_Stage(at, needs, before, len(before) == self.population))
        return self._stages[generation]


class _Stage:
    """One generation: which of its members are born, which are done, and which can be born now."""

    def __init__(
        self, generation: int, needs: dict[int, Sequence[int] | None], done: set[int], whole: bool
    ) -> None:
        self.generation = generation
        self.needs = needs
        self.unborn = set(needs)
        self.ready: set[int] = set()
        self.done: dict[int, Member] = {}
        self.count = 0
        """Number of members that are done."""
        self.evaluated: Population | None = None
        self.parents: tuple[Sequence[int], Population] | None = None
        """What the last birth needed, and those members."""
        self._wanted: set[int] | None = None
        self._need_all = [slot for slot, needed in needs.items() if needed is None]
        self._missing: dict[int, int] = {}
        self._children_of: dict[int, list[int]] = {}
        for slot, needed in needs.items():
            missing = [at for at in needed or () if at not in done]
            self._missing[slot] = len(missing)
            for at in missing:
                self._children_of.setdefault(at, []).append(slot)
            if needed is not None and not missing:
                self.ready.add(slot)
        if whole:
            self.ready.update(self._need_all)

    def member_done(self, member: Member | None) -> None:
        """Record that a member is done; `member` is None if no birth needs it any more."""
        if member is not None:
            self.done[member.slot] = member
        self.count += 1

    def wants(self, slot: int) -> bool:
        """Return whether an unborn member may inherit from that slot of the generation before."""
        if self._wanted is None:
            named = [needed for at in self.unborn if (needed := self.needs[at]) is not None]
            whole = len(named) < len(self.unborn)
            self._wanted = set(self.needs) if whole else {at for needed in named for at in needed}
        return slot in self._wanted

    def member_born(self, slot: int) -> None:
        self.unborn.discard(slot)
        self._wanted = None

    def forget_needs(self) -> None:
        """Drop what is needed no more once the whole generation is born."""
        self.needs, self.parents, self._wanted, self._need_all = {}, None, None, []
        self.unborn, self.ready, self._missing, self._children_of = set(), set(), {}, {}

    def forget_members(self) -> None:
        """Drop what is needed no more once the whole next generation is born."""
        self.done, self.evaluated = {}, None

    def parent_done(self, slot: int, whole: bool) -> None:
        """Record that a member of the generation before is done; `whole`: it was the last one."""
        for child in self._children_of.pop(slot, ()):
            self._missing[child] -= 1
            if not self._missing[child]:
                self.ready.add(child)
        if whole:
            self.ready.update(self._need_all)


class Steady(Pacing):
    """Births that happen when a worker is available, from the last members that are done."""

    def __init__(self, strategy: Strategy, generations: int) -> None:
        super().__init__(strategy, generations)
        self._count = 0
        self._over = 0
        self._last = Window(strategy.population)

    def born(self, life: Life) -> None:
        self._count += 1

    def over(self, life: Life) -> None:
        self._over += 1
        self._last.append(life.as_member())
        self.strategy.tell([self._last[-1]])

    def births(self, places: int, begin: bool = True) -> list[Born]:
        count = min(places, self.waiting(), PORTION) if begin else 0
        if count <= 0:
            return []
        parents = self.strategy.evaluated(self._last)
        return [self._birth(self._count + ahead, parents) for ahead in range(count)]

    def waiting(self) -> int:
        left = self.population * self.generations - self._count
        if not self.strategy.inherits and self.population == 1:
            return left
        return min(left, self.population + self._over - self._count)

    def open(self, life: Life) -> bool:
        """Return whether a failed member can be tried again.

        One that inherited can be tried only while the checkpoints of its time are kept.
        """
        return life.birth.parent_params is None or life.id in self._last.ids

    def may_inherit(self, life: Life) -> bool:
        return True

    @property
    def generations_kept(self) -> int:
        return 3

    def _birth(self, number: int, parents: Population) -> Born:
        generation, slot = divmod(number, self.population)
        if number < self.population:
            return self._born(generation, slot, self.bearing.founder(generation, slot))
        without_successor = self._over - (number - self.population)
        return self._child(generation, slot, parents, max(0, len(self._last) - without_successor))
