"""What every strategy must do: the contract that evodevo's own pass, as functions that raise `BrokenRule`."""

import inspect
import random
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np
from pydantic import ValidationError

from evodevo.config import RunConfig
from evodevo.errors import RunFailed, UsageError
from evodevo.evolution.fitness import Mode, as_foms, is_usable
from evodevo.evolution.space import Space
from evodevo.evolution.strategies import Pace, Strategy
from evodevo.run.guard import Guarded
from evodevo.run.history import History
from evodevo.run.life import Life
from evodevo.run.records import Outcome
from evodevo.run.simulation import invented, play
from evodevo.testing.recorder import Asked, Recorder, same_answer, text_of
from evodevo.testing.simulated import config_of, options_for, outcome_of, strategy_class

MIXED: Mapping[str, Any] = {
    "rate": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log", "initial": 0.02},
    "layers": {"type": "int", "low": 1, "high": 6, "initial": 3},
    "optimizer": {"type": "choice", "choices": ["adam", "sgd"], "initial": "adam"},
    "momentum": {"type": "float", "low": 0.0, "high": 1.0, "initial": 0.9, "when": {"optimizer": "sgd"}},
    "nesterov": {"type": "bool", "initial": False},
    "batch": {"type": "fixed", "value": 90},
}
"""The loci with which a strategy is checked if none are given: one of each kind."""
GENERATIONS = 4
MEMBERS = 5
ALONE = 25
"""Members of a run in which they are born one after the other."""
DRAW = "draw from self.stream(generation, slot, 'purpose'), and keep nothing between calls"


class BrokenRule(AssertionError):
    """A strategy does not do what every strategy must: the rule, what it was asked, what it answered."""


@dataclass(frozen=True)
class Case:
    """A strategy under test: its class, options and loci, and one of the paces that it claims to know."""

    kind: type[Strategy]
    options: Mapping[str, Any]
    space: Mapping[str, Any]
    pace: Pace
    population: int
    mode: Mode = "min"
    seed: int = 0
    demes: Mapping[str, Any] | None = None
    search: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of a config's `search`."""

    @property
    def config(self) -> RunConfig:
        alone = self.population == 1 and not self.by_generation
        generations = ALONE if alone else GENERATIONS
        search: dict[str, Any] = {
            "population": self.population,
            "generations": generations,
            "options": options_for(self.kind, self.space, self.options),
            "demes": self.demes,
            "pace": self.pace,
            "pool": 3 if self.pace == "pools" else None,
            "legs": 2,
            **self.search,
        }
        return config_of(self.kind, self.space, self.mode, self.seed, search)

    @property
    def by_generation(self) -> bool:
        return self.pace != "steady"

    def run(self, **how: Any) -> History:
        """Return the history of a simulated run. Raises `RunFailed`."""
        config = self.config
        return play(config, how.pop("evaluate", invented), how.pop("strategy_of", config.strategy), **how)

    def asked(self) -> list[Asked]:
        """Return all that a strategy was asked in a run, with its answers."""
        recorder = Recorder(self.config.strategy())
        self.run(strategy_of=lambda: recorder)
        return recorder.asked

    def __str__(self) -> str:
        told = f"{self.pace}, population {self.population}, mode {self.mode}, seed {self.seed}"
        return f"{self.kind.__name__}({dict(self.options)}) with {told}"


def options_are_checked(case: Case) -> None:
    """An option that the strategy does not know is refused: subclass `CommonOptions`, or forbid extras."""
    try:
        case.kind.Options(**{**case.options, "no_such_option": 1})
    except ValidationError as why:
        if "no_such_option" in str(why):
            return
    raise BrokenRule("Options(no_such_option=1) was accepted, so a misspelt option would have no effect")


def paces_are_known(case: Case) -> None:
    """`paces` names one or more of generations, pools and steady, each once."""
    paces = list(case.kind.paces)
    if not paces or len(set(paces)) < len(paces) or not set(paces) <= set(get_args(Pace)):
        raise BrokenRule(f"paces is {paces!r}; it should be some of {get_args(Pace)!r}, each once")


