"""Strategies that misbehave: the run fails, and its reason says what the strategy did."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from run.fakes import FakeCaller, config_of, finished

from evodevo.errors import UsageError
from evodevo.evolution.strategies import Birth, Member, Population
from evodevo.evolution.strategies.tri_parent import TriParent
from evodevo.run.setup import founders


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


class FarNeeds(Wrong):
    def needs(self, generation: int, slot: int) -> Sequence[int]:
        return [slot, 99]


class OthersNeeds(Wrong):
    def needs(self, generation: int, slot: int) -> Sequence[int]:
        return []


class NoJudge(Wrong):
    def judge(self, member: Member, leg: int) -> bool:
        raise ZeroDivisionError("no judge")


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
        (
            FarNeeds,
            "strategy FarNeeds: needs(1, 0) returned [0, 99]; it should be None, or slots",
        ),
        (
            OthersNeeds,
            "strategy OthersNeeds: needs(1, 0) returned []; it should be None, or slots",
        ),
        (NoJudge, "strategy NoJudge: judge(g000s000, 0) raised ZeroDivisionError: no judge"),
    ],
)
def test_a_strategy_that_misbehaves_fails_its_run_and_the_reason_says_what_it_did(
    kind: type[TriParent], reason: str, tmp_path: Path
) -> None:
    config = config_of(search__strategy=f"run.test_guard:{kind.__name__}", search__legs=2)
    history = finished(tmp_path / "run", config, FakeCaller())
    assert history.end == "failed"
    assert history.reason is not None
    assert history.reason.startswith(reason)


def test_a_strategy_without_founders_is_refused_before_anything_is_written() -> None:
    with pytest.raises(UsageError, match=r"search.strategy: strategy NoFounder: founder\(0, 0\) raised"):
        founders(config_of(search__strategy="run.test_guard:NoFounder"))
