"""Validate the config of a run: plain data in, frozen models out. See config_file.py for files.

All checks happen here, once. What is wrong becomes one `UsageError` that names each key, repeats its value
and says what would be valid.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from evodevo import (
    command_flags,
    config_checks,
    config_objective,
    config_phases,
    installed,
    trackers,
    yaml_text,
)
from evodevo.command_flags import FlagKind
from evodevo.config_cluster import Cluster
from evodevo.config_errors import describe
from evodevo.config_limits import Limits
from evodevo.config_objective import Objective
from evodevo.config_run import Run
from evodevo.config_search import Search, Section
from evodevo.config_values import Plain
from evodevo.errors import UsageError
from evodevo.evolution import rng
from evodevo.evolution.space import Space
from evodevo.evolution.strategies import STRATEGIES, Strategy, find
from evodevo.evolution.strategies.demes import Demes
from evodevo.run.place import place_of

DEFAULT_POOL = 8
OF_PARAMETERS = ("judge", "average_half_life", "initialisation", "recombine", "soup")
"""Keys of `search` that concern parameters; a program's parameters are unknown to evodevo."""


class Workload(Section):
    use: str | None = None
    """The workload's class: `module:Class` or the name of an entry point. Give this or `command`."""
    command: str | list[str] | None = None
    """A program that gets hyperparameters as flags; its last line `FoM: <number>` gives the fom."""
    options: Plain = Field(default_factory=dict)
    """Keyword arguments for the workload's class, checked against its signature."""
    flags: dict[str, FlagKind] = Field(default_factory=dict)
    """The kind of flag per hyperparameter of `command`; see `evodevo.command_flags`."""

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.use is None) == (self.command is None):
            raise ValueError("give either `use: module:Class` or `command: program ...`")
        if self.use is not None and not re.fullmatch(r"\w+(\.\w+)*:\w+|[\w-]+", self.use):
            raise ValueError(f"use is {self.use!r} and should have the form module:Class")
        if self.command is not None and not "".join(self.command).strip():
            raise ValueError("command is empty")
        if self.flags and self.command is None:
            raise ValueError("flags apply to `command` only; leave them out")
        return self


class Data(Section):
    root: str | None = Field(default=None, min_length=1)
    """Directory of the data sets in their standard layouts; all workers must be able to read it."""


class Checkpoints(Section):
    url: str | None = Field(default=None, min_length=1)
    """Directory or fsspec URL for checkpoints, shared by all workers; default: `params/` of the run."""
    max_bytes: int | None = Field(default=None, gt=0)
    """Limit for the run's checkpoints; a run that would exceed it stops and says how much it needs."""
    on_mismatch: Literal["stop", "accept"] = "stop"
    """What to do if a damaged checkpoint is recomputed and its bytes differ, as on other hardware: stop the
    run, or accept the new ones."""

    @field_validator("url")
    @classmethod
    def _is_shared(cls, url: str | None) -> str | None:
        if url is not None and url.startswith("memory:"):
            raise ValueError(
                f"{url!r} is the memory of one process; give a directory or URL that all workers can read"
            )
        return url


class Arm(Section):
    """One of the searches that `evodevo compare` runs side by side."""

    strategy: str
    """The arm's `search.strategy`."""
    options: Plain = Field(default_factory=dict)
    """The arm's `search.options`."""
    search: Plain = Field(default_factory=dict)
    """Other keys of `search` for this arm. An arm does not inherit `judge`, `recombine`, `soup` and the like
    from the config: without them a generation is one epoch, and parameters are judged as they are."""


class Compare(Section):
    arms: dict[str, Arm] = Field(default_factory=dict)
    """Arms by name; one with the name of a built-in arm replaces it."""