def a_run_comes_to_its_end(case: Case) -> None:
    """Whatever members come to, births are legal and of parents that were given; judge says True or False.

    That is what the engine refuses (`evodevo.run.guard`): genomes that lack a locus or leave its bounds,
    unknown parents, parameters of a member that failed.
    """
    config, history = case.config, case.run()
    wanted = config.search.population * config.search.generations
    if len(history.over) != wanted:
        raise BrokenRule(f"{len(history.over)} members were born in place of {wanted}")


def founders_have_no_parents(case: Case) -> None:
    """A founder names no parents, and its values are legal."""
    strategy = Guarded(case.config.strategy())
    for slot in range(case.population):
        strategy.founder(0, slot)  # refuses what is wrong


def answers_depend_on_arguments_alone(case: Case) -> None:
    """A strategy that is asked again, in reverse order or by itself, gives the same answers.

    So does another one that was told nothing, except in the steady pace. Draw from `self.stream(...)`, keep
    nothing between calls, and look at no clock, file or set order.
    """
    asked = case.asked()
    if case.by_generation:
        fresh = case.config.strategy()
        for one in [*reversed(asked), *asked]:
            if one.method != "tell" and not same_answer(again := one.ask(fresh), one.answer):
                raise BrokenRule(f"{one} returned {text_of(one.answer)}, asked in another order "
                                 f"{text_of(again)}; {DRAW}")  # fmt: skip
        return
    told = case.config.strategy()
    for one in asked:
        answers = [one.ask(told) for _ in range(1 if one.method == "tell" else 2)]
        if one.method != "tell" and not (same_answer(answers[0], answers[1])):
            told_twice = f"{text_of(answers[0])}, asked twice {text_of(answers[1])}"
            raise BrokenRule(f"{one} returned {told_twice}; {DRAW}")


def a_restart_changes_nothing(case: Case) -> None:
    """A run that is resumed before each birth, with a new object each time, has the same history.

    What a strategy keeps must follow from what it is told (`tell`), and that only in the steady pace.
    """
    _compare(case.run(), case.run(restarted=True), "after a restart")


def the_order_of_results_changes_nothing(case: Case) -> None:
    """In the paces generations and pools the history does not depend on which member is done first."""
    if case.by_generation:
        shuffled = case.run(order=np.random.default_rng(1))
        _compare(case.run(), shuffled, "if members are done in another order")


def all_failures_are_alike(case: Case) -> None:
    """It makes no difference whether a fom is None, NaN or infinite."""
    if not case.by_generation:
        return
    strategy = case.config.strategy()
    births: dict[str, list[Any]] = {}
    first = next((one for one in case.asked() if one.method == "birth" and one.generation == 1), None)
    if first is None:
        return
    for failure in (None, float("nan"), float("inf"), float("-inf")):
        changed = first.with_failures(failure)
        births.setdefault(repr(changed.ask(strategy)), []).append(failure)
    if len(births) > 1:
        raise BrokenRule(f"{first} depends on how members failed: " +
                         "; ".join(f"foms {foms}: {birth}" for birth, foms in births.items()))  # fmt: skip


def the_mode_is_respected(case: Case) -> None:
    """Foms that are maximised breed as their negatives do minimised: use `ranking`, `rank`, `self.mode`."""

    def negated(life: Life, leg: int, history: History) -> Outcome:
        fom = invented(life, leg, history).fom
        return outcome_of(None if fom is None else -fom)

    other: Mode = "max" if case.mode == "min" else "min"
    mirrored = replace(case, mode=other)
    _compare(case.run(), mirrored.run(evaluate=negated), f"with mode {other} and foms of the other sign")


def fitness_is_a_number_for_each(case: Case) -> None:
    """`fitness` gives each fom a finite number, 0 or more; 0 to what failed; none has more than the best."""
    foms = [2.0, None, 1.0, 1.0]
    fitness = [float(one) for one in case.config.strategy().fitness(as_foms(foms))]
    best = 2 if case.mode == "min" else 0
    sound = len(fitness) == 4 and all(is_usable(one) and one >= 0 for one in fitness) and not fitness[1]
    if not sound or max(fitness) != fitness[best]:
        raise BrokenRule(f"fitness({foms}) returned {fitness}")


