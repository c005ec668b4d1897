"""Define and check `search.demes`: sub-populations on a grid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from evodevo.config_errors import describe
from evodevo.config_values import Plain
from evodevo.evolution.demes import Layout

if TYPE_CHECKING:
    from evodevo.config import RunConfig
    from evodevo.evolution.strategies import Strategy

MOST_SIDES = 2
MOST_DEMES = 1000


class DemesSection(BaseModel):
    """Sub-populations that evolve separately and exchange their best members every few generations.

    They are numbered from 0, row by row.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    grid: list[int]
    """[rows, columns] of demes, or [demes] for a single row; each has an equal share of the population."""
    every: int = Field(default=5, ge=1)
    """Generations between migrations."""
    migrants: int = Field(default=1, ge=0)
    """Number of the best members of each deme that replace the worst of each neighbour, as copies."""
    wrap: bool = True
    """Whether the first and last rows are neighbours, and the first and last columns."""
    select_every: int | list[int] = 1
    """Generations between selections, or a list with one number per deme. In between, members continue
    unchanged."""
    options: list[Plain] = Field(default_factory=list)
    """Strategy options per deme, which override `search.options`: a list, or a mapping from the deme's
    number."""

    @field_validator("grid", mode="before")
    @classmethod
    def _has_demes(cls, grid: Any) -> Any:
        if not _is_grid(grid):
            raise ValueError(
                f"{grid!r} should be [rows, columns] or [demes], whole numbers of 1 or more, with 2 to "
                f"{MOST_DEMES} demes in all"
            )
        return grid

    @field_validator("select_every", mode="before")
    @classmethod
    def _is_a_frequency(cls, every: Any) -> Any:
        if not _is_count(every) and not (isinstance(every, list) and every and all(map(_is_count, every))):
            raise ValueError(f"{every!r} should be a number of generations, or a list with one per deme")
        return every

    @model_validator(mode="before")
    @classmethod
    def _one_for_each(cls, data: Any) -> Any:
        """Turn options by number into a list."""
        if not isinstance(data, Mapping) or not isinstance(data.get("options"), Mapping):
            return data
        given = {str(number): options for number, options in data["options"].items()}
        grid: Any = data.get("grid")
        if not _is_grid(grid):
            return {**data, "options": []}
        numbers = [str(number) for number in range(math.prod(grid))]
        if strangers := [name for name in given if name not in numbers]:
            raise ValueError(
                f"options: deme {', '.join(strangers)} does not exist; {_said(grid)} has 0 to {numbers[-1]}"
            )
        return {**data, "options": [given.get(number, {}) for number in numbers]}

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        for name, given in (("options", self.options), ("select_every", self.select_every)):
            if isinstance(given, list) and given and len(given) != self.count:
                raise ValueError(
                    f"{name} has {len(given)} entries, but {_said(self.grid)} has {self.count} demes; "
                    "give one per deme"
                )
        return self

    @property
    def count(self) -> int:
        """Number of demes."""
        return math.prod(self.grid)

    def layout(self, population: int) -> Layout:
        """Return the grid, with the slots of each deme."""
        every = self.select_every
        each = tuple(every) if isinstance(every, list) else (every,) * self.count
        return Layout(tuple(self.grid), population // self.count, self.every, self.migrants, self.wrap, each)

    def options_of(self, deme: int) -> dict[str, Any]:
        """Return the options that only this deme has."""
        return self.options[deme] if self.options else {}

    def text(self, population: int) -> str:
        """Return a description in words."""
        layout = self.layout(population)
        size = f"{_said(self.grid)}, each of {layout.size} members"
        if not self.migrants:
            return f"{size}, isolated from each other"
        best = "the best" if self.migrants == 1 else f"the {self.migrants} best"
        return f"{size}; every {self.every} generations {best} of each to its neighbours"


def problems(config: RunConfig, strategy: type[Strategy]) -> list[str]:
    """Return why the population cannot be divided into demes as configured, one line per problem."""
    search, demes = config.search, config.search.demes
    if demes is None:
        return []
    pace = search.pace or strategy.paces[0]
    if pace == "steady":
        others = [one for one in strategy.paces if one != "steady"]
        remedy = f"use {' or '.join(others)}" if others else "choose another strategy"
        return [f"search.demes: search.pace steady has no generations between which to migrate; {remedy}"]
    if strategy.keeps_to_itself and not config.inherits:
        return [f"search.demes: members of {search.strategy} that train from scratch have no parents, so "
                "migration has no effect; leave it out"]  # fmt: skip
    if search.phases is not None:
        return [
            "search.demes: not supported with search.phases, as genomes grow together; leave one of them out"
        ]
    if search.genomes != "one":
        return [f"search.genomes: {search.genomes} is not supported with search.demes; leave one of them out"]
    size, rest = divmod(search.population, demes.count)
    if rest or not size:
        return [
            f"search.population: {search.population} cannot be divided evenly into {demes.count} demes; "
            f"give a multiple of {demes.count}"
        ]
    found, layout = list[str](), demes.layout(search.population)
    least = strategy.smallest_population
    most = max(len(layout.neighbours(deme)) for deme in range(demes.count))
    if size < least:
        found.append(
            f"search.population: a deme of {size} is too small for {search.strategy}, which needs {least} or "
            f"more; give {least * demes.count} or more"
        )
    elif demes.migrants * most >= size:
        found.append(
            f"search.demes.migrants: {demes.migrants} from each of {most} neighbours would replace a whole "
            f"deme of {size}; give fewer migrants, fewer demes, or a population of "
            f"{(demes.migrants * most + 1) * demes.count} or more"
        )
    if not config.inherits and set(layout.select_every) != {1}:
        found.append(
            "search.demes.select_every: members train from scratch, so a generation without selection would "
            "repeat the one before; leave it out"
        )
    return found + [line for deme in range(demes.count) for line in _option_problems(config, strategy, deme)]


def _option_problems(config: RunConfig, strategy: type[Strategy], deme: int) -> list[str]:
    """Return what is wrong with the options of one deme."""
    search, demes = config.search, config.search.demes
    assert demes is not None
    where, own = ("search", "demes", "options", str(deme)), demes.options_of(deme)
    if not own:
        return []
    try:
        options: Any = strategy.Options.model_validate({**search.options, **own})
    except ValidationError as why:
        return describe(why, strategy.Options, where)
    if strategy.own_loci(options) != strategy.own_loci(strategy.Options.model_validate(search.options)):
        names, key = ", ".join(own), ".".join(where)
        return [f"{key}: {names} would change the loci that {search.strategy} adds, which all demes share; "
                "move it to search.options"]  # fmt: skip
    if getattr(options, "initial", "random") != "random" and (lacking := config.space().without_initial()):
        return [f"{'.'.join(where)}: initial is {options.initial!r}, but {', '.join(lacking)} has no initial "
                "value; add one, or set initial to random"]  # fmt: skip
    return []


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


def _is_grid(value: Any) -> bool:
    is_list = isinstance(value, list) and 1 <= len(value) <= MOST_SIDES and all(map(_is_count, value))
    return is_list and 2 <= math.prod(value) <= MOST_DEMES


def _said(grid: list[int]) -> str:
    """Return a grid in words."""
    return f"a grid of {' x '.join(map(str, grid))}" if len(grid) > 1 else f"a row of {grid[0]}"
