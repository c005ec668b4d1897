"""Every strategy in the registry keeps the contract, and one that breaks a rule is told which, and how."""

import itertools
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from evodevo.errors import UsageError
from evodevo.evolution.population import Birth, Member, Population
from evodevo.evolution.strategies import STRATEGIES, MutateBest, RandomSearch, Strategy, TriParent
from evodevo.testing import RULES, BrokenRule, check_strategy
from evodevo.testing.contract import MIXED
from tests.golden import raises_golden

GIVEN = {name: locus.get("initial", locus.get("value")) for name, locus in MIXED.items()}
OPTIONS: dict[str, dict[str, Any]] = {
    "scheduled": {"epochs": 9},
    "replay": {"genomes": [GIVEN] * 9, "training_seeds": list(range(9))},
}
PHASES = {"locus": "layers", "lengths": [2, 5], "generations": 2}
LONGER = {**MIXED, "deep": {"type": "int", "low": 1, "high": 9, "initial": 3, "when": {"layers": [4, 5, 6]}}}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, OPTIONS.get(name, {})) for name in STRATEGIES),
    ("tri_parent", {"keep": "both", "crossover": "switch_following", "sigma": 0.0}),
    ("tri_parent", {"mutation": "self_adaptive"}),
    ("truncation_pbt", {"fraction": 0.5, "resample_probability": 1.0}),
    ("natural_selection", {"elites": 0.5, "mutation_rate": 1.0, "gene_mutation_rate": 1.0}),
    ("truncation_ga", {"keep": 1.0, "mutation_rate": 1.0, "gene_mutation_rate": 1.0}),
    ("mutate_best", {"parent": "weighted_mean"}),
    ("variable_length", {"parents": "uniform", "crossover": "one_point", "survivors": 1.0}),
]


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=lambda value: value if type(value) is str else "")
def test_every_strategy_keeps_the_contract(name: str, options: dict[str, Any]) -> None:
    alone = 1 if name == "replay" else None
    if STRATEGIES[name].grows:
        check_strategy(name, options, LONGER, search={"phases": PHASES})
    else:
        check_strategy(name, options, population=alone)


class LooseOptions(BaseModel):
    pass


class Loose(TriParent):
    Options = LooseOptions  # type: ignore[assignment]


class Paceless(TriParent):
    paces = ("generations", "hourly")  # type: ignore[assignment]


class Outside(TriParent):
    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        return Birth({**self.space.given(), "rate": 7.0})


class Adopted(TriParent):
    inherits = False

    def founder(self, generation: int, slot: int) -> Birth:
        return Birth(self.space.given(), parent_a="g000s000")


class Counting(TriParent):
    """Draws from a generator whose state persists between calls."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._draw = np.random.default_rng(0)

    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        return Birth(self.space.sample(self._draw))


class Restless(TriParent):
    """Gives each object a different number."""

    numbers = itertools.count()

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._number = next(self.numbers)

    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        return Birth(self.space.sample(np.random.default_rng(self._number)))


class CountingBeta(TriParent):
    """Gives each birth another second parameter parent than the one before."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._asked = 0

    def beta(self, generation: int, slot: int, parents: Population, own: int, birth: Birth) -> str:
        self._asked += 1
        return parents.members[parents.ranking[self._asked % parents.survivors]].id


