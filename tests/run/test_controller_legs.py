"""Lives of several legs: each starts from the checkpoint of the one before; a strategy may end a life."""

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from evodevo.config import RunConfig
from evodevo.evolution.rng import leg_seed
from evodevo.evolution.strategies import Member, TriParent
from evodevo.report.schedule import Schedule
from evodevo.run.checkpoints import CheckpointStore
from evodevo.run.history import History
from evodevo.run.records import Assignment
from evodevo.run.retention import needed_checkpoints
from evodevo.service.replay import replay_config
from tests.run.fakes import FakeCaller, Fate, carry_out, config_of, finished, history_of, new_run, story
from tests.run.test_controller_resumed import resumed_everywhere

LEGS = 3
GOOD = 2.3
"""A member that is worse after its first leg has no second one."""


class Pruned(TriParent):
    def judge(self, member: Member, leg: int) -> bool:
        assert member.fom is not None
        return leg > 0 or member.fom < GOOD


PRUNED = "tests.run.test_controller_legs:Pruned"


def config(**changes: Any) -> RunConfig:
    return config_of(**{"search__legs": LEGS, "search__generations": 3, **changes})


def legs_of(caller: FakeCaller) -> dict[str, list[Assignment]]:
    """The assignments of each member, in their order."""
    found: dict[str, list[Assignment]] = defaultdict(list)
    for assignment in caller.assignments:
        found[assignment.member].append(assignment)
    return found


def full_story(history: History) -> list[Any]:
    foms = [[outcome.fom for outcome in life.outcomes()] for life in history.lives()]
    return [story(history), foms]


def at_times(*troubles: tuple[str, int], fate: Fate = "lost") -> FakeCaller:
    """These attempts, by member and number, come to no result."""
    return FakeCaller(lambda a: fate if (a.member, a.attempt) in troubles else "done")


def test_each_life_has_its_legs_and_each_leg_continues_from_the_one_before(tmp_path: Path) -> None:
    caller = FakeCaller(shuffle=random.Random(1))
    history = finished(tmp_path / "run", config(), caller)
    assert (history.end, history.completed()) == ("done", 3)
    for member, assignments in legs_of(caller).items():
        life = history.by_id[member]
        assert [(a.leg, a.attempt) for a in assignments] == [(0, 1), (1, 2), (2, 3)]
        outcomes = list(life.outcomes())
        starts = [history.parent_checkpoint(life), *(outcome.checkpoint for outcome in outcomes)]
        assert [a.parent for a in assignments] == starts[:-1]
        assert len({ref.name for ref in starts[1:] if ref}) == LEGS
        assert [a.epoch - life.epoch for a in assignments] == [0, 1, 2]
        assert [a.training_seed for a in assignments] == [
            leg_seed(life.training_seed, at) for at in range(LEGS)
        ]
        assert len({a.training_seed for a in assignments}) == LEGS
        assert len({tuple(a.hyperparameters.items()) for a in assignments}) == 1
        assert life.fom == outcomes[-1].fom
    assert [life.epoch for life in history.lives()] == [0] * 4 + [3] * 4 + [6] * 4


