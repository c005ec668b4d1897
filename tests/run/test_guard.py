"""Strategies that misbehave: the run fails, and its reason says what the strategy did."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from evodevo.errors import RunFailed, UsageError
from evodevo.evolution.strategies import Birth, Member, Population
from evodevo.evolution.strategies.tri_parent import TriParent
from evodevo.run.guard import Guarded
from evodevo.run.setup import founders
from tests.run.fakes import FakeCaller, config_of, finished


class Wrong(TriParent):
    """Misbehaves from the second generation on."""


class Exits(Wrong):
    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        raise SystemExit(3)


class Strangers(Wrong):
    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        return Birth(self.space.given(), parent_params="g099s099")


class Nothing(Wrong):
    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Any:
        return None


class Changed(Wrong):
    """Each child is the given genome with some values changed; None stands for a locus that is left out."""

    changes: ClassVar[dict[str, Any]] = {}

    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        genome = {**self.space.given(), **self.changes}
        return Birth({name: value for name, value in genome.items() if value is not None})


class Lacking(Changed):
    changes: ClassVar[dict[str, Any]] = {"rate": None}


class Unknown(Changed):
    changes: ClassVar[dict[str, Any]] = {"w": 1.0}


class Beyond(Changed):
    changes: ClassVar[dict[str, Any]] = {"rate": 1e9}


class NotANumber(Changed):
    changes: ClassVar[dict[str, Any]] = {"rate": math.nan}


class OfNumpy(Changed):
    changes: ClassVar[dict[str, Any]] = {"rate": np.float32(0.5)}


class Whole(Changed):
    changes: ClassVar[dict[str, Any]] = {"rate": 1}


class NoGenome(Wrong):
    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        return Birth([1.0])  # type: ignore[arg-type]


class Unhashable(Wrong):
    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        return Birth(self.space.given(), parent_a=["g000s000"])  # type: ignore[arg-type]


class OfTheFailed(Wrong):
    def birth(self, generation: int, slot: int, parents: Population, own: int) -> Birth:
        failed = min(parents.failed)
        return Birth(self.space.given(), parent_params=failed)


class Unsure(Wrong):
    def judge(self, member: Member, leg: int) -> Any:
        return None


class FarNeeds(Wrong):
    def needs(self, generation: int, slot: int) -> Sequence[int]:
        return [slot, 99]


class OthersNeeds(Wrong):
    def needs(self, generation: int, slot: int) -> Sequence[int]:
        return []


class NoJudge(Wrong):
    def judge(self, member: Member, leg: int) -> bool:
        raise ZeroDivisionError("no judge")


class Narrow(Wrong):
    def birth(self, generation: int, slot: int) -> Birth:  # type: ignore[override]
        return Birth(self.space.given())


class NoFounder(Wrong):
    def founder(self, generation: int, slot: int) -> Birth:
        raise ZeroDivisionError("no founder")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Exits, "strategy Exits: birth(1, 0, ...) raised SystemExit: 3"),
        (
            Strangers,
            "strategy Strangers: birth(1, 0, ...) names g099s099, not among the parents",
        ),
        (Nothing, "strategy Nothing: birth(1, 0, ...) returned None, which is not a Birth"),
        (Lacking, "strategy Lacking: birth(1, 0, ...) returned a genome without rate; the loci are "),
        (Unknown, "strategy Unknown: birth(1, 0, ...) returned a genome with w, which is not a locus; the"),
        (
            Beyond,
            "strategy Beyond: birth(1, 0, ...) returned a genome with rate = 1000000000.0, which should be a "
            "float from ",
        ),
        (NotANumber, "strategy NotANumber: birth(1, 0, ...) returned a genome with rate = nan, which should"),
        (OfNumpy, "strategy OfNumpy: birth(1, 0, ...) returned a genome with rate = np.float32(0.5), which "),
        (Whole, "strategy Whole: birth(1, 0, ...) returned a genome with rate = 1, which should be a float "),
        (NoGenome, "strategy NoGenome: birth(1, 0, ...) returned a genome [1.0], which is not a mapping"),
        (Unhashable, "strategy Unhashable: birth(1, 0, ...) names ['g000s000'], not among the parents"),
        (Unsure, "strategy Unsure: judge(g000s000, 0) returned None; it should be True or False"),
        (
            FarNeeds,
            "strategy FarNeeds: needs(1, 0) returned [0, 99]; it should be None, or slots",
        ),
        (
            OthersNeeds,
            "strategy OthersNeeds: needs(1, 0) returned []; it should be None, or slots",
        ),
        (Narrow, "strategy Narrow: birth(1, 0, ...) raised TypeError: Narrow.birth() takes 3 positional"),
        (NoJudge, "strategy NoJudge: judge(g000s000, 0) raised ZeroDivisionError: no judge"),
    ],
)
def test_a_strategy_that_misbehaves_fails_its_run_and_the_reason_says_what_it_did(
    kind: type[TriParent], reason: str, tmp_path: Path
) -> None:
    config = config_of(search__strategy=f"tests.run.test_guard:{kind.__name__}", search__legs=2)
    history = finished(tmp_path / "run", config, FakeCaller())
    assert history.end == "failed"
    assert history.reason is not None
    assert history.reason.startswith(reason)
    method = reason.partition(": ")[2].partition("(")[0]
    assert re.search(rf"\(in {method}, {re.escape(__file__)}:\d+\)$", history.reason)


def test_a_strategy_without_founders_is_refused_before_anything_is_written() -> None:
    with pytest.raises(UsageError, match=r"search.strategy: strategy NoFounder: founder\(0, 0\) raised"):
        founders(config_of(search__strategy="tests.run.test_guard:NoFounder"))


def test_parameters_of_a_member_that_failed_are_refused() -> None:
    strategy = Guarded(config_of(search__strategy="tests.run.test_guard:OfTheFailed").strategy())
    foms = [1.0, None, 2.0]
    members = [Member(f"m{at}", 0, at, strategy.founder(0, at), fom) for at, fom in enumerate(foms)]
    told = r"birth\(1, 0, ...\) takes the parameters of m1, which failed and has none"
    with pytest.raises(RunFailed, match=told):
        strategy.birth(1, 0, strategy.evaluated(members), 0)


def test_what_a_strategy_raises_is_told_with_the_line_of_its_file() -> None:
    with pytest.raises(RunFailed, match=r"raised ZeroDivisionError: no founder \(.*test_guard.py:\d+\)$"):
        Guarded(config_of(search__strategy="tests.run.test_guard:NoFounder").strategy()).founder(0, 0)


@pytest.mark.parametrize(("inherit", "expected"), [("parameters", 2), ("none", 1)])
def test_a_workload_is_tried_with_two_founders_if_one_could_inherit_from_the_other(
    inherit: str, expected: int
) -> None:
    assert len(founders(config_of(search__inherit=inherit, search__generations=1))) == expected
