"""Define genomes that grow: blocks of repeated loci, and the phases of a search in which genomes get longer.

Every genome has a value for each locus of every block; the number of blocks that count is itself a locus. So
a genome of any length is an ordinary genome, and only the strategy needs to know that it grows.

    blocks: {most: 3, loci: {width: ...}}   ->   blocks: {type: int, low: 1, high: 3, initial: 1}
                                                 block1.width: ...
                                                 block2.width: {..., when: {blocks: [2, 3]}}
                                                 block3.width: {..., when: {blocks: [3]}}
"""

import itertools
from collections.abc import Mapping
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from evodevo.evolution.space import Space

Model = TypeVar("Model", bound=BaseModel)
LARGEST = 1000
"""Limit of the number of blocks."""
_CONFIG = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Blocks(BaseModel):
    """Loci that repeat once per block, named `block1.width`, `block2.width` and so on."""

    model_config = _CONFIG

    name: str = Field(default="block", pattern=r"^[A-Za-z_]\w*$")
    """Name of a block without its number; with an s appended, the locus with the number of blocks that
    count."""
    most: int = Field(ge=2, le=LARGEST)
    """Maximum number of blocks."""
    loci: dict[str, dict[str, Any]] = Field(min_length=1)
    """Loci of each block; `when` may name loci of the same block and of `search.loci`."""
    first: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Loci that replace those of the same name in the first block."""

    @model_validator(mode="after")
    def _first_is_of_the_loci(self) -> Self:
        for name in self.first:
            if name not in self.loci:
                raise ValueError(f"first has {name!r}, which is not among the loci: {', '.join(self.loci)}")
        return self

    @property
    def count(self) -> str:
        """Name of the locus with the number of blocks that count."""
        return f"{self.name}s"

    def laid_out(self) -> dict[str, Any]:
        """Return all loci by name: the number of blocks that count, then those of each block in order."""
        found: dict[str, Any] = {self.count: {"type": "int", "low": 1, "high": self.most, "initial": 1}}
        for number in range(1, self.most + 1):
            own = self.loci if number > 1 else {**self.loci, **self.first}
            there = {self.count: list(range(number, self.most + 1))} if number > 1 else {}
            for name, locus in own.items():
                when = locus.get("when") or {}
                if not isinstance(when, Mapping):  # validation of the locus refuses it
                    when = {"when": when}
                renamed = {
                    f"{self.name}{number}.{key}" if key in own else key: value for key, value in when.items()
                }
                conditions = {"when": {**there, **renamed}} if there or renamed else {}
                found[f"{self.name}{number}.{name}"] = {**locus, **conditions}
        return found


class Phases(BaseModel):
    """Stages of a search, of several generations each; genomes are longer in each.

    Every genome consists of the best genome of the previous phase and a new tail.
    """

    model_config = _CONFIG

    lengths: Annotated[list[int], Field(min_length=1)]
    """Value of `locus` in each phase, ascending."""
    generations: int = Field(default=3, ge=1)
    """Generations per phase."""
    locus: str = "blocks"
    """The int locus with the length of a genome; conditions of other loci name it."""
    gain: float | None = Field(default=None, ge=0)
    """Improvement of the best fom over the previous phase without which the run is done; null: all phases
    take place."""

    @model_validator(mode="after")
    def _grow(self) -> Self:
        for before, after in itertools.pairwise(self.lengths):
            if after <= before:
                raise ValueError(
                    f"lengths has {after} after {before}, but genomes only grow; give ascending lengths, "
                    f"such as {sorted(set(self.lengths))}"
                )
        return self

    @property
    def total(self) -> int:
        """Generations of all phases together."""
        return self.generations * len(self.lengths)

    def at(self, generation: int) -> int:
        """Return the phase of a generation, counted from 0."""
        return min(generation // self.generations, len(self.lengths) - 1)

    def begins(self, generation: int) -> bool:
        """Return whether a generation is the first of a phase."""
        return generation % self.generations == 0 and generation < self.total

    def length(self, generation: int) -> int:
        """Return the length of a generation's genomes."""
        return self.lengths[self.at(generation)]

    def tail(self, space: Space, phase: int) -> list[str]:
        """Return the loci that evolve in a phase: those that can count in it, but not in the phase before."""
        now, before = self.lengths[phase], self.lengths[phase - 1] if phase else None
        return [
            name
            for name, locus in space.loci.items()
            if locus.evolves and name != self.locus and self._can_count(space, name, now)
            if before is None or not self._can_count(space, name, before)
        ]

    def _can_count(self, space: Space, name: str, length: int) -> bool:
        """Return whether a locus counts in any genome of that length."""
        when = space.loci[name].when
        return all(
            space.meets(other, length, when[other])
            if other == self.locus
            else self._can_count(space, other, length)
            for other in when
        )


def laid_out(search: Mapping[str, Any]) -> dict[str, Any]:
    """Return a `search` section with blocks expanded into loci, and generations computed from phases.

    If loci with all the names of the blocks' loci exist, they were expanded before, and stay. Invalid blocks
    and phases are left for validation to refuse. Raises `ValueError` for keys that contradict each other.
    """
    found = dict(search)
    if (blocks := _read(Blocks, search.get("blocks"))) is not None:
        loci, more = search.get("loci") or {}, blocks.laid_out()
        if isinstance(loci, Mapping):
            twice = sorted(loci.keys() & more.keys())
            if twice and len(twice) < len(more):
                raise ValueError(f"blocks: {twice[0]} is also among loci; give one of them another name")
            found |= {"loci": {**more, **loci} if twice else {**loci, **more}, "blocks": None}
    if (phases := _read(Phases, search.get("phases"))) is not None:
        if search.get("epochs") is not None:
            raise ValueError("phases: determine the number of generations; leave epochs out")
        given = search.get("generations")
        if isinstance(given, int) and given > phases.total:
            raise ValueError(
                f"phases: {len(phases.lengths)} of {phases.generations} generations make {phases.total}, but "
                f"generations is {given}; leave generations out"
            )
        found["generations"] = phases.total if given is None else given
    return found


def _read(kind: type[Model], data: Any) -> Model | None:
    try:
        return None if data is None else kind.model_validate(data)
    except ValidationError:
        return None
