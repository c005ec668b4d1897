"""Runs in demes: dependencies between members, and the same history after any loss or kill."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evodevo.evolution.demes import Layout
from evodevo.report.schedule import Schedule
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.events import member_id
from evodevo.run.pacing import DRIFT
from evodevo.run.retention import needed_checkpoints
from evodevo.service.replay import replay_config
from tests.run.fakes import FakeCaller, config_of, finished, history_of, story
from tests.run.test_controller_pools import troubled, workers
from tests.run.test_controller_resumed import ACCIDENTS, resumed_everywhere
from tests.run.test_pacing import Play, config, pick, told

RING = {"search__demes": {"grid": [3], "every": 2}, "search__population": 12}
KINDS: list[dict[str, Any]] = [
    RING,
    {**RING, "search__strategy": "truncation_pbt"},
    {**RING, "search__strategy": "random_search"},
    {**RING, "search__pace": "pools", "search__pool": 2},
    {**RING, "search__pace": "pools", "search__pool": 3, "search__strategy": "truncation_pbt"},
    {**RING, "search__demes": {"grid": [2, 2], "wrap": False, "every": 3, "select_every": [1, 2, 3, 1]}},
    {**RING, "search__demes": {"grid": [3], "every": 2, "options": {1: {"sigma": 1.0}}}},
]
SCRATCH = {**RING, "search__inherit": "none"}
MEANS = {**RING, "search__recombine": {"last": 0.5}}


def layout_of(play: Play) -> Layout:
    search = play.config.search
    assert search.demes
    return search.demes.layout(search.population)


@pytest.mark.parametrize("changes", KINDS, ids=str)
@settings(deadline=None, derandomize=True, max_examples=8)
@given(seed=st.integers(0, 10**6))
def test_births_are_the_same_whatever_the_order_in_which_lives_are_over(
    changes: dict[str, Any], seed: int
) -> None:
    expected = told(Play(config(**changes)).goes_on())
    assert len(expected) == 72
    assert told(Play(config(**changes)).goes_on(pick(seed))) == expected


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_a_pacing_that_is_made_again_from_a_history_gives_the_same_births_from_there_on(
    changes: dict[str, Any],
) -> None:
    whole = Play(config(**changes)).goes_on(pick(0))
    for records in range(1, len(whole.events) + 1, 7):
        assert told(whole.again(records).goes_on(pick(records))) == told(whole)


def test_a_deme_waits_for_its_own_members_and_at_a_migration_for_its_neighbours() -> None:
    play = Play(config(generations=7, search__demes={"grid": [4], "every": 2}, search__population=12))
    play.births()
    for slot in (0, 1):
        play.over(member_id(0, slot))
        assert play.births() == []
    play.over(member_id(0, 2))
    assert play.births() == [member_id(1, slot) for slot in (0, 1, 2)]
    for slot in (0, 1, 2):
        play.over(member_id(1, slot))
    assert play.births() == []
    for deme in (1, 3):
        for generation in (0, 1):
            for slot in range(3 * deme, 3 * deme + 3):
                assert play.births() == []
                play.over(member_id(generation, slot))
            born = play.births()
            if generation == 0:
                assert born == [member_id(1, slot) for slot in range(3 * deme, 3 * deme + 3)]
    assert born == [member_id(2, slot) for slot in (0, 1, 2)], (
        "deme 2, which is not a neighbour, has not begun"
    )


def test_no_deme_is_further_ahead_than_the_checkpoints_that_are_kept() -> None:
    """The budget assumes at most this many generations with members that may still be needed."""
    for changes in KINDS:
        play = Play(config(generations=9, **changes))
        kept = play.pacing.generations_kept
        assert kept == DRIFT + 2
        choose = pick(4)
        play.births()
        while play.pending:
            parents = {life.birth.parent_params for life in play.pending}
            heirs = {life.id for life in play.history.over if play.pacing.may_inherit(life)}
            recent = {life.id for life in play.history.births[-12 * (DRIFT + 2) :]}
            assert len((parents | heirs) & recent) <= kept * 12
            play.over(choose(play.pending).id)
            play.births()


def test_migrants_and_only_they_cross_from_deme_to_deme() -> None:
    play = Play(config(generations=9, **RING)).goes_on(pick(2))
    layout, crossed = layout_of(play), set()
    for life in play.history.births:
        for parent in (life.birth.parent_a, life.birth.parent_b, life.birth.parent_params):
            if parent and layout.deme_of(play.lives[parent].slot) != layout.deme_of(life.slot):
                crossed.add(life.generation)
    assert crossed == {2, 4, 6, 8}


def test_a_deme_in_which_all_failed_has_founders_and_at_a_migration_children_of_migrants() -> None:
    def fom(life: Any) -> float | None:
        return None if life.slot < 4 and life.generation in (0, 1) else 1.0

    play = Play(config(generations=4, **RING), fom=fom).goes_on()
    first, second, third = (play.history.generations[at][:4] for at in (1, 2, 3))
    assert {life.birth.parent_params for life in first} == {None}
    assert {layout_of(play).deme_of(play.lives[life.birth.parent_params or ""].slot) for life in second} <= {
        1,
        2,
    }
    assert {layout_of(play).deme_of(play.lives[life.birth.parent_params or ""].slot) for life in third} == {0}


@pytest.mark.parametrize("changes", [*KINDS[:4], KINDS[5], MEANS, SCRATCH], ids=str)
def test_a_history_is_the_same_for_any_number_of_workers_and_losses(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    wanted = config_of(**changes)
    expected = story(finished(tmp_path / "one by one", wanted, FakeCaller(workers=workers(1))))
    assert len(expected) == 48
    for count in (2, 7):
        run = tmp_path / str(count)
        history = finished(run, wanted, troubled(count, count))
        assert (history.end, story(history)) == ("done", expected)
        assert history.lost_attempts
        if history.inherits:
            assert set(CheckpointStore(str(run / "params")).names()) == needed_checkpoints(history)


@pytest.mark.parametrize("changes", [RING, KINDS[3], MEANS], ids=str)
def test_a_run_killed_at_any_record_has_the_history_of_one_that_was_never_killed(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    def caller() -> FakeCaller:
        return FakeCaller(lambda a: ACCIDENTS.get((a.member, a.attempt), "done"))

    wanted = config_of(**{**changes, "search__generations": 3, "search__population": 9})
    whole = finished(tmp_path / "never killed", wanted, caller())
    expected = story(whole)
    kills = 0
    for kills, (run, then, answering) in enumerate(resumed_everywhere(tmp_path, wanted, caller), 1):  # noqa: B007
        history = history_of(run)
        assert (history.end, story(history)) == ("done", expected)
        over = {life.id for life in then.by_id.values() if life.outcome}
        assert {assignment.member for assignment in answering.assignments} == set(history.by_id) - over
    assert kills > 2 * 30


def test_a_replay_is_of_one_member_and_has_no_demes(tmp_path: Path) -> None:
    history = finished(tmp_path / "run", config_of(**RING), FakeCaller())
    assert history.best
    replayed = replay_config(history.config, Schedule.of(history, history.best), "again")
    assert (replayed.search.demes, replayed.search.population) == (None, 1)
    again = finished(tmp_path / "again", replayed, FakeCaller())
    assert again.best
    assert again.best.fom == history.best.fom


def test_a_failed_birth_names_the_strategy_that_is_in_demes() -> None:
    strategy = config_of(**RING).strategy()
    assert strategy.label == "TriParent (in demes)"
