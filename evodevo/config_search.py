"""The `search` section of a config, and what all sections have in common. For the others see config.py."""

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
"""Generations that `epochs_per_generation: auto` makes of a run, without those that recombine."""
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


def _is_a_length(value: Any) -> Any:
    if value == "auto" or is_count(value):
        return value
    if isinstance(value, list) and value and all(map(is_count, value)):
        return value
    raise ValueError(f"{value!r} should be auto, a number of epochs, or a list of them, one a generation")


EpochsPerGeneration = Annotated[int | list[int] | Literal["auto"], BeforeValidator(_is_a_length)]


PARAMETERS_ALONE = ("parameters", "start")
"""Values of `search.start.take` that leave loci as they are."""


class Start(Section):
    """What the founders of a run start from: another run's best, copied when it begins."""

    run: str
    """A run's name in the same runs directory, or the path of a run's directory."""
    take: Literal["best", "parameters", "genome", "start"] = "best"
    """The parameters and the genome of its best member; its parameters alone, with loci as the config has
    them; the genome alone, with parameters drawn freshly; or the parameters that it started from itself."""
    fix: list[str] = Field(default_factory=list)
    """Loci that are fixed at the values of that genome; the others begin there."""

    @field_validator("run")
    @classmethod
    def _is_a_name_or_a_path(cls, run: str) -> str:
        return run if "/" in run and "\0" not in run else check_run_name(run)

    @model_validator(mode="after")
    def _fixes_what_it_takes(self) -> Self:
        if self.fix and self.take in PARAMETERS_ALONE:
            raise ValueError(f"fix is at values of the best genome, which `take: {self.take}` does not take")
        return self

    @property
    def is_path(self) -> bool:
        return "/" in self.run


MOST_NETWORKS = 64
"""Of a member."""
MOST_GENERATIONS = 1_000_000
"""And epochs; of strategies without inheritance it is the number of members."""


class Recombine(Section):
    """Recombination of parameters: generations that begin from the mean of all members of the one before.

    In them nobody is selected: each member keeps its hyperparameters.
    """

    last: float = Field(gt=0, le=1)
    """The fraction of the run that does so, at its end."""


