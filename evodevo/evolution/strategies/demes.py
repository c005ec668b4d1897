"""Run any strategy in demes: each deme has its own strategy, which sees its members and the migrants to it.

Migrants are copies: as parents they replace the deme's worst members, and remain in their own deme. The
frequency of selection may differ between demes, after Doulazmi et al. 2025, "Multiple-Frequencies
Population-Based Training" (arXiv 2506.03225); migration is the same between all neighbours, unlike their
asymmetric one.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from evodevo.evolution.demes import Layout
from evodevo.evolution.fitness import Foms, is_usable
from evodevo.evolution.population import Birth, Member, Population
from evodevo.evolution.strategies import base


class Demes(base.Strategy):
    """The strategy of a population with `search.demes`, composed of its demes' strategies."""

    def __init__(self, layout: Layout, strategies: Sequence[base.Strategy], seed: int) -> None:
        """Combine `strategies`, one per deme, each for a population of `layout.size`."""
        first = strategies[0]
        population = layout.count * layout.size
        super().__init__(first.space, population, first.mode, seed, first.options, first.pool)
        self.layout = layout
        self.strategies = strategies
        self._last: _View | None = None
        self.keeps_to_bounds = first.keeps_to_bounds  # type: ignore[misc]

    @property
    def label(self) -> str:
        return f"{self.strategies[0].label} (in demes)"

    @property
    def most_generations(self) -> int | None:
        return self.strategies[0].most_generations

    def needs(self, generation: int, slot: int) -> list[int]:
        """Return slots of the deme; at a migration, all of its slots and its neighbours'.

        Without selection, a child needs only the previous member in its slot.
        """
        deme, place = divmod(slot, self.layout.size)
        if self.layout.migrates(generation):
            demes = sorted([deme, *self.layout.neighbours(deme)])
            return [at for one in demes for at in self.layout.slots(one)]
        if not self.layout.selects(deme, generation):
            return [slot]
        slots = self.layout.slots(deme)
        needed = self._needed(deme, generation, place)
        return list(slots) if needed is None else [slots[at] for at in needed]

    def founder(self, generation: int, slot: int) -> Birth:
        deme, place = divmod(slot, self.layout.size)
        return self.strategies[deme].founder(generation, place)

    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        """Return the child by the deme's strategy, given the members that it sees.

        In a generation without selection a member with a fom continues unchanged.
        """
        deme, place = divmod(slot, self.layout.size)
        strategy, view = self.strategies[deme], self._view_of(generation, deme, parents)
        before = view.members[place]
        if not self.layout.selects(deme, generation) and is_usable(before.fom):
            return Birth(before.birth.genome, parent_a=before.id, parent_params=before.id)
        among, at = self._among(generation, deme, place, view)
        if not among.has_survivors:
            return self.founder(generation, slot)
        return strategy.birth(generation, place, among, at)

    def beta(self, generation: int, slot: int, parents: Population, own: int, birth: Birth) -> str:
        """Return the answer of the deme's strategy; for a member that continues unchanged, itself."""
        deme, place = divmod(slot, self.layout.size)
        view = self._view_of(generation, deme, parents)
        before = view.members[place]
        if not self.layout.selects(deme, generation) and is_usable(before.fom):
            return before.id
        among, at = self._among(generation, deme, place, view)
        return self.strategies[deme].beta(generation, place, among, at, birth)

    def judge(self, member: Member, leg: int) -> bool:
        deme, place = divmod(member.slot, self.layout.size)
        return self.strategies[deme].judge(replace(member, slot=place), leg)

    def fitness(self, foms: Foms) -> Sequence[float] | Foms:
        """Return the fitness by the first deme's strategy; births use that of their own deme."""
        return self.strategies[0].fitness(foms)

    def _view_of(self, generation: int, deme: int, parents: Population) -> "_View":
        """Return what a deme's strategy sees of `parents`; consecutive children share it."""
        view = self._last
        if view is None or view.parents is not parents or (view.generation, view.deme) != (generation, deme):
            view = self._last = _View(generation, deme, parents, self.layout, self.strategies[deme])
        return view

    def _among(self, generation: int, deme: int, place: int, view: "_View") -> tuple[Population, int]:
        """Return the members that a birth in a place of a deme needs, and its own position among them."""
        needed = self._needed(deme, generation, place)
        if needed is None:
            return view.whole, place
        return self.strategies[deme].evaluated([view.members[one] for one in needed]), needed.index(place)

    def _needed(self, deme: int, generation: int, place: int) -> Sequence[int] | None:
        """Return the places in a deme that a birth there needs. Raises `ValueError` if they do not exist."""
        needed = self.strategies[deme].needs(generation, place)
        if needed is None:
            return None
        places = list(needed)
        if not all(type(at) is int and 0 <= at < self.layout.size for at in places):
            raise ValueError(f"needs({generation}, {place}) of deme {deme} returned {needed!r}, and its "
                             f"slots are 0 to {self.layout.size - 1}")  # fmt: skip
        return places


class _View:
    """The members that a deme's strategy sees, by place in the deme, which is their slot there."""

    def __init__(
        self, generation: int, deme: int, parents: Population, layout: Layout, strategy: base.Strategy
    ) -> None:
        self.generation, self.deme, self.parents = generation, deme, parents
        self._strategy = strategy
        by_slot = {member.slot: member for member in parents.members}
        seen = {slot: by_slot[slot] for slot in layout.slots(deme) if slot in by_slot}
        if layout.migrates(generation):
            coming = layout.arrivals(
                deme, lambda of: [by_slot[slot].fom for slot in layout.slots(of)], strategy.mode
            )
            seen.update({migration.place: by_slot[migration.source] for migration in coming})
        first = layout.slots(deme).start
        self.members = {slot - first: replace(member, slot=slot - first) for slot, member in seen.items()}

    @cached_property
    def whole(self) -> Population:
        """All members of the deme as a population."""
        return self._strategy.evaluated([self.members[place] for place in sorted(self.members)])