class RunConfig(Section):
    run: Run
    workload: Workload
    objective: Objective
    search: Search
    data: Data = Data()
    checkpoints: Checkpoints = Checkpoints()
    limits: Limits = Limits()
    cluster: Cluster = Cluster()
    compare: Compare = Compare()
    phases: list[Plain] = Field(default_factory=list)
    """Runs in sequence: each entry has a `name` and sections that override the others. See config_phases."""
    phase: int | None = None
    """Index of this run's phase. Filled in by evodevo."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Package versions. Filled in by evodevo when the run begins; given values are overwritten."""

    @property
    def ends_early(self) -> bool:
        """Whether a life may end in the middle of an epoch."""
        return self.objective.target is not None or self.limits.member_time_s is not None

    def space(self) -> Space:
        """Return the loci of the config and those that the strategy adds. Raises `ValueError`.

        Imports nothing: the config has the loci that a user's strategy adds.
        """
        known = STRATEGIES.get(self.search.strategy)
        own = known.own_loci(self._options_of(known)) if known else self.search.own_loci
        for name in own.keys() & self.search.loci.keys():
            raise ValueError(
                f"{name}: {self.search.strategy} adds a locus with this name; choose another name"
            )
        return Space({**self.search.loci, **own})

    @property
    def inherits(self) -> bool:
        """Whether children start from a parent's parameters. Imports nothing, like `space`."""
        if self.search.inherit is not None:
            return self.search.inherit == "parameters"
        known = STRATEGIES.get(self.search.strategy)
        return known.inherits if known else True

    def strategy(self) -> Strategy:
        """Return the strategy, in demes if the config has them.

        Raises `ValueError` for options that it refuses, and `TypeError` if its class cannot be instantiated.
        """
        search, seed = self.search, self.run.seed
        if search.demes is None:
            return self._made(search.population, seed, {})
        layout, own = search.demes.layout(search.population), search.demes.options_of
        each = [self._made(layout.size, rng.deme_seed(seed, deme), own(deme)) for deme in range(layout.count)]
        made = Demes(layout, each, seed)
        made.inherits = self.inherits
        return made

    def _made(self, population: int, seed: int, options: Mapping[str, Any]) -> Strategy:
        """Return a strategy for a population; `options` override those of the config."""
        search = self.search
        found = find(search.strategy)
        pool = (search.pool or DEFAULT_POOL) if search.pace == "pools" else None
        chosen = found.Options.model_validate({**search.options, **options})
        try:
            made = found(self.space(), population, self.objective.mode, seed, chosen, pool)
        except ValueError:
            raise
        except Exception as why:  # a user's own `__init__` may raise anything
            told = f"{type(why).__name__}: {why}{place_of(why, __file__)}"
            raise TypeError(f"{search.strategy} cannot be made: {told}") from why
        made.inherits, made.phases = self.inherits, search.phases
        return made

    def _options_of(self, strategy: type[Strategy]) -> BaseModel:
        return strategy.Options.model_validate(self.search.options)

    def warnings(self) -> list[str]:
        """Return a line for each setting that is valid, but probably not intended."""
        command, found = self.workload.command, []
        if command:
            found += command_flags.warnings(command, self.workload.flags, self.search.loci)
        return found + config_objective.warnings(self.objective, self.cluster)

    def complete(self) -> Self:
        """Return the config with the defaults of the strategy's options filled in.

        The journal has them, so that a new version with other defaults does not change a run.
        """
        strategy = find(self.search.strategy)
        options = self._options_of(strategy).model_dump(mode="json")
        pace = self.search.pace or strategy.paces[0]
        pool = (self.search.pool or DEFAULT_POOL) if pace == "pools" else None
        filled_in: dict[str, Any] = {"options": options, "pace": pace, "pool": pool}
        filled_in["inherit"] = "parameters" if self.inherits else "none"
        search = self.search.model_copy(update=filled_in)
        return self.model_copy(update={"search": search})

    def with_members_per_device(self, members: int, stacked: bool) -> Self:
        """Return the config with the number of members that a worker trains at once, and how."""
        cluster = self.cluster.model_copy(update={"members_per_device": members, "stacked": stacked})
        return self.model_copy(update={"cluster": cluster})

    def with_generations(self, generations: int) -> Self:
        """Return the config with another number of generations."""
        return self.model_copy(update={"search": self.search.model_copy(update={"generations": generations})})

    def differs_from(self, other: Self) -> list[str]:
        """Return the sections and keys by which this config's results could differ from the other's.

        Of `cluster` only threads and workers per member matter; comparisons, trackers and versions do not.
        """
        results = ("workload", "objective", "search", "data", "checkpoints", "limits", "phases")
        one, two = (config.complete()._without_comments() for config in (self, other))
        found = [section for section in results if getattr(one, section) != getattr(two, section)]
        if self.run.losses_per_epoch != other.run.losses_per_epoch:
            found.insert(0, "run.losses_per_epoch")
        if (self.run.name, self.run.seed) != (other.run.name, other.run.seed):
            found.insert(0, "run")
        keys = ("threads_per_member", "workers_per_member", "batch_norm")
        mine, theirs = self.cluster, other.cluster
        return found + [f"cluster.{key}" for key in keys if getattr(mine, key) != getattr(theirs, key)]

    def _without_comments(self) -> Self:
        return self.model_copy(update={"search": self.search.model_copy(update={"hyp_text": None})})

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `parse` accepts.

        `run.losses_per_epoch`, which earlier versions refuse, is included only if it is set.
        """
        data = self.model_dump(mode="json")
        if not self.run.losses_per_epoch:
            del data["run"]["losses_per_epoch"]
        return data

    def to_yaml(self) -> str:
        return yaml_text.dump(self.model_dump(mode="json"))


def parse(data: Mapping[str, Any], where: str = "config") -> RunConfig:
    """Validate a config given as plain data. Raises `UsageError`, naming `where` it came from."""
    if data.get("phases") and data.get("phase") is None:
        try:
            data = config_phases.laid_out(data, where, parse)
        except ValueError as why:
            raise _wrong(where, [str(why)]) from None
    data = _filled_in(data)
    try:
        config = RunConfig.model_validate(data)
    except ValidationError as why:
        raise _wrong(where, [*describe(why, RunConfig), *_strategy_problems(data)]) from None
    if problems := _strategy_problems(data):
        raise _wrong(where, problems)
    search = config.search
    strategy = find(search.strategy)
    try:
        options: Any = strategy.Options.model_validate(search.options)
    except ValidationError as why:
        raise _wrong(where, describe(why, strategy.Options, ("search", "options"))) from None
    if search.strategy not in STRATEGIES:
        by_itself = search.inherit or ("parameters" if strategy.inherits else "none")
        own = {"own_loci": strategy.own_loci(options), "inherit": by_itself}
        search = search.model_copy(update=own)
        config = config.model_copy(update={"search": search})
    try:
        space = config.space()
    except ValueError as why:
        raise _wrong(where, [f"search.loci.{why}"]) from None
    workload = config.workload
    problems = _unknown_workload(workload.use)
    problems += config_phases.problems(config.phases, config.phase)
    problems += command_flags.problems(workload.command or "", workload.flags, search.loci)
    if search.population < strategy.smallest_population:
        problems.append(
            f"search.population: {search.population} is too small for {search.strategy}, "
            f"which needs {strategy.smallest_population} or more"
        )
    if not strategy.inherits and search.population > 1 and list(strategy.paces) == ["steady"]:
        problems.append(
            f"search.population: {search.population} is too large, as {search.strategy} has one member per "
            "generation; leave population out, and set generations to the number of members"
        )
    if search.inherit == "parameters" and not strategy.inherits:
        problems.append(f"search.inherit: each member of {search.strategy} trains from scratch; leave it out")
    if search.inherit == "none" and not strategy.may_begin_anew:
        problems.append(
            f"search.inherit: {search.strategy} trains the same members from generation to generation, so "
            "they cannot train from scratch; leave it out, or choose another strategy"
        )
    problems += config_checks.problems(config, strategy) + trackers.problems(config.run.trackers)
    if search.pool is not None and search.pace != "pools":
        problems.append(
            f"search.pool: {search.pool} has no effect; leave it out, or set search.pace to pools"
        )
    if search.pace is not None and search.pace not in strategy.paces:
        problems.append(
            f"search.pace: {search.pace!r} is not supported by {search.strategy}; "
            f"use {' or '.join(strategy.paces)}"
        )
    if getattr(options, "initial", "random") != "random":
        problems += [
            f"search.loci.{name}: initial is missing, and search.options.initial is {options.initial!r}; "
            "give the locus an initial value, or set search.options.initial to random"
            for name in space.without_initial()
        ]
    if problems:
        raise _wrong(where, problems)
    try:
        config.strategy()
    except ValueError as why:
        raise _wrong(where, [f"search.options.{why}"]) from None
    except TypeError as why:
        raise _wrong(where, [f"search.strategy: {why}"]) from None
    if config.ends_early and config.cluster.stacked == "auto":
        cluster = config.cluster.model_copy(update={"stacked": False})
        return config.model_copy(update={"cluster": cluster})
    return config


def _filled_in(data: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the strategy's defaults for missing keys of `search`.

    Only evodevo's own strategies have such defaults. Errors are reported later. Journals are not read in this
    way: a key that is missing there was unknown to the version that wrote it.
    """
    search = data.get("search")
    name = search.get("strategy", "tri_parent") if isinstance(search, Mapping) else None
    known = STRATEGIES.get(name) if isinstance(name, str) else None
    if not known or not isinstance(search, Mapping):
        return dict(data)
    workload = data.get("workload")
    defaults = dict(known.default_search)
    if search.get("inherit") == "none":
        options = search.get("options")
        defaults = {key: value for key, value in defaults.items() if key not in OF_PARAMETERS}
        if known.options_from_scratch and isinstance(options, Mapping | None):
            search = {**search, "options": {**known.options_from_scratch, **(options or {})}}
    if isinstance(workload, Mapping) and workload.get("command") is not None:
        defaults = {key: value for key, value in defaults.items() if key not in OF_PARAMETERS}
    if search.get("pace") == "steady":
        defaults.pop("recombine", None)
    return {**data, "search": {**defaults, **search}}