class Search(Section):
    strategy: str = "tri_parent"
    """The name of one in evolution/strategies, or the import path of a `Strategy`."""
    population: int = Field(ge=1, le=100_000)
    generations: int = Field(ge=1, le=MOST_GENERATIONS)
    """A generation is one life of every member: with inheritance one leg, by default one epoch."""
    pace: Pace | None = None
    """When a child is born: after the whole generation before it, after its mating pool, or when a worker is
    free (`steady`). The strategy's first where nothing is said: `generations`, and steady for mutate_best."""
    pool: int | None = Field(default=None, ge=2)
    """With `pace: pools`, the members of a mating pool: the child's own slot and others; 8 if not given."""
    legs: int = Field(default=1, ge=1, le=MOST_GENERATIONS)
    """Legs of a life, at the most; the fom is that of the last one."""
    goal: float | None = None
    """A fom that is good enough: the run is done once a member has it, or a better one. In paces with
    generations that is judged when a generation is complete, and none begins before; null: never."""
    plateau: int | None = Field(default=None, ge=1)
    """The run is done once so many complete generations in a row have brought no better fom; null: never."""
    patience: int | None = Field(default=None, ge=1)
    """A life ends after so many legs in a row of which none has a better fom than all before; null: never."""
    epochs: int | None = Field(default=None, ge=1, le=MOST_GENERATIONS, exclude=True)
    """Epochs of a line from its founder to the end of the run, instead of `generations`, which then follow
    from it and from `epochs_per_generation` (`auto` if not given). Reading a config replaces it by these."""
    epochs_per_generation: EpochsPerGeneration = 1
    """Length of a leg: the same in all generations, or that of each (the last one holds for those after it).
    auto, with `epochs`: as many as make `SELECTIONS` generations of the run; recombining ones have one."""
    steps_per_generation: int | None = Field(default=None, ge=1)
    """Length of a leg in optimizer steps, instead of epochs."""
    stop_early: Literal["median", "halving"] | None = None
    """Of members that train from scratch, end those early that seem hopeless after a leg: whose best fom so
    far is worse than the median of others' after the same leg; or who is not in the better half after legs 1,
    2, 4, 8, ... null: nobody."""
    reuse: str | None = None
    """Another run, whose outcomes are taken for the same hyperparameters, in place of training again: a name
    in the same runs directory, or a path."""
    inherit: Literal["parameters", "none"] | None = None
    """Whether children go on from a parent's parameters, or each member trains from scratch, for `legs` legs.
    null: as the strategy has it by itself."""
    judge: Literal["raw", "averaged"] = "raw"
    """Whose fom counts: that of the parameters as they are, or of their moving average, kept at each step."""
    average_half_life: float | None = Field(default=None, gt=0)
    """Half-life of that average, in epochs; with `judge: averaged` 1 if not given."""
    initialisation: Literal["own", "shared"] = "own"
    """Whether each founder draws its own parameters, or all founders begin with the same."""
    recombine: Recombine | None = None
    """Begin the last generations from the mean of all members; null: each from its parent, to the end."""
    soup: bool = False
    """At the end, average those networks of the last generation whose mean is better on validation data."""
    ploidy: int = Field(default=1, ge=1, le=MOST_NETWORKS)
    """Networks of a member: an ensemble, whose combined predictions are judged. A child takes each of them
    from its α or from a second such parent, with equal probability."""
    genomes: Literal["one", "mean", "own"] = "one"
    """With `ploidy`: one genome for all networks of a member, or one for each. All networks are then trained
    with the mean of numbers and a vote of choices (`mean`), or each with its `own`."""
    options: Plain = Field(default_factory=dict)
    """The strategy's own."""
    demes: DemesSection | None = None
    """Sub-populations on a grid, each with a strategy of its own; null for one population."""
    start: Start | None = None
    """Another run, from whose best the founders go on; null for parameters and genomes of their own."""
    hyp_text: str | None = None
    """Text of the hyp.yaml that loci came from; hyp_evolved.yaml keeps its comments. Filled in by evodevo."""
    phases: growth.Phases | None = None
    """Stretches of generations in each of which genomes are longer than in the one before; for strategies
    that grow genomes. `generations` are then all of them, if fewer are not given."""
    blocks: growth.Blocks | None = Field(default=None, exclude=True)
    """Loci that repeat. Reading a config replaces it by plain loci."""
    loci: dict[str, Locus] = Field(min_length=1)
    own_loci: dict[str, Locus] = Field(default_factory=dict)
    """Those that a strategy of a user's own adds. Filled in by evodevo; what is given is overwritten."""

    @model_validator(mode="before")
    @classmethod
    def _laid_out(cls, data: Any) -> Any:
        """Blocks become loci; epochs, or phases, become generations and the length of each."""
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
            raise ValueError("epochs: members train from scratch; give generations, and the length of a life")
        if data.get("generations") is not None:
            raise ValueError("give epochs or generations, not both; null takes one of them out")
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
            raise ValueError("epochs_per_generation: auto needs epochs, the length of the run")
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
        """Whether founders begin with the same parameters."""
        return self.initialisation == "shared" or (self.start is not None and self.start.take != "genome")

    @property
    def half_life(self) -> float | None:
        """Of the average that members are judged by, in epochs; None if they are judged as they are."""
        return (self.average_half_life or 1.0) if self.judge == "averaged" else None

    @property
    def total_epochs(self) -> int:
        """Epochs of a line from the first generation to the last, if children inherit parameters."""
        each, count = self.epochs_per_generation, self.generations
        if self.phases is not None:
            count = self.phases.at(count - 1) + 1
        assert each != "auto", "replaced when the config was read"
        if isinstance(each, int):
            return self.legs * each * count
        return self.legs * (sum(each[:count]) + each[-1] * max(0, count - len(each)))

    @property
    def recombining(self) -> int | None:
        """The first generation that begins from a mean; founders have nobody to be the mean of."""
        if self.recombine is None:
            return None
        if isinstance(self.epochs_per_generation, int):
            return max(1, self.generations - round(self.recombine.last * self.generations))
        lengths = [self.leg_epochs(generation) for generation in range(self.generations)]
        begins = list(itertools.accumulate(lengths, initial=0))
        wanted = begins[-1] * (1 - self.recombine.last)
        return min(range(1, self.generations + 1), key=lambda at: abs(begins[at] - wanted))


def is_count(value: Any) -> bool:
    """Whether a value is a whole number of 1 or more."""
    return type(value) is int and value >= 1


def lay_out(epochs: int, each: int | Literal["auto"], recombining: int) -> list[int]:
    """Return the epochs of each generation of a run of so many, the last `recombining` of which have one.

    The others have `each`, but for the last of them, which has what is left; or with `auto` they are
    `SELECTIONS` generations as equal as whole numbers allow.
    """
    selecting = max(1, epochs - recombining)
    if each == "auto":
        count = min(SELECTIONS, selecting)
        ends = [(at + 1) * selecting // count for at in range(count)]
    else:
        ends = [*range(each, selecting, each), selecting]
    return [*(end - begin for begin, end in zip([0, *ends], ends, strict=False)), *[1] * (epochs - selecting)]
