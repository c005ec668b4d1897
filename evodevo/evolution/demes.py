"""Demes: sub-populations on a grid that evolve by themselves and exchange their best members. Pure.

The stepping-stone model of parallel evolutionary algorithms (Cantú-Paz 1998, "A survey of parallel genetic
algorithms"), which Vose et al. 2019 (arXiv 1901.03900) name as future work.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evodevo.evolution.fitness import Foms, Mode, best_first, is_usable


@dataclass(frozen=True, slots=True)
class Migration:
    """The member of slot `source` is copied to another deme, in place of the member of slot `place`."""

    source: int
    place: int


@dataclass(frozen=True)
class Layout:
    """A grid of demes, numbered from 0 row by row; deme d has the slots d * size to (d + 1) * size - 1.

    `size`: members of a deme. `every`: generations from one migration to the next. `migrants`: members that
    each deme sends to each of its neighbours; 0 for demes that never meet. `wrap`: whether opposite edges of
    the grid are neighbours. `select_every`: for each deme, generations from one selection to the next.
    """

    sides: tuple[int, ...]
    size: int
    every: int
    migrants: int
    wrap: bool
    select_every: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many demes there are."""
        return math.prod(self.sides)

    def deme_of(self, slot: int) -> int:
        return slot // self.size

    def slots(self, deme: int) -> range:
        return range(deme * self.size, (deme + 1) * self.size)

    def neighbours(self, deme: int) -> list[int]:
        """Return the von Neumann neighbourhood, ascending: one step along one side of the grid."""
        found, stride = set(), self.count
        for side in self.sides:
            stride //= side
            at = deme // stride % side
            for step in (-1, 1):
                if self.wrap or 0 <= at + step < side:
                    found.add(deme + ((at + step) % side - at) * stride)
        return sorted(found - {deme})

    def migrates(self, generation: int) -> bool:
        """Whether migrants of the generation before are among the parents of that one."""
        return generation > 0 and self.migrants > 0 and generation % self.every == 0

    def selects(self, deme: int, generation: int) -> bool:
        """Whether the deme's strategy decides who is born; otherwise each member goes on as it is."""
        return generation % self.select_every[deme] == 0

    def arrivals(
        self, deme: int, foms_of: Callable[[int], Sequence[float | None] | Foms], mode: Mode
    ) -> list[Migration]:
        """Return who comes to a deme, neighbour by neighbour, the best of each first, for whose places.

        `foms_of`: the foms of a deme's members, by slot. They take the places of the worst, the worst first.
        Nobody comes who has no fom.
        """
        come: list[int] = []
        for other in self.neighbours(deme):
            foms = foms_of(other)
            best = best_first(foms, mode)[: self.migrants]
            come += [self.slots(other)[at] for at in best if is_usable(foms[at])]
        worst_first = reversed(best_first(foms_of(deme), mode))
        slots = self.slots(deme)
        return [Migration(slot, slots[at]) for slot, at in zip(come, worst_first, strict=False)]
