"""Define the section `search` of a config, and the base of all sections. See config.py for the others."""

import itertools
import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from evodevo.config_demes import DemesSection
from evodevo.config_values import Plain
from evodevo.evolution import growth
from evodevo.evolution.space import Locus
from evodevo.evolution.strategies import STRATEGIES, Pace

SELECTIONS = 9
"""Generations of a run with `epochs_per_generation: auto`, not counting those that recombine."""
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def check_run_name(name: str) -> str:
    """Return `name`. Raises `ValueError` if a run's directory cannot have it."""
    if not RUN_NAME.fullmatch(name) or ".." in name:
        raise ValueError(
            f"{name!r} cannot name a directory; use at most 100 letters, digits, '_', '-' and single dots, "
            "beginning with a letter or digit"
        )
    return name


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _is_a_length(value: Any) -> Any:
    if value == "auto" or is_count(value):
        return value
    if isinstance(value, list) and value and all(map(is_count, value)):
        return value
    raise ValueError(f"{value!r} should be auto, a number of epochs, or a list with one per generation")


EpochsPerGeneration = Annotated[int | list[int] | Literal["auto"], BeforeValidator(_is_a_length)]


PARAMETERS_ALONE = ("parameters", "start")
"""Values of `search.start.take` that do not change the loci."""


class Start(Section):
    """The starting point of the founders: another run's result, copied when the run begins."""

    run: str
    """Name of a run in the same runs directory, or path of a run's directory."""
    take: Literal["best", "parameters", "genome", "start"] = "best"
    """What to take: `best`, the parameters and the genome of the best member; `parameters`, its parameters
    only; `genome`, its genome only, with new random parameters; or `start`, the parameters from which that
    run itself started."""
    fix: list[str] = Field(default_factory=list)
    """Loci to fix at the values of that genome; for the others these are initial values."""

    @field_validator("run")
    @classmethod
    def _is_a_name_or_a_path(cls, run: str) -> str:
        return run if "/" in run and "\0" not in run else check_run_name(run)

    @model_validator(mode="after")
    def _fixes_what_it_takes(self) -> Self:
        if self.fix and self.take in PARAMETERS_ALONE:
            raise ValueError(
                f"fix requires a genome, which `take: {self.take}` does not take; use take: best or genome"
            )
        return self

    @property
    def is_path(self) -> bool:
        return "/" in self.run


MOST_NETWORKS = 64
"""Per member."""
MOST_GENERATIONS = 1_000_000
"""Limit of generations, epochs and legs."""


class Recombine(Section):
    """Recombination of parameters: generations that start from the mean of all members of the one before.

    Members are not selected in these generations: each keeps its hyperparameters.
    """

    last: float = Field(gt=0, le=1)
    """Fraction of the run, at its end, in which generations recombine."""


