"""Arrange demes: sub-populations on a grid that evolve separately and exchange their best members. Pure.

The stepping-stone model of parallel evolutionary algorithms (Cantú-Paz 1998, "A survey of parallel genetic
algorithms"), which Vose et al. 2019 (arXiv 1901.03900) name as future work.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evodevo.evolution.fitness import Foms, Mode, best_first, is_usable


@dataclass(frozen=True, slots=True)
class Migration:
    """A copy of the member in slot `source` that replaces the member in slot `place` of another deme."""

    source: int
    place: int


@dataclass(frozen=True)
class Layout:
    """A grid of demes, numbered from 0 row by row; deme d has the slots d * size to (d + 1) * size - 1.

    `size`: members per deme. `every`: generations between migrations. `migrants`: members that each deme
    sends to each neighbour; 0 for isolated demes. `wrap`: whether opposite edges of the grid are neighbours.
    `select_every`: for each deme, generations between selections.
    """

    sides: tuple[int, ...]
    size: int
    every: int
    migrants: int
    wrap: bool
    select_every: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of demes."""
        return math.prod(self.sides)

    def deme_of(self, slot: int) -> int:
        return slot // self.size

    def slots(self, deme: int) -> range:
        return range(deme * self.size, (deme + 1) * self.size)

    def neighbours(self, deme: int) -> list[int]:
        """Return the von Neumann neighbourhood, ascending: demes one step away along one side of the grid."""
        found, stride = set(), self.count
        for side in self.sides:
            stride //= side
            at = deme // stride % side
            for step in (-1, 1):
                if self.wrap or 0 <= at + step < side:
                    found.add(deme + ((at + step) % side - at) * stride)
        return sorted(found - {deme})

    def migrates(self, generation: int) -> bool:
        """Return whether the parents of a generation include migrants of the one before."""
        return generation > 0 and self.migrants > 0 and generation % self.every == 0

    def selects(self, deme: int, generation: int) -> bool:
        """Return whether the deme's strategy decides the births; otherwise each member continues
        unchanged."""
        return generation % self.select_every[deme] == 0

    def arrivals(
        self, deme: int, foms_of: Callable[[int], Sequence[float | None] | Foms], mode: Mode
    ) -> list[Migration]:
        """Return the migrations into a deme: per neighbour its best members with a fom, best first.

        They replace the deme's worst members, starting with the worst. `foms_of` returns the foms of a deme's
        members, by slot.
        """
        come: list[int] = []
        for other in self.neighbours(deme):
            foms = foms_of(other)
            best = best_first(foms, mode)[: self.migrants]
            come += [self.slots(other)[at] for at in best if is_usable(foms[at])]
        worst_first = reversed(best_first(foms_of(deme), mode))
        slots = self.slots(deme)
        return [Migration(slot, slots[at]) for slot, at in zip(come, worst_first, strict=False)]