def read_config(data: Mapping[str, Any], where: str = "journal") -> RunConfig:
    """Return the config of a run, validated when it began; imports no strategy. Raises `UsageError`."""
    try:
        return RunConfig.model_validate(dict(data))
    except ValidationError as why:
        raise _wrong(where, describe(why, RunConfig)) from None


def _strategy_problems(data: Mapping[str, Any]) -> list[str]:
    """Return why the strategy that a config names cannot be loaded, in at most one line."""
    search = data.get("search")
    name = search.get("strategy", "tri_parent") if isinstance(search, Mapping) else None
    if not isinstance(name, str):
        return []
    try:
        find(name)
    except ValueError as why:
        return [f"search.strategy: {why}"]
    return []


def _unknown_workload(use: str | None) -> list[str]:
    """Return why a workload that is named without a module cannot be found. Imports nothing."""
    if use is None or ":" in use:
        return []
    try:
        if installed.path_of(installed.WORKLOADS, use) is not None:
            return []
    except ValueError as why:
        return [f"workload.use: {why}"]
    names = ", ".join(installed.names(installed.WORKLOADS)) or "none"
    return [
        f"workload.use: {use!r} is unknown; give module:Class, or the name of a workload of an installed "
        f"package: {names}"
    ]


def _wrong(where: str, problems: Iterable[str]) -> UsageError:
    lines = list(problems)
    if len(lines) == 1:
        return UsageError(f"{where}: {lines[0]}")
    return UsageError("\n  ".join([f"{where}: {len(lines)} errors:", *lines]))
