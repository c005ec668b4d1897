"""Represent members and the populations from which parents are chosen."""

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np

from evodevo.evolution.fitness import Foms, Mode, badness, best_first, is_usable
from evodevo.evolution.selection import RouletteWheel
from evodevo.evolution.space import Genome


@dataclass(frozen=True, slots=True)
class Network:
    """One of several networks of a member. `parent` gave its parameters; None means that they are new.

    `genome` and `training_seed` are None unless they differ from the member's (replay).
    """

    parent: str | None
    genome: Genome | None = None
    training_seed: int | None = None


@dataclass(frozen=True, slots=True)
class Birth:
    """A genome and its origin; parents are ids of members, which a founder does not have.

    `training_seed` is None unless a strategy prescribes the seed of the training (replay). `networks` are
    those of a child with `search.ploidy` above 1; the engine draws them if the strategy does not.
    """

    genome: Genome
    parent_a: str | None = None
    parent_b: str | None = None
    parent_params: str | None = None
    training_seed: int | None = None
    networks: tuple[Network, ...] = ()

    @property
    def first_parent(self) -> str | None:
        """The member whose parameters are inherited; with several networks, by the first of them."""
        return self.networks[0].parent if self.networks else self.parent_params


@dataclass(frozen=True, slots=True)
class Member:
    """A member: its birth, its place in the population, and its fom, which is None if it failed."""

    id: str
    generation: int
    slot: int
    birth: Birth
    fom: float | None


class Window(Sequence[Member]):
    """The last `size` members that were appended, oldest first.

    Their foms and ids are updated with each member, so that a birth among 10,000 members costs little more
    than one among 100.
    """

    def __init__(self, size: int, members: Iterable[Member] = ()) -> None:
        self.size = size
        self._members: list[Member] = []
        self._ids: set[str] = set()
        self._foms = np.full(2 * size, np.nan)
        self._end = 0
        for member in members:
            self.append(member)

    def append(self, member: Member) -> None:
        """Append a member; drop the oldest one if there are more than `size`."""
        if len(self._members) == self.size:
            self._ids.remove(self._members[0].id)
            del self._members[0]  # moves 8 bytes per member
        if self._end == len(self._foms):
            self._foms[: self.size - 1] = self._foms[self._end - self.size + 1 :]
            self._end = self.size - 1
        self._foms[self._end] = np.nan if member.fom is None else member.fom
        self._end += 1
        self._members.append(member)
        self._ids.add(member.id)

    @property
    def foms(self) -> Foms:
        """float64 (members,), NaN for a member that failed; a view that cannot be written to."""
        view = self._foms[self._end - len(self._members) : self._end]
        view.flags.writeable = False
        return view

    @property
    def ids(self) -> Set[str]:
        """Ids of the members."""
        return self._ids

    @overload
    def __getitem__(self, at: int) -> Member: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Member]: ...
    def __getitem__(self, at: int | slice) -> Member | Sequence[Member]:
        return self._members[at]

    def __len__(self) -> int:
        return len(self._members)


class Population:
    """Evaluated members, with their ranking and fitness, computed on first use."""

    def __init__(
        self, members: Sequence[Member], mode: Mode, fitness: Callable[[Foms], Sequence[float] | Foms]
    ) -> None:
        """Evaluate members by `fitness`, which maps foms to fitness; a `Window` must not change later."""
        self.members = members if isinstance(members, Window) else Window(len(members), members)
        self._mode = mode
        self._fitness = fitness

    def survives(self, position: int) -> bool:
        """Return whether the member at a position has a fom, so that a child can inherit from it."""
        return is_usable(self.members[position].fom)

    @property
    def has_survivors(self) -> bool:
        """Whether any member has a fom."""
        return self.survivors > 0

    @cached_property
    def survivors(self) -> int:
        """Number of members with a fom; they come first in the ranking."""
        return int(np.isfinite(self.members.foms).sum())

    @cached_property
    def failed(self) -> Set[str]:
        """Ids of the members without a fom, from which no child can inherit."""
        if self.survivors == len(self.members):
            return frozenset()
        return {self.members[int(at)].id for at in np.flatnonzero(~np.isfinite(self.members.foms))}

    def rank(self, position: int) -> int:
        """Return the rank of the member at a position, 0 for the best; among equals the first is better."""
        own = self._badness[position]
        return int((self._badness < own).sum() + (self._badness[:position] == own).sum())

    @cached_property
    def ranking(self) -> Sequence[int]:
        """Positions of the members, best first."""
        return best_first(self.members.foms, self._mode)

    @cached_property
    def wheel(self) -> RouletteWheel:
        """A wheel that draws positions with probability proportional to fitness."""
        return RouletteWheel(self._fitness(self.members.foms))

    @cached_property
    def _badness(self) -> Foms:
        return badness(self.members.foms, self._mode)