def nothing_else_is_touched(case: Case) -> None:
    """The global generators of Python and NumPy, and the members that are given, are left as they are."""
    before = _global_generators()
    asked = case.asked()
    if _global_generators() != before:
        raise BrokenRule(
            "a global random generator was used; draw from self.stream(generation, slot, 'name')"
        )
    for one in asked:
        if one.touched:
            raise BrokenRule(f"{one} changed the members that it was given")


RULES: Mapping[str, Callable[[Case], None]] = {
    rule.__name__: rule
    for rule in (
        options_are_checked,
        paces_are_known,
        a_run_comes_to_its_end,
        founders_have_no_parents,
        answers_depend_on_arguments_alone,
        a_restart_changes_nothing,
        the_order_of_results_changes_nothing,
        all_failures_are_alike,
        the_mode_is_respected,
        fitness_is_a_number_for_each,
        nothing_else_is_touched,
    )
}
"""The rules, by name; the docstring of each says what it asks for."""


def check_strategy(
    strategy: type[Strategy] | str,
    options: Mapping[str, Any] | None = None,
    space: Mapping[str, Any] | Space | None = None,
    *,
    population: int | None = None,
    demes: Mapping[str, Any] | None = None,
    rules: Collection[str] | None = None,
    search: Mapping[str, Any] | None = None,
) -> None:
    """Check that a strategy does what every strategy must; takes less than a second.

    strategy: a class, or what a config may name. options, population, demes: as in a config; the steady pace,
        which cannot have demes, is not tried with them.
    space: as in `evodevo.minimise`; by default one locus of each kind.
    rules: names of `RULES`; all by default.
    search: further keys of a config's `search`, such as phases. Its runs have 4 generations.

    Each rule is tried in each pace that the strategy has, for both modes and two seeds. Raises `BrokenRule`,
    an `AssertionError` that names the rule, what the strategy was asked and what it returned.
    """
    kind = strategy_class(strategy)
    if inspect.isabstract(kind):
        raise UsageError(f"{kind.__name__} lacks {', '.join(sorted(kind.__abstractmethods__))}")
    given = MIXED if space is None else space.loci if isinstance(space, Space) else space
    for name in RULES if rules is None else rules:
        if name not in RULES:
            raise UsageError(f"no rule {name!r}; there are {', '.join(RULES)}")
        for case in _cases(kind, dict(options or {}), given, population, demes, dict(search or {})):
            try:
                RULES[name](case)
            except (BrokenRule, RunFailed) as why:
                meaning = inspect.cleandoc(RULES[name].__doc__ or "").partition("\n\n")[0]
                raise BrokenRule(f"{why}\n  {case}\n  rule {name}: {meaning}") from None


def _cases(
    kind: type[Strategy],
    options: Mapping[str, Any],
    space: Mapping[str, Any],
    population: int | None,
    demes: Mapping[str, Any] | None,
    search: Mapping[str, Any],
) -> Iterator[Case]:
    known = [pace for pace in get_args(Pace) if demes is None or pace != "steady"]
    paces = [pace for pace in kind.paces if pace in known] or ["generations"]
    for pace in paces:
        alone = not kind.inherits and list(kind.paces) == ["steady"]
        size = 1 if alone else population or max(kind.smallest_population, MEMBERS)
        for mode in get_args(Mode):
            for seed in (0, 1):
                yield Case(kind, options, space, pace, size, mode, seed, demes, search)


def _compare(one: History, other: History, when: str) -> None:
    """The same members, with the same births and foms but for their signs, in whatever order."""
    ours, theirs = ({life.id: life for life in history.births} for history in (one, other))
    for member, life in ours.items():
        twin = theirs.get(member)
        if twin is None or repr(life.birth) != repr(twin.birth):
            got = "was not born" if twin is None else f"is {text_of(twin.birth)}"
            raise BrokenRule(f"{member} is {text_of(life.birth)}, and {when} {got}")
        if len(life.legs) != len(twin.legs):
            raise BrokenRule(
                f"judge let {member} live for {len(life.legs) + 1} legs, {when} {len(twin.legs) + 1}"
            )


def _global_generators() -> str:
    with np.printoptions(threshold=1000):
        return repr((random.getstate(), np.random.get_state(legacy=False)))
