"""The contract of strategies: rules as functions that raise `BrokenRule`; evodevo's own strategies pass."""

import contextlib
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
from evodevo.run.place import place_of, place_of_method
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
"""Loci for checking a strategy if none are given: one of each kind."""
GENERATIONS = 4
MEMBERS = 5
ALONE = 25
"""Generations of a run with one member per generation."""
DRAW = "draw from self.stream(generation, slot, 'purpose'), and keep nothing between calls"


class BrokenRule(AssertionError):
    """Raised for a strategy that breaks a rule; names the rule, the call and the answer."""


@dataclass(frozen=True)
class Case:
    """One check of a strategy: its class, options and loci, one of its paces, a mode and a seed."""

    kind: type[Strategy]
    options: Mapping[str, Any]
    space: Mapping[str, Any]
    pace: Pace
    population: int
    mode: Mode = "min"
    seed: int = 0
    demes: Mapping[str, Any] | None = None
    search: Mapping[str, Any] = field(default_factory=dict)
    """Other keys of a config's `search`."""

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
        """Return the history of a simulated run. Raises `RunFailed` if the strategy is at fault."""
        config = self.config
        return play(config, how.pop("evaluate", invented), how.pop("strategy_of", config.strategy), **how)

    def asked(self) -> list[Asked]:
        """Return the calls of a run, with the answers, in order. Raises `RunFailed`."""
        recorder = Recorder(self.config.strategy())
        self.run(strategy_of=lambda: recorder)
        return recorder.asked

    def broken(self, method: str, what: str) -> BrokenRule:
        """Return the error for a rule that a method breaks, with the line on which the method begins."""
        return BrokenRule(f"{what}{place_of_method(getattr(self.kind, method))}")

    def __str__(self) -> str:
        told = f"{self.pace}, population {self.population}, mode {self.mode}, seed {self.seed}"
        return f"{self.kind.__name__}({dict(self.options)}) with {told}"


def options_are_checked(case: Case) -> None:
    """Unknown options are refused: subclass `CommonOptions`, or forbid extra fields."""
    try:
        case.kind.Options(**{**case.options, "no_such_option": 1})
    except ValidationError as why:
        if "no_such_option" in str(why):
            return
    raise BrokenRule("Options(no_such_option=1) was accepted, so a misspelt option would have no effect")


def paces_are_known(case: Case) -> None:
    """`paces` lists at least one of generations, pools and steady, each once."""
    paces = list(case.kind.paces)
    if not paces or len(set(paces)) < len(paces) or not set(paces) <= set(get_args(Pace)):
        raise BrokenRule(f"paces is {paces!r}; it should be some of {get_args(Pace)!r}, each once")


def nothing_else_is_touched(case: Case) -> None:
    """Python's and NumPy's global generators, and what a method was given, are left as they are."""
    before = _global_generators()
    recorder = Recorder(case.config.strategy())
    with contextlib.suppress(RunFailed):  # the rule `a_run_comes_to_its_end` reports it
        case.run(strategy_of=lambda: recorder)
    if _global_generators() != before:
        raise BrokenRule(
            "a global random generator was used; draw from self.stream(generation, slot, 'name')"
        )
    for one in recorder.asked:
        if one.touched:
            raise case.broken(one.method, f"{one} changed the members that it was given; make copies")
    given = as_foms([2.0, None, 1.0, 1.0])
    foms = given.copy()
    with contextlib.suppress(Exception):  # the rule `fitness_is_a_number_for_each` reports it
        case.config.strategy().fitness(foms)
    if not np.array_equal(foms, given, equal_nan=True):
        raise case.broken("fitness", "fitness(...) changed the foms that it was given; make a copy")


def a_run_comes_to_its_end(case: Case) -> None:
    """Whatever members achieve, births are legal and name parents that were given; judge returns a bool.

    The engine (`evodevo.run.guard`) refuses genomes that lack a locus or leave its bounds, unknown parents,
    and parameters of a member that failed.
    """
    config, history = case.config, case.run()
    wanted = config.search.population * config.search.generations
    if len(history.over) != wanted:
        raise BrokenRule(f"{len(history.over)} members were born instead of {wanted}")


def founders_have_no_parents(case: Case) -> None:
    """Founders name no parents, and their values are legal."""
    strategy = Guarded(case.config.strategy())
    for slot in range(case.population):
        strategy.founder(0, slot)  # raises if it is wrong


def answers_depend_on_arguments_alone(case: Case) -> None:
    """The same call gives the same answer, in any order and from any object.

    In the steady pace, objects that were told the same agree. Draw from `self.stream(...)`, keep nothing
    between calls, and depend on no clock, file or order of a set.
    """
    asked = case.asked()
    if case.by_generation:
        fresh = case.config.strategy()
        for one in [*reversed(asked), *asked]:
            if one.method != "tell" and not same_answer(again := one.ask(fresh), one.answer):
                raise case.broken(one.method, f"{one} returned {text_of(one.answer)}, asked in another order "
                                              f"{text_of(again)}; {DRAW}")  # fmt: skip
        return
    told = case.config.strategy()
    for one in asked:
        answers = [one.ask(told) for _ in range(1 if one.method == "tell" else 2)]
        if one.method != "tell" and not (same_answer(answers[0], answers[1])):
            told_twice = f"{text_of(answers[0])}, asked twice {text_of(answers[1])}"
            raise case.broken(one.method, f"{one} returned {told_twice}; {DRAW}")


