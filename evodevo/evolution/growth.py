"""Genomes that grow: blocks of loci that repeat, and the phases of a search in which genomes get longer.

A genome has a value for each locus of every block, always; how many of its blocks count is itself a locus.
So a genome of any length is a plain genome, and nobody but the strategy needs to know that it grows.

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
"""Blocks of a genome, at the most."""
_CONFIG = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Blocks(BaseModel):
    """Loci that are there once for each block, named `block1.width`, `block2.width` and so on."""

    model_config = _CONFIG

    name: str = Field(default="block", pattern=r"^[A-Za-z_]\w*$")
    """Of a block, before its number; with an s it is the locus that says how many blocks count."""
    most: int = Field(ge=2, le=LARGEST)
    """How many blocks a genome can have."""
    loci: dict[str, dict[str, Any]] = Field(min_length=1)
    """The loci of each block; `when` may name others of the same block, and loci of `search.loci`."""
    first: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Loci that are others in the first block, in the place of those of that name."""

    @model_validator(mode="after")
    def _first_is_of_the_loci(self) -> Self:
        for name in self.first:
            if name not in self.loci:
                raise ValueError(f"first has {name!r}, and the loci are {', '.join(self.loci)}")
        return self

    @property
    def count(self) -> str:
        """The locus that says how many blocks count."""
        return f"{self.name}s"

    def laid_out(self) -> dict[str, Any]:
        """Return all loci by name: how many blocks count, and those of each block, first to last."""
        found: dict[str, Any] = {self.count: {"type": "int", "low": 1, "high": self.most, "initial": 1}}
        for number in range(1, self.most + 1):
            own = self.loci if number > 1 else {**self.loci, **self.first}
            there = {self.count: list(range(number, self.most + 1))} if number > 1 else {}
            for name, locus in own.items():
                when = locus.get("when") or {}
                if not isinstance(when, Mapping):  # is refused with the locus
                    when = {"when": when}
                renamed = {
                    f"{self.name}{number}.{key}" if key in own else key: value for key, value in when.items()
                }
                conditions = {"when": {**there, **renamed}} if there or renamed else {}
                found[f"{self.name}{number}.{name}"] = {**locus, **conditions}
        return found


class Phases(BaseModel):
    """Stretches of generations; in each, genomes are longer than in the one before.

    The head of every genome is that of the best of the phase before, and its tail is new.
    """

    model_config = _CONFIG

    lengths: Annotated[list[int], Field(min_length=1)]
    """The value of `locus` in each phase, ascending."""
    generations: int = Field(default=3, ge=1)
    """Of each phase."""
    locus: str = "blocks"
    """An int locus that says how long a genome is: conditions of other loci name it."""
    gain: float | None = Field(default=None, ge=0)
    """By so much the best fom of a phase has to be better than that of the phase before, or the run is done;
    null: there are all phases."""

    @model_validator(mode="after")
    def _grow(self) -> Self:
        for before, after in itertools.pairwise(self.lengths):
            if after <= before:
                raise ValueError(
                    f"lengths has {after} after {before}, and genomes only grow; give ascending lengths, "
                    f"such as {sorted(set(self.lengths))}"
                )
        return self

    @property
    def total(self) -> int:
        """The generations of all phases."""
        return self.generations * len(self.lengths)

    def at(self, generation: int) -> int:
        """Return the phase of a generation, from 0."""
        return min(generation // self.generations, len(self.lengths) - 1)

    def begins(self, generation: int) -> bool:
        """Whether a generation is the first one of a phase."""
        return generation % self.generations == 0 and generation < self.total

    def length(self, generation: int) -> int:
        """Return the length of a generation's genomes."""
        return self.lengths[self.at(generation)]

    def tail(self, space: Space, phase: int) -> list[str]:
        """Return the loci that evolve in a phase: those that can count in it and could not before."""
        now, before = self.lengths[phase], self.lengths[phase - 1] if phase else None
        return [
            name
            for name, locus in space.loci.items()
            if locus.evolves and name != self.locus and self._can_count(space, name, now)
            if before is None or not self._can_count(space, name, before)
        ]

    def _can_count(self, space: Space, name: str, length: int) -> bool:
        """Whether a locus counts in some genome of that length."""
        when = space.loci[name].when
        return all(
            space.meets(other, length, when[other])
            if other == self.locus
            else self._can_count(space, other, length)
            for other in when
        )


def laid_out(search: Mapping[str, Any]) -> dict[str, Any]:
    """Return a `search` section as it is given, with blocks as loci, and generations from phases.

    Loci that are there already by all the names of the blocks' are those of a search before, and stay.
    What is wrong with these sections by themselves is left as it is, to be refused by them. Raises
    `ValueError` for what does not fit together.
    """
    found = dict(search)
    if (blocks := _read(Blocks, search.get("blocks"))) is not None:
        loci, more = search.get("loci") or {}, blocks.laid_out()
        if isinstance(loci, Mapping):
            twice = sorted(loci.keys() & more.keys())
            if twice and len(twice) < len(more):
                raise ValueError(f"blocks: {twice[0]} is among loci, too; give one of them another name")
            found |= {"loci": {**more, **loci} if twice else {**loci, **more}, "blocks": None}
    if (phases := _read(Phases, search.get("phases"))) is not None:
        if search.get("epochs") is not None:
            raise ValueError("phases: say how many generations there are; leave epochs out")
        given = search.get("generations")
        if isinstance(given, int) and given > phases.total:
            raise ValueError(
                f"phases: {len(phases.lengths)} of {phases.generations} generations are {phases.total}, and "
                f"generations is {given}; leave generations out"
            )
        found["generations"] = phases.total if given is None else given
    return found


def _read(kind: type[Model], data: Any) -> Model | None:
    try:
        return None if data is None else kind.model_validate(data)
    except ValidationError:
        return None