def test_children_are_born_of_lives_that_are_over_and_have_the_parameters_of_their_last_leg(
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"

    def watch(assignment: Assignment) -> None:
        history = history_of(run)
        life = history.by_id[assignment.member]
        assert history.completed() == life.generation
        if life.birth.parent_params and not life.legs:
            parent = history.by_id[life.birth.parent_params]
            assert len(parent.legs) == LEGS - 1
            assert parent.outcome
            assert assignment.parent == parent.outcome.checkpoint

    finished(run, config(), FakeCaller(watch=watch))


def test_a_lost_attempt_repeats_one_leg_and_no_other(tmp_path: Path) -> None:
    expected = full_story(finished(tmp_path / "undisturbed", config()))
    caller = at_times(("g001s002", 2), ("g001s002", 3), ("g000s000", 3), fate="lost_late")
    history = finished(tmp_path / "run", config(), caller)
    legs = legs_of(caller)
    assert [(a.leg, a.attempt) for a in legs["g001s002"]] == [(0, 1), (1, 2), (1, 3), (1, 4), (2, 5)]
    assert [(a.leg, a.attempt) for a in legs["g000s000"]] == [(0, 1), (1, 2), (2, 3), (2, 4)]
    repeated = legs["g001s002"][1:4]
    assert len({(a.parent, a.epoch, a.training_seed) for a in repeated}) == 1
    assert (history.lost_attempts, full_story(history)) == (3, expected)


def test_attempts_are_counted_for_each_leg_by_itself(tmp_path: Path) -> None:
    once_each = at_times(("g000s001", 1), ("g000s001", 3), ("g000s001", 5))
    limits = config(limits__max_attempts=2)
    history = finished(tmp_path / "once", limits, once_each)
    assert (history.by_id["g000s001"].status, history.by_id["g000s001"].attempts) == ("done", 6)
    history = finished(tmp_path / "twice", limits, at_times(("g000s001", 2), ("g000s001", 3)))
    assert (history.by_id["g000s001"].status, len(history.by_id["g000s001"].legs)) == ("failed", 1)


@pytest.mark.parametrize("fate", ["diverged", "failed"])
def test_a_life_ends_with_a_leg_that_diverged_or_failed(fate: Fate, tmp_path: Path) -> None:
    caller = at_times(("g000s001", 2), ("g000s001", 3), fate=fate)
    history = finished(tmp_path / "run", config(), caller)
    life = history.by_id["g000s001"]
    assert (history.end, life.status, life.fom, len(life.legs)) == ("done", fate, None, 1)
    assert len(legs_of(caller)["g000s001"]) == (3 if fate == "failed" else 2)
    assert "g000s001" not in {one.birth.parent_params for one in history.lives()}


def test_a_strategy_may_end_lives_early_and_their_fom_is_that_of_their_last_leg(tmp_path: Path) -> None:
    caller = FakeCaller(shuffle=random.Random(3))
    history = finished(tmp_path / "run", config(search__strategy=PRUNED), caller)
    assert (history.end, history.completed()) == ("done", 3)
    lengths = set()
    for life in history.lives():
        outcomes = list(life.outcomes())
        assert outcomes[0].fom is not None
        assert len(outcomes) == (LEGS if outcomes[0].fom < GOOD else 1)
        assert (life.status, life.fom) == ("done", outcomes[-1].fom)
        assert len(legs_of(caller)[life.id]) == len(outcomes)
        assert history.epochs_trained(life) == life.epoch + len(outcomes)
        lengths.add(len(outcomes))
    assert lengths == {1, LEGS}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"search__strategy": PRUNED},
        {"search__strategy": PRUNED, "search__pace": "pools", "search__pool": 2},
    ],
    ids=["legs", "pruned", "pruned in pools"],
)
def test_a_run_of_legs_that_is_killed_at_any_record_has_the_history_of_one_that_was_not(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    def caller() -> FakeCaller:
        return at_times(("g000s002", 2), ("g001s001", 1))

    settings = config(search__generations=2, **changes)
    expected = full_story(finished(tmp_path / "never killed", settings, caller()))
    kills = 0
    for kills, (run, then, answering) in enumerate(resumed_everywhere(tmp_path, settings, caller), 1):  # noqa: B007
        history = history_of(run)
        assert (history.end, full_story(history)) == ("done", expected)
        for assignment in answering.assignments:
            known = then.by_id.get(assignment.member)
            assert known is None or (known.outcome is None and assignment.leg >= len(known.legs))
    assert kills > 30


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("per_task", [1, 3, "auto"])
def test_a_run_of_legs_is_the_same_for_any_number_of_workers_and_members_per_task(
    per_task: int | str, workers: int, tmp_path: Path
) -> None:
    expected = full_story(finished(tmp_path / "one", config(search__strategy=PRUNED)))
    several = [f"tcp://{number}" for number in range(workers)]
    caller = FakeCaller(shuffle=random.Random(workers), workers=several)
    settings = config(search__strategy=PRUNED, cluster__members_per_task=per_task)
    assert full_story(finished(tmp_path / "other", settings, caller)) == expected


def test_checkpoints_of_legs_that_are_over_are_deleted(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", config())
    counts: list[int] = []
    store = CheckpointStore(str(run / "params"))
    history = carry_out(run, FakeCaller(watch=lambda assignment: counts.append(len(store.names()))))
    assert set(store.names()) == needed_checkpoints(history)
    assert max(counts) <= 4 + 1 + 4 * LEGS


@pytest.mark.parametrize(("legs", "generations"), [(1, 4), (3, 2)])
def test_epochs_count_through_lives_of_several_epochs_a_leg(
    legs: int, generations: int, tmp_path: Path
) -> None:
    settings = config(search__legs=legs, search__generations=generations, search__epochs_per_generation=2)
    caller = FakeCaller()
    history = finished(tmp_path / "run", settings, caller)
    assert history.end == "done"
    assert {one.epochs for unit in caller.units for one in unit.assignments} == {2}
    for life in history.lives():
        assert life.epoch == 2 * legs * life.generation
        assert [a.epoch - life.epoch for a in legs_of(caller)[life.id]] == [2 * leg for leg in range(legs)]


def test_legs_of_the_steady_pace_go_on_while_others_are_born(tmp_path: Path) -> None:
    caller = FakeCaller(shuffle=random.Random(2))
    history = finished(tmp_path / "run", config(search__strategy=PRUNED, search__pace="steady"), caller)
    assert (history.end, history.completed()) == ("done", 3)
    assert {len(list(life.outcomes())) for life in history.lives()} == {1, LEGS}


def test_a_failed_member_that_is_tried_again_begins_with_its_first_leg(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run", config(limits__max_failed_fraction=0.2))
    assert carry_out(run, at_times(("g002s001", 3), ("g002s001", 4), fate="failed")).end == "failed"
    again = FakeCaller()
    history = carry_out(run, again, retry=True)
    assert [(a.member, a.leg, a.attempt) for a in again.assignments] == [
        ("g002s001", leg, leg + 1) for leg in range(LEGS)
    ]
    assert full_story(history) == full_story(finished(tmp_path / "undisturbed", config()))


def test_generations_of_different_lengths_train_the_epochs_of_the_run(tmp_path: Path) -> None:
    settings = config_of(
        search__generations=None,
        search__epochs=30,
        search__epochs_per_generation=8,
        search__recombine={"last": 0.2},
    )
    caller = FakeCaller()
    history = finished(tmp_path / "run", settings, caller)
    assert history.end == "done"
    lengths = [8, 8, 8, 1, 1, 1, 1, 1, 1]
    assert [one.epochs for one in caller.assignments if one.member.endswith("s000")] == lengths
    assert {life.epoch for life in history.generations[3]} == {24}
    assert {history.epochs_trained(life) for life in history.generations[-1]} == {30}
    assert {unit.job.total_epochs for unit in caller.units} == {30}
    assert len(history.means) == 6
    schedule = Schedule.of(history, history.generations[-1][0])
    assert [entry.epochs for entry in schedule.entries] == lengths
    replay = replay_config(history.config, schedule, "again").search
    assert [replay.leg_epochs(generation) for generation in range(9)] == lengths
