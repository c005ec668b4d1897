"""search.demes in a config: what is taken, and what is answered in one message."""

from typing import Any

import pytest

from evodevo.config import parse, read_config
from evodevo.run.simulation import play, try_strategy
from evodevo.testing.simulated import outcome_of
from tests.configs import ABSENT, complaint, small
from tests.golden import assert_golden

DEMES = {"search.demes": {"grid": [2, 3]}, "search.population": 24}


def demes(**changes: Any) -> dict[str, Any]:
    return {"search.demes": {"grid": [2, 3], **changes}}


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("grid-zero", demes(grid=[0, 3]), "search.demes.grid"),
    ("grid-of-one", demes(grid=[1, 1]), "search.demes.grid"),
    ("grid-empty", demes(grid=[]), "search.demes.grid"),
    ("grid-of-three", demes(grid=[2, 2, 2]), "search.demes.grid"),
    ("grid-too-large", demes(grid=[10**9, 10**9], options={0: {}}), "search.demes.grid"),
    ("grid-text", demes(grid="2 x 3"), "search.demes.grid"),
    ("every-zero", demes(every=0), "search.demes.every"),
    ("migrants-negative", demes(migrants=-1), "search.demes.migrants"),
    ("unknown-key", demes(neighbours=1), "search.demes.neighbours"),
    ("grid-missing", {"search.demes": {"every": 2}}, "search.demes.grid"),
    ("list", {"search.demes": [2, 3]}, "search.demes"),
    ("population-not-a-multiple", {"search.population": 25}, "search.population"),
    ("deme-too-small", {"search.population": 6}, "search.population"),
    ("migrants-of-a-small-deme", {"search.population": 18}, "search.demes.migrants"),
    ("migrants-too-many", demes(migrants=2), "search.demes.migrants"),
    ("options-too-many", demes(options=[{}] * 7), "search.demes"),
    ("options-of-no-deme", demes(options={6: {}, "x": {}}), "search.demes"),
    ("option-unknown", demes(options={2: {"sigm": 1.0}}), "search.demes.options.2.sigm"),
    ("option-negative", demes(options={2: {"sigma": -1.0}}), "search.demes.options.2.sigma"),
    ("option-of-another-genome", demes(options={2: {"mutation": "self_adaptive"}}), "search.demes.options.2"),
    ("select-every-zero", demes(select_every=0), "search.demes.select_every"),
    ("select-every-short", demes(select_every=[1, 2]), "search.demes"),
    (
        "select-every-from-scratch",
        {**demes(select_every=2), "search.inherit": "none"},
        "search.demes.select_every",
    ),
    ("pace-steady", {"search.pace": "steady"}, "search.demes"),
    (
        "pace-of-mutate-best",
        {"search.strategy": "mutate_best", "search.options": {}, "search.population": 1},
        "search.demes",
    ),
    (
        "nobody-descends",
        {"search.strategy": "random_search", "search.options": {}, "search.inherit": "none"},
        "search.demes",
    ),
]


@pytest.mark.parametrize(("name", "changes", "key"), BAD, ids=[name for name, *_ in BAD])
def test_what_is_wrong_is_said_in_one_message(name: str, changes: dict[str, Any], key: str) -> None:
    message = complaint(lambda: parse(small({**DEMES, **changes})))
    assert message.startswith(f"config: {key}")
    assert "\n" not in message
    assert_golden(f"config/demes/{name}", message)


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
    config = parse(small({**DEMES, "search.options": {"initial": "random"}, **changes}))
    tried = try_strategy(config)
    assert tried.completed() == 2
    demes = tried.config.search.demes
    assert demes is not None
    layout = demes.layout(tried.config.search.population)
    came = [
        (layout.deme_of(life.slot), layout.deme_of(tried.by_id[parent].slot))
        for life in tried.generations[1]
        for parent in (life.birth.parent_a, life.birth.parent_b, life.birth.parent_params)
        if parent
    ]
    assert any(here != there for here, there in came)
    assert all(here == there or there in layout.neighbours(here) for here, there in came)


def test_from_scratch_equal_members_of_different_demes_are_trained_with_one_seed() -> None:
    changes = {**DEMES, "search.inherit": "none", "search.options": {"initial": "given"}}
    config = parse(small({**changes, "search.generations": 1}))
    history = play(config, lambda life, leg, history: outcome_of(1.0), config.strategy)
    assert len({life.training_seed for life in history.births}) == 1
    assert len({repr(life.birth.genome) for life in history.births}) == 1
