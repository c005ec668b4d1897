"""Simulate a run for unit tests, in milliseconds: without a cluster, files or torch."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from evodevo import fresh
from evodevo.config import RunConfig, parse
from evodevo.errors import UsageError
from evodevo.evolution.fitness import Mode
from evodevo.evolution.space import Space
from evodevo.evolution.strategies import Birth, Pace, Strategy, find, name_of
from evodevo.evolution.strategies.base import CommonOptions
from evodevo.run.history import History
from evodevo.run.life import Life
from evodevo.run.records import Outcome
from evodevo.run.simulation import play
from evodevo.service.function_space import loci_of

METRIC = "fom"
RAW: Mapping[str, Any] = {"judge": "raw", "soup": False, "recombine": None}
"""Keys of `search` without which a run would need parameters; simulated members have none."""


@dataclass(frozen=True)
class SimulatedMember:
    """A member: its birth and its fom; `foms` has one for each leg of its life."""

    id: str
    generation: int
    slot: int
    birth: Birth
    hyperparameters: Mapping[str, Any]
    fom: float | None
    foms: tuple[float | None, ...]


@dataclass(frozen=True, repr=False)
class Simulated:
    """The result of a simulated run; `members` are in the order of their births."""

    members: tuple[SimulatedMember, ...]
    best: SimulatedMember | None

    def __repr__(self) -> str:
        best = f"best fom {self.best.fom:.6g} ({self.best.id})" if self.best else "no member with a fom"
        return f"<Simulated: {len(self.members)} members, {best}>"

    def generation(self, number: int) -> list[SimulatedMember]:
        """Return the members of a generation, by slot."""
        return sorted((one for one in self.members if one.generation == number), key=lambda one: one.slot)

    @property
    def history(self) -> list[dict[str, Any]]:
        """Return one row per member: its place, parents, fom and hyperparameters."""
        return [
            {
                "member": one.id,
                "generation": one.generation,
                "slot": one.slot,
                "parent_a": one.birth.parent_a,
                "parent_b": one.birth.parent_b,
                "parent_params": one.birth.parent_params,
                "fom": one.fom,
                **one.hyperparameters,
            }
            for one in self.members
        ]


def simulate(
    strategy: type[Strategy] | str,
    objective: Callable[..., Any],
    space: Mapping[str, Any] | Space,
    *,
    population: int = 10,
    generations: int = 10,
    mode: Mode = "min",
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    demes: Mapping[str, Any] | None = None,
    pace: Pace | None = None,
    pool: int | None = None,
    legs: int = 1,
    workers: int = 1,
    state: Any = None,
    inherit: bool = True,
) -> Simulated:
    """Simulate a run in this process, with a function instead of training, and return its members.

    strategy: a class, or a name that a config accepts.
    objective: called as `objective(**hyperparameters)` for each leg of each member; returns the fom. None,
        NaN and infinity mean that the member failed; exceptions propagate.
    space: as in `evodevo.minimise`: name -> `(low, high)`, a list of choices, or a locus as in a config.
    state: stands for parameters, which children inherit. If given, the objective is called as
        `objective(state, **hyperparameters)` and returns the fom and the new state. Founders begin with this
        one. A state must not be changed in place, as two children may share it.
    options, demes, pace, pool, legs, seed, population, generations, mode: as in a config.
    workers: members that train at the same time; only the steady pace depends on it.
    inherit: False if all members begin with `state`, as with `search.inherit: none`.

    Raises `RunFailed` if the strategy raises or gives an answer that the engine would refuse, and
    `UsageError` for arguments that a config would not accept.
    """
    kind = strategy_class(strategy)
    found = space.loci if isinstance(space, Space) else space
    search: dict[str, Any] = {
        "population": population,
        "generations": generations,
        "options": options_for(kind, found, options),
        "demes": demes,
        "pace": pace,
        "pool": pool,
        "legs": legs,
        "inherit": None if inherit else "none",
    }
    config = config_of(kind, found, mode, seed, search)
    states: dict[str, Any] = {}

    def evaluate(life: Life, leg: int, history: History) -> Outcome:
        values = config.space().express(life.birth.genome)
        if state is None:
            return outcome_of(objective(**values))
        before = life.id if leg else life.birth.parent_params
        answer, states[life.id] = objective(states.get(before or "", state), **values)
        return outcome_of(answer)

    history = play(config, evaluate, config.strategy, workers)
    return result_of(history)


def strategy_class(strategy: type[Strategy] | str) -> type[Strategy]:
    """Return a strategy's class, given the class or its name. Raises `UsageError`.

    If given by name, its module is imported again if the file was edited.
    """
    if isinstance(strategy, str):
        fresh.refresh(strategy)
        try:
            found = find(strategy)
        except ValueError as why:
            raise UsageError(str(why)) from None
        fresh.remember(strategy)
        return found
    if not (inspect.isclass(strategy) and issubclass(strategy, Strategy)):
        raise UsageError(f"{strategy!r} is not a subclass of evodevo.Strategy, nor the name of one")
    return strategy


def options_for(
    kind: type[Strategy], space: Mapping[str, Any], options: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the options, with random founders if a locus lacks an initial value."""
    chosen = dict(options or {})
    has_initial = all(
        (one.get("initial") if isinstance(one, Mapping) else getattr(one, "initial", None)) is not None
        for one in space.values()
        if not _is_fixed(one)
    )
    if not has_initial and issubclass(kind.Options, CommonOptions):
        chosen.setdefault("initial", "random")
    return chosen


def _is_fixed(locus: Any) -> bool:
    return (locus.get("type") if isinstance(locus, Mapping) else getattr(locus, "type", None)) == "fixed"


def config_of(
    kind: type[Strategy], space: Mapping[str, Any], mode: Mode, seed: int, search: Mapping[str, Any]
) -> RunConfig:
    """Return the config of a simulated run. Raises `UsageError`."""
    loci = {name: {key: value for key, value in one.items() if value is not None}
            for name, one in loci_of(space, {}).items()}  # fmt: skip
    return parse(
        {
            "run": {"name": "simulated", "seed": seed},
            "workload": {"use": "evodevo.testing:simulate"},
            "objective": {"metric": METRIC, "mode": mode},
            "search": {"strategy": name_of(kind), **RAW, "loci": loci, **search},
        },
        "simulate",
    )


def outcome_of(fom: Any) -> Outcome:
    """Return the outcome of a leg that ended with a fom; None, NaN and infinity are failures."""
    if fom is None or not math.isfinite(fom):
        return Outcome("diverged")
    return Outcome("done", float(fom), {METRIC: float(fom)})


def result_of(history: History) -> Simulated:
    """Return the result of a simulated run, given its history."""
    space = history.config.space()
    members = {
        life.id: SimulatedMember(
            life.id,
            life.generation,
            life.slot,
            life.as_member().birth,
            space.express(life.birth.genome),
            life.fom,
            tuple(outcome.fom for outcome in life.outcomes()),
        )
        for life in history.births
    }
    best = members[history.best.id] if history.best else None
    return Simulated(tuple(members.values()), best)