class Hasty(TriParent):
    """Uses who has been told first."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._asked = 0

    def judge(self, member: Member, leg: int) -> bool:
        self._asked += 1
        return self._asked % 2 == 0


class Literal(TriParent):
    """Tells NaN from infinity."""

    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        infinite = any(one.fom == float("inf") for one in parents.members)
        return Birth({**self.space.given(), "layers": 2 if infinite else 1})


class Minimiser(TriParent):
    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        best = min((one for one in parents.members if one.fom is not None), key=lambda one: one.fom or 0.0)
        return Birth(best.birth.genome, parent_a=best.id, parent_params=best.id)


class Unfit(TriParent):
    def fitness(self, foms: Any) -> Sequence[float]:
        return [1.0] * len(foms)


class Global(TriParent):
    def needs(self, generation: int, slot: int) -> Sequence[int] | None:
        random.random()
        return super().needs(generation, slot)


class Vandal(TriParent):
    """Changes the genomes of the members that it is given."""

    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        spoil(parents.members[own])
        return super().birth(generation, slot, parents, own)


class VandalBeta(TriParent):
    def beta(self, generation: int, slot: int, parents: Population, own: int, birth: Birth) -> str:
        spoil(parents.members[own])
        return super().beta(generation, slot, parents, own, birth)


class VandalJudge(TriParent):
    def judge(self, member: Member, leg: int) -> bool:
        spoil(member)
        return True


class VandalListener(MutateBest):
    def tell(self, members: Sequence[Member]) -> None:
        for member in members:
            spoil(member)


class VandalFitness(TriParent):
    def fitness(self, foms: Any) -> Any:
        fitness = super().fitness(foms)
        foms[:] = 0.0
        return fitness


def spoil(member: Member) -> None:
    member.birth.genome["layers"] = 1 + member.birth.genome["layers"] % 6  # type: ignore[index]


FRAME = re.compile(r"^(?!E )(\S.*\.py):\d+", re.MULTILINE)
"""The file of a frame, as pytest shows it: relative to the working directory, or absolute."""
VANDALS: list[tuple[type[Strategy], str]] = [
    (Vandal, r"^birth\(1, 0, .* changed the members that it was given.* \(in birth, "),
    (VandalJudge, r"^judge\(g000s000 .* changed the members that it was given.* \(in judge, "),
    (VandalListener, r"^tell\(g000s000 .* changed the members that it was given.* \(in tell, "),
    (VandalFitness, r"^fitness\(...\) changed the foms that it was given.* \(in fitness, "),
]


def files_in(shown: str) -> set[Path]:
    return {Path(file).resolve() for file in FRAME.findall(shown)}


class Dividing(RandomSearch):
    def fitness(self, foms: Any) -> Any:
        return [1 / 0 for _ in foms]


class Raising(TriParent):
    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        raise LookupError(self.mode)


BROKEN: list[tuple[type[TriParent], str, str]] = [
    (Loose, "options_are_checked", "a misspelt option would have no effect"),
    (Paceless, "paces_are_known", "'hourly'"),
    (Outside, "a_run_comes_to_its_end", r"birth\(1, 0, ...\) returned a genome with rate = 7.0"),
    (Adopted, "founders_have_no_parents", r"founder\(0, 0\) names g000s000, not among the parents"),
    (Counting, "answers_depend_on_arguments_alone", r"birth\(3, 4, parents: .*returned .*in another order"),
    (Restless, "a_restart_changes_nothing", r"g001s000 is .*and after a restart is"),
    (Hasty, "the_order_of_results_changes_nothing", "if members finish in another order"),
    (Literal, "all_failures_are_alike", "depends on how members failed: foms .None, nan, -inf.: "),
    (Minimiser, "the_mode_is_respected", "with mode max and foms of the other sign is"),
    (Unfit, "fitness_is_a_number_for_each", r"fitness\(\[2.0, None, 1.0, 1.0\]\) returned \[1.0"),
    (Global, "nothing_else_is_touched", "a global random generator was used"),
]


@pytest.mark.parametrize(("kind", "rule", "told"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_a_strategy_that_breaks_a_rule_is_told_the_rule_the_arguments_and_the_answer(
    kind: type[TriParent], rule: str, told: str
) -> None:
    with pytest.raises(BrokenRule, match=f"(?s)^(?=.*{told})(?=.*{kind.__name__}).*rule {rule}: "):
        check_strategy(kind, rules=[rule])
    with pytest.raises(BrokenRule):
        check_strategy(kind)


def test_the_second_parameter_parent_of_an_ensemble_depends_on_arguments_alone() -> None:
    search = {"ploidy": 2}
    told = r"^beta\(\d, \d, parents: .* returned '\w+', asked in another order '\w+'; "
    with pytest.raises(BrokenRule, match=told):
        check_strategy(CountingBeta, rules=["answers_depend_on_arguments_alone"], search=search)
    check_strategy(TriParent, rules=["answers_depend_on_arguments_alone"], search=search)
    with pytest.raises(BrokenRule, match=r"^beta\(1, 0, .* changed the members that it was given"):
        check_strategy(VandalBeta, rules=["nothing_else_is_touched"], search=search)


def test_each_rule_has_a_strategy_here_that_breaks_it() -> None:
    assert {rule for _, rule, _ in BROKEN} == set(RULES)


@pytest.mark.parametrize(("kind", "told"), VANDALS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_method_that_changes_what_it_was_given_is_the_one_that_is_blamed(
    kind: type[Strategy], told: str
) -> None:
    for rules in (["nothing_else_is_touched"], None):
        with pytest.raises(BrokenRule, match=f"{told}{re.escape(__file__)}:") as found:
            check_strategy(kind, rules=rules)
        assert "rule nothing_else_is_touched: " in str(found.value)


def test_a_broken_rule_shows_the_test_and_the_strategy_and_no_frame_of_the_check() -> None:
    with pytest.raises(BrokenRule) as found:
        check_strategy(Raising)
    assert [entry.path for entry in found.traceback.filter(found)] == [Path(__file__)]
    shown = str(found.getrepr(style="long"))
    assert "raise LookupError(self.mode)" in shown and "\nE       LookupError: min" in shown
    assert files_in(shown) == {Path(__file__).resolve()}
    with pytest.raises(BrokenRule, match=rf"\(in birth, {re.escape(__file__)}:\d+\)\n"):
        check_strategy(Counting)
    with pytest.raises(
        BrokenRule, match=r"(?s)^raised ZeroDivisionError: .*test_contract.py:\d+\).*rule fitness_is_a"
    ) as found:
        check_strategy(Dividing)
    shown = str(found.getrepr(style="long"))
    assert "return [1 / 0 for _ in foms]" in shown and files_in(shown) == {Path(__file__).resolve()}


def test_what_cannot_be_checked_is_refused() -> None:
    with raises_golden("contract/unknown-rule", UsageError):
        check_strategy("tri_parent", rules=["legality"])
    with raises_golden("contract/not-a-strategy", UsageError):
        check_strategy(dict)  # type: ignore[arg-type]
    with raises_golden("contract/nearest-strategy", UsageError):
        check_strategy("tri_parnet")
    with raises_golden("contract/nearest-class", UsageError):
        check_strategy("evodevo.evolution.strategies:TriParnt")
