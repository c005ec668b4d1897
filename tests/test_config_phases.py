"""A config of searches that follow each other: what each phase is, and what makes no sense."""

from typing import Any

import pytest

from evodevo.config import parse
from evodevo.config_phases import later_phases, next_of, run_names, set_of
from tests.configs import complaint, small
from tests.golden import assert_golden

WIDTH = {"type": "int", "low": 1, "high": 64, "initial": 8}
RATE = {"type": "float", "low": 0.001, "high": 1.0, "scale": "log", "initial": 0.1}
FIRST: dict[str, Any] = {
    "name": "one",
    "search": {"inherit": "none", "generations": 3, "loci": {"width": WIDTH}},
}
SECOND: dict[str, Any] = {"name": "two", "search": {"generations": 5, "recombine": None}}


def data(*phases: Any, **changes: Any) -> dict[str, Any]:
    return small(
        {
            "run.name": "both",
            "search.loci": {"rate": RATE},
            "search.options": {},
            "phases": list(phases or (FIRST, SECOND)),
            **{key.replace("__", "."): value for key, value in changes.items()},
        }
    )


def test_each_phase_is_a_run_that_knows_all_of_them() -> None:
    first = parse(data())
    second = parse(next_of(first) or {})
    assert (first.run.name, second.run.name) == ("both-one", "both-two")
    assert run_names(first) == run_names(second) == ["both-one", "both-two"]
    assert set_of(first) == set_of(second) == "both"
    assert next_of(second) is None
    assert first.phases == second.phases
    assert (first.inherits, second.inherits) == (False, True)
    assert (first.search.generations, second.search.generations) == (3, 5)


def test_a_phase_fixes_the_loci_of_those_before_that_it_does_not_name() -> None:
    first = parse(data())
    (second,) = later_phases(first, parse)
    assert {name: locus.type for name, locus in first.search.loci.items()} == {
        "rate": "float",
        "width": "int",
    }
    assert (second.search.loci["width"].type, second.search.loci["width"].initial) == ("fixed", 8)
    again = {"name": "two", "search": {"recombine": None, "loci": {"width": {"high": 16}}}}
    (searched,) = later_phases(parse(data(FIRST, again)), parse)
    assert searched.search.loci["width"].type == "int"
    assert searched.search.loci["width"].high == 16
    assert searched.search.loci["rate"].type == "float", "every phase searches the common loci"


def test_a_network_that_was_grown_is_what_the_next_phase_begins_with() -> None:
    grown = {
        "strategy": "variable_length",
        **{"generations": None, "population": 4, "phases": {"lengths": [1, 2], "generations": 2}},
    }
    blocks = {"most": 2, "loci": {"width": {"type": "choice", "choices": [4, 8], "initial": 4}}}
    given = data({"name": "grow", "search": grown}, SECOND, search__blocks=blocks)
    given["search"]["loci"] = {"rate": RATE, "blocks_used": {"type": "bool", "initial": True}}
    first = parse(given)
    (second,) = later_phases(first, parse)
    assert (first.search.generations, second.search.phases) == (4, None)
    kinds = {name: locus.type for name, locus in second.search.loci.items()}
    assert kinds["rate"] == "float"
    assert {kinds[name] for name in ("block1.width", "blocks")} == {"fixed"}


def test_there_can_be_any_number_of_phases() -> None:
    third = {"name": "three", "search": {"recombine": None, "loci": {"momentum": {**RATE, "initial": 0.5}}}}
    second, last = later_phases(parse(data(FIRST, SECOND, third)), parse)
    assert [one.run.name for one in (second, last)] == ["both-two", "both-three"]
    assert {name: locus.type for name, locus in last.search.loci.items()} == {
        "rate": "float",
        "width": "fixed",
        "momentum": "float",
    }


@pytest.mark.parametrize(
    ("name", "phases", "key"),
    [
        ("name-missing", [{"search": {}}], "phases.0.name"),
        ("name-twice", [FIRST, {**SECOND, "name": "one"}], "phases.1.name"),
        ("name-number", [{**FIRST, "name": 3}], "phases.0.name"),
        ("run-section", [{**FIRST, "run": {"seed": 1}}], "phases.one.run"),
        ("unknown-section", [{**FIRST, "serch": {}}], "phases.one.serch"),
        ("search-number", [{**FIRST, "search": 3}], "phases.one.search"),
        ("text", ["one"], "phases"),
        (
            "locus-without-type",
            [FIRST, {"name": "two", "search": {"loci": {"widht": {"high": 9}}}}],
            "phases.two.search.loci.widht",
        ),
        ("start", [FIRST, {"name": "two", "search": {"start": {"run": "other"}}}], "phases.two.search.start"),
        (
            "unknown-key",
            [FIRST, {"name": "two", "search": {"populatoin": 3}}],
            "phase two: search.populatoin",
        ),
        (
            "stop-early",
            [FIRST, {"name": "two", "search": {"stop_early": "median"}}],
            "phase two: search.stop_early",
        ),
        ("name-with-slash", [{**FIRST, "name": "a/b"}], "run.name"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_message(name: str, phases: list[Any], key: str) -> None:
    said = complaint(lambda: parse(data(*phases)))
    assert said.startswith("config")
    assert f"{key}: " in said
    assert_golden(f"config/phases/{name}", said)


def test_phases_and_arms_do_not_go_together() -> None:
    arms = {"mine": {"strategy": "random_search"}}
    assert_golden("config/phases-and-compare", complaint(lambda: parse(data(compare__arms=arms))))
