"""The `search` section of a config, and what all sections have in common. For the others see config.py."""

import re
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from evodevo.config_values import Plain
from evodevo.evolution.space import Locus
from evodevo.evolution.strategies import STRATEGIES, Pace

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def check_run_name(name: str) -> str:
    """Return `name`. Raises `ValueError` if it cannot name a run's directory."""
    if not RUN_NAME.fullmatch(name) or ".." in name:
        raise ValueError(
            f"{name!r} cannot name a directory; use letters, digits, '_', '-' and single dots, "
            "beginning with a letter or digit, 100 at the most"
        )
    return name


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Start(Section):
    """What the founders of a run start from: parameters of another run, which are copied when it begins."""

    run: str
    """A run's name in the same runs directory, or the path of a run's directory."""
    take: Literal["best", "start"] = "best"
    """The parameters and the genome of its best member; or the parameters that it started from itself."""

    @field_validator("run")
    @classmethod
    def _is_a_name_or_a_path(cls, run: str) -> str:
        return run if "/" in run and "\0" not in run else check_run_name(run)

    @property
    def is_path(self) -> bool:
        return "/" in self.run


class Recombine(Section):
    """Recombination of parameters: generations that begin from the mean of all members of the one before.

    In them nobody is selected: each member keeps its hyperparameters.
    """

    last: float = Field(gt=0, le=1)
    """The fraction of the generations that do so, the last ones of the run."""

    def first(self, generations: int) -> int:
        """Return the number of the first such generation; founders have nobody to be the mean of."""
        return max(1, generations - round(self.last * generations))


class Search(Section):
    strategy: str = "tri_parent"
    """The name of one in evolution/strategies, or the import path of a `Strategy`."""
    population: int = Field(ge=1, le=100_000)
    generations: int = Field(ge=1)
    """A generation is one life of every member: with inheritance one leg, by default one epoch."""
    pace: Pace | None = None
    """When a child is born: after the whole generation before it, after its mating pool, or when a worker is
    free (`steady`). The strategy's first where nothing is said: `generations`, and steady for mutate_best."""
    pool: int | None = Field(default=None, ge=2)
    """With `pace: pools`, the members of a mating pool: the child's own slot and others; 8 if not given."""
    legs: int = Field(default=1, ge=1)
    """Legs of a life, at the most; the fom is that of the last one."""
    epochs_per_generation: int = Field(default=1, ge=1)
    """Length of a leg."""
    steps_per_generation: int | None = Field(default=None, ge=1)
    """Length of a leg in optimizer steps, instead of epochs."""
    judge: Literal["raw", "averaged"] = "raw"
    """Whose fom counts: that of the parameters as they are, or of their moving average, kept at each step."""
    average_half_life: float | None = Field(default=None, gt=0)
    """Half-life of that average, in epochs; with `judge: averaged` 1 if not given."""
    recombine: Recombine | None = None
    """Begin the last generations from the mean of all members; null: each from its parent, to the end."""
    soup: bool = False
    """At the end, average those networks of the last generation whose mean is better on validation data."""
    options: Plain = Field(default_factory=dict)
    """The strategy's own."""
    start: Start | None = None
    """Another run, from whose parameters the founders go on; null for freshly drawn ones."""
    loci: dict[str, Locus] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _filled_in_by_the_strategy(cls, data: Any) -> Any:
        """What is not given and the strategy has a value of its own for; what is wrong is said later.

        Only strategies of evodevo's own have such values, so that no code of a user's is imported here.
        """
        name = data.get("strategy", "tri_parent") if isinstance(data, dict) else None
        known = STRATEGIES.get(name) if isinstance(name, str) else None
        return {**known.default_search, **data} if known else data

    @model_validator(mode="after")
    def _has_one_length(self) -> Self:
        if self.steps_per_generation is not None and self.epochs_per_generation != 1:
            raise ValueError("give epochs_per_generation or steps_per_generation, not both")
        return self
