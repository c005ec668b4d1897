"""search.demes in a config: what is taken, and what is answered in one message."""

from typing import Any

import pytest

from evodevo.config import parse, read_config
from evodevo.run.simulation import play, try_strategy
from evodevo.testing.simulated import outcome_of
from tests.configs import ABSENT, complaint, small

DEMES = {"search.demes": {"grid": [2, 3]}, "search.population": 24}
STEADY = "migration counts generations, and search.pace steady has none; take"


def demes(**changes: Any) -> dict[str, Any]:
    return {"search.demes": {"grid": [2, 3], **changes}}


BAD: list[tuple[dict[str, Any], str]] = [
    (demes(grid=[0, 3]), "search.demes.grid: [0, 3] should be [rows, columns] or [demes], whole numbers of"),
    (demes(grid=[1, 1]), "that make 2 to 1000 demes"),
    (demes(grid=[]), "search.demes.grid: [] should be"),
    (demes(grid=[2, 2, 2]), "search.demes.grid: [2, 2, 2] should be"),
    (demes(grid=[10**9, 10**9], options={0: {}}), "search.demes.grid: [1000000000, 1000000000] should be"),
    (demes(grid="2 x 3"), "search.demes.grid: '2 x 3' should be"),
    (demes(every=0), "search.demes.every: value should be greater than or equal to 1, not 0"),
    (demes(migrants=-1), "search.demes.migrants: value should be greater than or equal to 0, not -1"),
    (demes(neighbours=1), "search.demes.neighbours: unknown key; "),
    ({"search.demes": {"every": 2}}, "search.demes.grid: is missing"),
    ({"search.demes": [2, 3]}, "search.demes: should be a mapping of keys to values, not [2, 3]"),
    (
        {"search.population": 25},
        "search.population: 25 cannot be shared out evenly to 6 demes; give a multiple of 6",
    ),
    ({"search.population": 6}, "search.population: a deme of 1 is too small for tri_parent"),
    (
        {"search.population": 18},
        "search.demes.migrants: 1 from each of 3 neighbours leave nobody of a deme of 3; give fewer "
        "migrants, fewer demes, or a population of 24 or more",
    ),
    (demes(migrants=2), "search.demes.migrants: 2 from each of 3 neighbours leave nobody of a deme of 4"),
    (demes(options=[{}] * 7), "search.demes: options has 7 entries, and a grid of 2 x 3 has 6 demes"),
    (
        demes(options={6: {}, "x": {}}),
        "search.demes: options: there is no deme 6, x; a grid of 2 x 3 has 0 to 5",
    ),
    (demes(options={2: {"sigm": 1.0}}), "search.demes.options.2.sigm: unknown key; did you mean sigma?"),
    (demes(options={2: {"sigma": -1.0}}), "search.demes.options.2.sigma: value should be greater than or"),
    (demes(options={2: {"mutation": "self_adaptive"}}), "search.demes.options.2: mutation would change the"),
    (demes(select_every=0), "search.demes.select_every: 0 should be a number of generations, or a list"),
    (demes(select_every=[1, 2]), "search.demes: select_every has 2 entries, and a grid of 2 x 3 has 6 demes"),
    (
        {**demes(select_every=2), "search.inherit": "none"},
        "search.demes.select_every: members train from scratch, so",
    ),
    ({"search.pace": "steady"}, f"search.demes: {STEADY} generations or pools"),
    (
        {"search.strategy": "mutate_best", "search.options": {}, "search.population": 1},
        f"search.demes: {STEADY} another strategy",
    ),
    (
        {"search.strategy": "random_search", "search.options": {}, "search.inherit": "none"},
        "search.demes: members of random_search that train from scratch descend from nobody",
    ),
]


@pytest.mark.parametrize(("changes", "told"), BAD, ids=str)
def test_what_is_wrong_is_said_in_one_message(changes: dict[str, Any], told: str) -> None:
    message = complaint(lambda: parse(small({**DEMES, **changes})))
    assert told in message
    assert "\n" not in message


def test_a_config_with_demes_is_read_again_as_it_was_written() -> None:
    config = parse(small({**DEMES, **demes(options={3: {"sigma": 2.0}}, select_every=2)}))
    written = config.complete().to_json()
    assert written["search"]["demes"] == {
        "grid": [2, 3],
        "every": 5,
        "migrants": 1,
        "wrap": True,
        "select_every": 2,
        "options": [{}, {}, {}, {"sigma": 2.0}, {}, {}],
    }
    assert read_config(written).to_json() == written
    assert parse(written).to_json() == written


def test_a_config_without_demes_has_one_population() -> None:
    assert parse(small()).search.demes is None


def test_a_journal_of_a_version_without_demes_is_read() -> None:
    written = parse(small()).complete().to_json()
    del written["search"]["demes"]
    assert read_config(written).search.demes is None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"search.inherit": "none"},
        {"search.pace": "pools"},
        {"search.demes": {"grid": [4], "wrap": False}, "search.population": 5000},
        {"search.strategy": "natural_selection", "search.options": ABSENT},
        {"search.strategy": "scheduled", "search.options": {"epochs": 9}},
    ],
    ids=str,
)
def test_check_tries_demes_with_their_migrations(changes: dict[str, Any]) -> None:
    try_strategy(parse(small({**DEMES, "search.options": {"initial": "random"}, **changes})))


def test_from_scratch_equal_members_of_different_demes_are_trained_with_one_seed() -> None:
    changes = {**DEMES, "search.inherit": "none", "search.options": {"initial": "given"}}
    config = parse(small({**changes, "search.generations": 1}))
    history = play(config, lambda life, leg, history: outcome_of(1.0), config.strategy)
    assert len({life.training_seed for life in history.births}) == 1
    assert len({repr(life.birth.genome) for life in history.births}) == 1