class Search(Section):
    strategy: str = "tri_parent"
    """Name of a strategy, or import path of a subclass of `Strategy`."""
    population: int = Field(ge=1, le=100_000)
    """Members of a generation."""
    generations: int = Field(ge=1, le=MOST_GENERATIONS)
    """In each generation every member lives once: with inheritance for one leg, by default one epoch."""
    pace: Pace | None = None
    """When a child is born: after the whole previous generation (`generations`), after its mating pool
    (`pools`), or when a worker is free (`steady`). Default: `generations`, and `steady` for mutate_best."""
    pool: int | None = Field(default=None, ge=2)
    """Size of a mating pool with `pace: pools`, including the child's own slot; default: 8."""
    legs: int = Field(default=1, ge=1, le=MOST_GENERATIONS)
    """Maximum number of legs per life; the fom is that of the last leg, unless `objective.over` is best."""
    goal: float | None = None
    """The run is done once a member reaches this fom. In paces with generations it is checked when a
    generation is complete, before the next begins. null: none."""
    plateau: int | None = Field(default=None, ge=1)
    """The run is done after this many complete generations in a row without a better fom; null: never."""
    patience: int | None = Field(default=None, ge=1)
    """A life ends after this many legs in a row without a better fom; null: never."""
    epochs: int | None = Field(default=None, ge=1, le=MOST_GENERATIONS, exclude=True)
    """Epochs of training from a founder to the end of the run. Give this or `generations`, which is then
    computed from it and `epochs_per_generation` (by default `auto`)."""
    epochs_per_generation: EpochsPerGeneration = 1
    """Epochs per leg: one number, or a list with one per generation, whose last entry holds for all later
    ones. auto, with `epochs`: chosen for 9 generations, plus generations of one epoch that recombine."""
    steps_per_generation: int | None = Field(default=None, ge=1)
    """Optimizer steps per leg, instead of epochs."""
    stop_early: Literal["median", "halving"] | None = None
    """Stops hopeless lives early, if members train from scratch. median: a member whose best fom so far is
    worse than the median of the others after the same leg; halving: a member that is not in the better half
    after legs 1, 2, 4, 8, ...; null: none."""
    reuse: str | None = None
    """Another run whose outcomes are reused for the same hyperparameters, instead of training again: a name
    in the same runs directory, or a path."""
    inherit: Literal["parameters", "none"] | None = None
    """parameters: children start from a parent's parameters; none: each member trains from scratch, for up to
    `legs` legs; null: the strategy's default."""
    judge: Literal["raw", "averaged"] = "raw"
    """Parameters whose fom counts: those of the last step (raw), or a moving average (averaged)."""
    average_half_life: float | None = Field(default=None, gt=0)
    """Half-life of that average in epochs; default with `judge: averaged`: 1."""
    initialisation: Literal["own", "shared"] = "own"
    """own: each founder draws its own parameters; shared: all founders start with the same."""
    recombine: Recombine | None = None
    """Start the last generations from the mean of all members; null: from parents throughout."""
    soup: bool = False
    """At the end, average the networks of the last generation whose mean is better on validation data."""
    ploidy: int = Field(default=1, ge=1, le=MOST_NETWORKS)
    """Networks per member: an ensemble whose combined predictions are evaluated. A child inherits each of
    them from its parameter parent α or from a second one, with equal probability."""
    genomes: Literal["one", "mean", "own"] = "one"
    """With `ploidy`: `one` genome per member, or one per network. In the latter case all networks are trained
    with the `mean` of numbers and the majority of choices, or each with its `own`."""
    options: Plain = Field(default_factory=dict)
    """Options of the strategy."""
    demes: DemesSection | None = None
    """Sub-populations on a grid, each with its own strategy; null: a single population."""
    start: Start | None = None
    """Another run from whose result the founders start; null: new parameters and genomes."""
    hyp_text: str | None = None
    """Text of the hyp.yaml with the loci; hyp_evolved.yaml keeps its comments. Filled in by evodevo."""
    phases: growth.Phases | None = None
    """Stages of a strategy that grows genomes; genomes are longer in each. `generations` is by default the
    sum of their generations."""
    blocks: growth.Blocks | None = Field(default=None, exclude=True)
    """Loci that repeat; reading a config replaces them by plain loci."""
    loci: dict[str, Locus] = Field(min_length=1)
    """What evolves: the name of each hyperparameter and its locus."""
    own_loci: dict[str, Locus] = Field(default_factory=dict)
    """Loci that a user's strategy adds. Filled in by evodevo; given values are overwritten."""

    @model_validator(mode="before")
    @classmethod
    def _laid_out(cls, data: Any) -> Any:
        """Replace blocks by loci, and epochs or phases by generations and their lengths."""
        data = growth.laid_out(data) if isinstance(data, dict) else data
        if not isinstance(data, dict) or data.get("epochs") is None:
            return data
        strategy = STRATEGIES.get(str(data.get("strategy", "tri_parent")))
        mixes = strategy is None or not strategy.keeps_to_itself
        epochs = data["epochs"]
        each: Any = data.get("epochs_per_generation")
        each = ("auto" if mixes else 1) if each is None else each
        last = data["recombine"].get("last") if isinstance(data.get("recombine"), dict) else 0.0
        if data.get("inherit") == "none" or (strategy is not None and not strategy.inherits):
            raise ValueError(
                "epochs: members train from scratch; give generations and the length of a life instead"
            )
        if data.get("generations") is not None:
            raise ValueError("give epochs or generations, not both; null removes one of them")
        if data.get("steps_per_generation") is not None:
            raise ValueError("give epochs or steps_per_generation, not both")
        sound = is_count(epochs) and (each == "auto" or is_count(each)) and isinstance(last, float | int)
        if not sound or not 0 <= last <= 1 or epochs > MOST_GENERATIONS:
            return {**data, "generations": 1, "epochs_per_generation": 1 if each == "auto" else each}
        legs = lay_out(epochs, each, round(last * epochs))
        uniform = len(set(legs)) == 1
        laid_out = {"generations": len(legs), "epochs_per_generation": legs[0] if uniform else legs}
        return {**data, **laid_out, "epochs": None}

    @model_validator(mode="after")
    def _has_one_length(self) -> Self:
        if self.epochs_per_generation == "auto":
            raise ValueError("epochs_per_generation: auto requires epochs, the length of the run")
        if self.steps_per_generation is not None and self.epochs_per_generation != 1:
            raise ValueError("give epochs_per_generation or steps_per_generation, not both")
        return self

    def leg_epochs(self, generation: int) -> int:
        """Return the epochs of each leg of a generation's members."""
        each = self.epochs_per_generation
        assert each != "auto", "replaced when the config was read"
        return each if isinstance(each, int) else each[min(generation, len(each) - 1)]

    @property
    def begins_alike(self) -> bool:
        """Whether founders start with the same parameters."""
        return self.initialisation == "shared" or (self.start is not None and self.start.take != "genome")

    @property
    def half_life(self) -> float | None:
        """Half-life in epochs of the average that is judged; None if members are judged raw."""
        return (self.average_half_life or 1.0) if self.judge == "averaged" else None

    @property
    def total_epochs(self) -> int:
        """Epochs of training from the first generation to the last, if children inherit parameters."""
        each, count = self.epochs_per_generation, self.generations
        if self.phases is not None:
            count = self.phases.at(count - 1) + 1
        assert each != "auto", "replaced when the config was read"
        if isinstance(each, int):
            return self.legs * each * count
        return self.legs * (sum(each[:count]) + each[-1] * max(0, count - len(each)))

    @property
    def recombining(self) -> int | None:
        """The first generation that starts from a mean, never that of founders; None without `recombine`."""
        if self.recombine is None:
            return None
        if isinstance(self.epochs_per_generation, int):
            return max(1, self.generations - round(self.recombine.last * self.generations))
        lengths = [self.leg_epochs(generation) for generation in range(self.generations)]
        begins = list(itertools.accumulate(lengths, initial=0))
        wanted = begins[-1] * (1 - self.recombine.last)
        return min(range(1, self.generations + 1), key=lambda at: abs(begins[at] - wanted))


def is_count(value: Any) -> bool:
    """Return whether a value is a whole number of 1 or more."""
    return type(value) is int and value >= 1


def lay_out(epochs: int, each: int | Literal["auto"], recombining: int) -> list[int]:
    """Return the number of epochs of each generation of a run, given its total.

    The last `recombining` generations have one epoch each. The others have `each`, and the last of them the
    remainder; with `auto` they are `SELECTIONS` generations, as equal as whole numbers allow.
    """
    selecting = max(1, epochs - recombining)
    if each == "auto":
        count = min(SELECTIONS, selecting)
        ends = [(at + 1) * selecting // count for at in range(count)]
    else:
        ends = [*range(each, selecting, each), selecting]
    return [*(end - begin for begin, end in zip([0, *ends], ends, strict=False)), *[1] * (epochs - selecting)]