def a_restart_changes_nothing(case: Case) -> None:
    """A run that is resumed with a new object before each birth has the same history.

    Only in the steady pace may a strategy keep anything, and it must follow from what `tell` was given.
    """
    _compare(case, case.run(), case.run(restarted=True), "after a restart")


def the_order_of_results_changes_nothing(case: Case) -> None:
    """In the paces generations and pools, the order in which members finish does not change the history."""
    if case.by_generation:
        shuffled = case.run(order=np.random.default_rng(1))
        _compare(case, case.run(), shuffled, "if members finish in another order")


def all_failures_are_alike(case: Case) -> None:
    """A fom of None, NaN or infinity means the same: the member failed."""
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
        raise case.broken("birth", f"{first} depends on how members failed: " +
                          "; ".join(f"foms {foms}: {birth}" for birth, foms in births.items()))  # fmt: skip


def the_mode_is_respected(case: Case) -> None:
    """Maximising foms gives the births of minimising their negatives: use `ranking`, `rank`, `self.mode`."""

    def negated(life: Life, leg: int, history: History) -> Outcome:
        fom = invented(life, leg, history).fom
        return outcome_of(None if fom is None else -fom)

    other: Mode = "max" if case.mode == "min" else "min"
    mirrored = replace(case, mode=other)
    _compare(
        case, case.run(), mirrored.run(evaluate=negated), f"with mode {other} and foms of the other sign"
    )


def fitness_is_a_number_for_each(case: Case) -> None:
    """`fitness` returns a finite number >= 0 for each fom: 0 for failures, most for the best."""
    foms = [2.0, None, 1.0, 1.0]
    fitness = [float(one) for one in case.config.strategy().fitness(as_foms(foms))]
    best = 2 if case.mode == "min" else 0
    sound = len(fitness) == 4 and all(is_usable(one) and one >= 0 for one in fitness) and not fitness[1]
    if not sound or max(fitness) != fitness[best]:
        raise case.broken("fitness", f"fitness({foms}) returned {fitness}")


RULES: Mapping[str, Callable[[Case], None]] = {
    rule.__name__: rule
    for rule in (
        options_are_checked,
        paces_are_known,
        nothing_else_is_touched,  # before the rules whose runs it would spoil
        a_run_comes_to_its_end,
        founders_have_no_parents,
        answers_depend_on_arguments_alone,
        a_restart_changes_nothing,
        the_order_of_results_changes_nothing,
        all_failures_are_alike,
        the_mode_is_respected,
        fitness_is_a_number_for_each,
    )
}
"""The rules by name; each one's docstring states it."""


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
    """Check that a strategy keeps the contract; takes less than a second.

    strategy: a class, or a name that a config accepts.
    options, population, demes: as in a config. With `demes` the steady pace is not tried, as it has none.
    space: as in `evodevo.minimise`; by default one locus of each kind.
    rules: names of `RULES`; all by default.
    search: other keys of a config's `search`, such as phases. The simulated runs have 4 generations.

    Each rule is tried in each of the strategy's paces, for both modes and two seeds. Raises `BrokenRule`, an
    `AssertionError` that names the rule, the call and the answer. In pytest its traceback shows the test, and
    the lines of the strategy that raised, if it did.
    """
    __tracebackhide__ = True  # pytest's
    kind = strategy_class(strategy)
    if inspect.isabstract(kind):
        raise UsageError(f"{kind.__name__} lacks {', '.join(sorted(kind.__abstractmethods__))}")
    given = MIXED if space is None else space.loci if isinstance(space, Space) else space
    for name in RULES if rules is None else rules:
        if name not in RULES:
            raise UsageError(f"no rule {name!r}; known: {', '.join(RULES)}")
        for case in _cases(kind, dict(options or {}), given, population, demes, dict(search or {})):
            try:
                RULES[name](case)
            except UsageError:
                raise
            except Exception as why:
                is_told = isinstance(why, BrokenRule | RunFailed)
                raised = why.__cause__ if is_told else why
                told = f"{why}" if is_told else f"raised {type(why).__name__}: {why}{place_of(why)}"
                meaning = inspect.cleandoc(RULES[name].__doc__ or "").partition("\n\n")[0]
                raise BrokenRule(f"{told}\n  {case}\n  rule {name}: {meaning}") from _without_frames(raised)


def _without_frames(raised: BaseException | None) -> BaseException | None:
    """Return what a strategy raised, without evodevo's frames above it."""
    frames = raised.__traceback__ if raised else None
    while frames and frames.tb_next and frames.tb_frame.f_globals.get("__name__", "").startswith("evodevo."):
        frames = frames.tb_next
    return raised.with_traceback(frames) if raised else None


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


def _compare(case: Case, one: History, other: History, when: str) -> None:
    """Raise `BrokenRule` unless two histories have the same births and legs; the order is not compared."""
    ours, theirs = ({life.id: life for life in history.births} for history in (one, other))
    for member, life in ours.items():
        twin = theirs.get(member)
        if twin is None or repr(life.birth) != repr(twin.birth):
            got = "was not born" if twin is None else f"is {text_of(twin.birth)}"
            raise case.broken("birth", f"{member} is {text_of(life.birth)}, and {when} {got}")
        if len(life.legs) != len(twin.legs):
            legs = f"judge let {member} live for {len(life.legs) + 1} legs, {when} {len(twin.legs) + 1}"
            raise case.broken("judge", legs)


def _global_generators() -> str:
    with np.printoptions(threshold=1000):
        return repr((random.getstate(), np.random.get_state(legacy=False)))
